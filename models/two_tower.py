"""Two towers (Covington et al., 2016; Yi et al., 2019): normalised user and item vectors, and their dot product.

Idiom: user and item meet in one Mul and one ReduceSum only, so all of the user's work is shared as it stands; a
negative control for the rules that split, and the best case of running user-only layers once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import _layers
from models._features import Inputs, dense, history, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 50
    width: int = 8
    steps: int = 5
    user_numbers: int = 10
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,128 wide, history of 200 steps."""
        return cls(rows=20_000, width=64, steps=200, user_numbers=1_000, hidden=(512, 256, 64))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        history("user_hist_item", config.rows, config.steps),
        dense("user_stats", config.user_numbers),
        ids("item_id", config.rows),
        ids("item_cate", 20),
    )


class TwoTower(nn.Module):
    """Cosine similarity over a temperature, shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        *hidden, out = config.hidden
        self.user_tower = _layers.mlp(2 * config.width + config.user_numbers, hidden, out)
        self.item_tower = _layers.mlp(2 * config.width, hidden, out)

    def forward(
        self, user_id: Tensor, user_hist_item: Tensor, user_stats: Tensor, item_id: Tensor, item_cate: Tensor
    ) -> Tensor:
        pooled = _layers.masked_mean(self.tables["user_hist_item"](user_hist_item), user_hist_item != 0)
        user = self.user_tower(torch.cat([self.tables["user_id"](user_id), pooled, user_stats], dim=-1))
        item = self.item_tower(
            torch.cat([self.tables["item_id"](item_id), self.tables["item_cate"](item_cate)], dim=-1)
        )
        return (functional.normalize(user, dim=-1) * functional.normalize(item, dim=-1)).sum(dim=-1) / 0.2


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return TwoTower(config)
