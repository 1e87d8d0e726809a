"""DCN (Wang et al., 2017): cross layers x0 * (x . w) + b + x beside an MLP.

Idiom: each cross layer asks one number of x, a MatMul with a single column; what it multiplies, x0, is a Concat of
user and item columns that is read again in every layer, so the Concat stays where it is unless all readers let go.
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

    rows: int = 30
    width: int = 8
    user_numbers: int = 48
    item_numbers: int = 8
    crosses: int = 3
    hidden: tuple[int, ...] = (48, 24)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 2,192 wide."""
        return cls(rows=20_000, width=64, user_numbers=2_000, item_numbers=64, crosses=4, hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_city", 20),
        dense("user_stats", config.user_numbers),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        dense("item_stats", config.item_numbers),
    )


class Cross(nn.Module):
    """One cross layer with a weight vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, 1) * width**-0.5)
        self.bias = nn.Parameter(torch.randn(width) * 0.1)

    def forward(self, first: Tensor, x: Tensor) -> Tensor:
        return first * torch.matmul(x, self.weight) + self.bias + x


class DCN(nn.Module):
    """Score in (0, 1), shape [B, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        width = len(self.tables) * config.width + config.user_numbers + config.item_numbers
        self.crosses = nn.ModuleList(Cross(width) for _ in range(config.crosses))
        self.deep = _layers.mlp(width, config.hidden)
        self.head = nn.Linear(width + config.hidden[-1], 1)

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
        vectors = [self.tables[name](value) for name, value in fields.items()]
        first = torch.cat([*vectors, user_stats, item_stats], dim=-1)
        x = first
        for cross in self.crosses:
            x = cross(first, x)
        return torch.sigmoid(self.head(torch.cat([x, self.deep(first)], dim=-1)))


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return DCN(config)
