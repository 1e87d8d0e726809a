"""Wide & Deep (Cheng et al., 2016): a linear model over ids and numbers, added to an MLP.

Idiom: one table per field; one Concat interleaves user, context and item columns; a BatchNorm reads it before the
first Gemm does. The wide part adds up one-column tables, user and item by turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 50
    width: int = 8
    user_numbers: int = 12
    item_numbers: int = 4
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 2,192 wide."""
        return cls(rows=20_000, width=64, user_numbers=2_000, item_numbers=64, hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_city", config.rows),
        dense("user_stats", config.user_numbers),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        dense("item_stats", config.item_numbers),
    )


class WideDeep(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        features = inputs(config)
        self.deep_tables = _layers.tables(features, config.width)
        self.wide_tables = _layers.tables(features, 1)
        numbers = config.user_numbers + config.item_numbers
        width = len(self.deep_tables) * config.width + numbers
        self.wide = nn.Linear(numbers, 1)
        self.norm = nn.BatchNorm1d(width)
        self.deep = _layers.mlp(width, config.hidden, 1, norm=True)

    def forward(
        self,
        user_id: Tensor,
        user_city: Tensor,
        user_stats: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        fields = {
            "user_id": user_id,
            "item_id": item_id,
            "user_city": user_city,
            "item_cate": item_cate,
            "ctx_hour": ctx_hour,
        }
        wide = self.wide(torch.cat([user_stats, item_stats], dim=1))
        for name, value in fields.items():
            wide = wide + self.wide_tables[name](value)
        vectors = [self.deep_tables[name](value) for name, value in fields.items()]
        deep = self.deep(self.norm(torch.cat([*vectors[:2], user_stats, *vectors[2:], item_stats], dim=1)))
        return torch.sigmoid(wide + deep).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return WideDeep(config)
