"""DCN V2 (Wang et al., 2021): low-rank cross layers x0 * (U V x + b) + x, beside an MLP.

Idiom: one mixed Concat x0 is read by two MatMuls, a Gemm, a Mul and an Add, so it cannot be split in one place; the
cross layers after the first one read a tensor that is mixed in each column.
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
    user_numbers: int = 10
    item_numbers: int = 3
    rank: int = 8
    crosses: int = 2
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,628 wide."""
        return cls(
            rows=20_000, width=64, user_numbers=1_500, item_numbers=50, rank=256, crosses=3, hidden=(512, 256, 128)
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        dense("user_stats", config.user_numbers),
        ids("ctx_device", 6),
        ids("item_id", config.rows),
        ids("item_brand", config.rows),
        dense("item_stats", config.item_numbers),
    )


class Cross(nn.Module):
    """One low-rank cross layer."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width)

    def forward(self, first: Tensor, x: Tensor) -> Tensor:
        return first * self.up(self.down(x)) + x


class DCNv2(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        width = len(self.tables) * config.width + config.user_numbers + config.item_numbers
        self.crosses = nn.ModuleList(Cross(width, config.rank) for _ in range(config.crosses))
        self.deep = _layers.mlp(width, config.hidden)
        self.head = nn.Linear(width + config.hidden[-1], 1)

    def forward(
        self,
        user_id: Tensor,
        user_stats: Tensor,
        ctx_device: Tensor,
        item_id: Tensor,
        item_brand: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        first = torch.cat(
            [
                self.tables["item_id"](item_id),
                user_stats,
                self.tables["item_brand"](item_brand),
                self.tables["user_id"](user_id),
                item_stats,
                self.tables["ctx_device"](ctx_device),
            ],
            dim=-1,
        )
        x = first
        for cross in self.crosses:
            x = cross(first, x)
        return torch.sigmoid(self.head(torch.cat([x, self.deep(first)], dim=-1))).squeeze(1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return DCNv2(config)
