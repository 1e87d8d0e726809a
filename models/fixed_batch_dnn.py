"""A plain embedding MLP exported with a batch of exactly 8, as engines without dynamic shapes want it.

Idiom: no symbolic axis anywhere; the history has 8 steps and a vector 8 numbers as well, so that an analysis which
compares sizes, instead of following the candidate axis, goes wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, history, ids

OUTPUTS = ("score",)
BATCH = 8


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 50
    width: int = 8
    steps: int = 8
    user_numbers: int = 8
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,628 wide, history of 100 steps."""
        return cls(rows=20_000, width=64, steps=100, user_numbers=1_500, hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`. Ids keep a trailing axis of 1."""
    return (
        ids("user_id", config.rows, 1),
        history("user_hist_item", config.rows, config.steps),
        dense("user_stats", config.user_numbers),
        ids("item_id", config.rows, 1),
        ids("item_cate", 20, 1),
    )


class FixedBatchDNN(nn.Module):
    """Score in (0, 1), shape [8, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.users = nn.Embedding(config.rows, config.width)
        self.items = nn.Embedding(config.rows, config.width)
        self.cates = nn.Embedding(20, config.width)
        self.deep = _layers.mlp(4 * config.width + config.user_numbers, config.hidden, 1)

    def forward(
        self, user_id: Tensor, user_hist_item: Tensor, user_stats: Tensor, item_id: Tensor, item_cate: Tensor
    ) -> Tensor:
        pooled = _layers.masked_mean(self.items(user_hist_item), user_hist_item > 0)
        parts = [self.users(user_id), self.items(item_id), pooled.unsqueeze(1), self.cates(item_cate)]
        x = torch.cat(parts, dim=1).view(user_id.shape[0], -1)
        return torch.sigmoid(self.deep(torch.cat([x, user_stats], dim=1)))


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return FixedBatchDNN(config)
