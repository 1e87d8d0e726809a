"""A GRU over the user's history, in the manner of GRU4Rec (Hidasi et al., 2016), then an MLP with the item.

Idiom: a recurrent operator that is user-side as a whole; its first state is made from the batch size of a user
tensor; the last valid step is picked by a gather along the steps, and the legacy exporter turns the squeeze after it
into an If.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, history, history_length, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 50
    width: int = 8
    steps: int = 6
    state: int = 12
    item_numbers: int = 4
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """A history of 100 steps."""
        return cls(rows=20_000, width=64, steps=100, state=256, item_numbers=40, hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        history("user_hist_item", config.rows, config.steps),
        history_length("user_hist_len", config.steps),
        ids("item_id", config.rows),
        dense("item_stats", config.item_numbers),
    )


class GRUHistory(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.users = nn.Embedding(config.rows, config.width)
        self.items = nn.Embedding(config.rows, config.width)
        self.state = config.state
        self.gru = nn.GRU(config.width, config.state, batch_first=True)
        self.head = _layers.mlp(2 * config.width + config.state + config.item_numbers, config.hidden, 1)

    def forward(
        self, user_id: Tensor, user_hist_item: Tensor, user_hist_len: Tensor, item_id: Tensor, item_stats: Tensor
    ) -> Tensor:
        first = torch.zeros(1, user_hist_item.shape[0], self.state)
        states, _ = self.gru(self.items(user_hist_item), first)
        last = (user_hist_len - 1).view(-1, 1, 1).expand(-1, 1, self.state)
        interest = states.gather(1, last).squeeze(1)
        x = torch.cat([self.users(user_id), self.items(item_id), interest, item_stats], dim=-1)
        return torch.sigmoid(self.head(x))[:, 0]


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return GRUHistory(config)
