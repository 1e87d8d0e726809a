"""DIN (Zhou et al., 2018): the candidate attends over the user's history.

Idiom: the item vector repeated along the history, an MLP over [q, k, q - k, q * k], a mask made from a length by
Range and Less, Softmax over the steps; items of the history and the candidate share a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, history, history_length, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 50
    cates: int = 20
    width: int = 8
    steps: int = 6
    attention: tuple[int, ...] = (16,)
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """A history of 200 steps, each 128 wide."""
        return cls(rows=20_000, cates=1_000, width=64, steps=200, attention=(80, 40), hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("ctx_hour", 24),
        history("user_hist_item", config.rows, config.steps),
        history("user_hist_cate", config.cates, config.steps),
        history_length("user_hist_len", config.steps),
        ids("item_id", config.rows),
        ids("item_cate", config.cates),
    )


class TargetAttention(nn.Module):
    """Weigh the steps of a history by what they mean to one candidate."""

    def __init__(self, width: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = (4 * width, *hidden)
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.PReLU(init=0.2)]
        self.score = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def forward(self, query: Tensor, keys: Tensor, present: Tensor) -> Tensor:
        wide = query.unsqueeze(1).expand(-1, keys.shape[1], -1)
        score = self.score(torch.cat([wide, keys, wide - keys, wide * keys], dim=-1)).squeeze(-1)
        weight = torch.softmax(score.masked_fill(~present, -1e9), dim=-1)
        return torch.bmm(weight.unsqueeze(1), keys).squeeze(1)


class DIN(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.users = nn.Embedding(config.rows, config.width)
        self.hours = nn.Embedding(24, config.width)
        self.items = nn.Embedding(config.rows, config.width)
        self.cates = nn.Embedding(config.cates, config.width)
        self.attention = TargetAttention(2 * config.width, config.attention)
        self.head = _layers.mlp(6 * config.width, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        ctx_hour: Tensor,
        user_hist_item: Tensor,
        user_hist_cate: Tensor,
        user_hist_len: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
    ) -> Tensor:
        query = torch.cat([self.items(item_id), self.cates(item_cate)], dim=-1)
        keys = torch.cat([self.items(user_hist_item), self.cates(user_hist_cate)], dim=-1)
        present = _layers.steps(keys.shape[1], keys) < user_hist_len.unsqueeze(1)
        interest = self.attention(query, keys, present)
        x = torch.cat([self.users(user_id), interest, query, self.hours(ctx_hour)], dim=-1)
        return torch.sigmoid(self.head(x)).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return DIN(config)
