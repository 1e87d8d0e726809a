"""ETA (Chen et al., 2021): a long history is searched by the distance of hash codes, then the steps found are attended.

Idiom: codes are the signs of a random projection, so those of the history are the user's; the number of bits that
agree is a MatMul of codes of plus and minus one, followed by TopK; the steps are picked by Gather on the history
flattened over examples, [B * T, d], with offsets made from the batch size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, history, history_length, ids
from models.sim import Attention

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones. `found` is the number of steps that the search keeps."""

    rows: int = 40
    width: int = 16
    steps: int = 64
    bits: int = 12
    found: int = 6
    heads: int = 2
    user_numbers: int = 32
    item_numbers: int = 6
    hidden: tuple[int, ...] = (40, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """50 of 1,000 steps."""
        return cls(
            rows=20_000,
            width=64,
            steps=1_000,
            bits=64,
            found=50,
            heads=4,
            user_numbers=500,
            item_numbers=50,
            hidden=(512, 256, 128),
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        dense("user_stats", config.user_numbers),
        history("user_hist_item", config.rows, config.steps),
        history_length("user_hist_len", config.steps),
        ids("item_id", config.rows),
        dense("item_stats", config.item_numbers),
    )


class ETA(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.found = config.found
        self.users = nn.Embedding(config.rows, config.width)
        self.items = nn.Embedding(config.rows, config.width)
        self.register_buffer("directions", torch.randn(config.width, config.bits))
        self.attention = Attention(config.width, config.heads)
        width = 4 * config.width + config.user_numbers + config.item_numbers
        self.head = _layers.mlp(width, config.hidden, 1)

    def code(self, x: Tensor) -> Tensor:
        """Plus or minus one for each bit."""
        return torch.where(torch.matmul(x, self.directions) > 0, 1.0, -1.0)

    def pick(self, x: Tensor, where: Tensor) -> Tensor:
        """Rows `where` [B, k] of each example of `x` [B, T, d]."""
        offsets = _layers.steps(x.shape[0], x).unsqueeze(1) * x.shape[1]
        return x.flatten(0, 1)[where + offsets]

    def forward(
        self,
        user_id: Tensor,
        user_stats: Tensor,
        user_hist_item: Tensor,
        user_hist_len: Tensor,
        item_id: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        query, past = self.items(item_id), self.items(user_hist_item)
        alike = torch.bmm(self.code(past), self.code(query).unsqueeze(-1)).squeeze(-1)
        present = _layers.steps(past.shape[1], past) < user_hist_len.unsqueeze(1)
        best, where = alike.masked_fill(~present, -1e4).topk(self.found, dim=1)
        interest = self.attention(query, self.pick(past, where), best > -1e4)
        parts = [
            user_stats,
            self.users(user_id),
            query,
            interest,
            item_stats,
            _layers.masked_mean(past, present),
        ]
        return torch.sigmoid(self.head(torch.cat(parts, dim=-1))).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return ETA(config)
