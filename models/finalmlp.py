"""A two-stream model like FinalMLP (Mao et al., 2023): two gated MLPs, joined by a bilinear form per head.

Idiom: gates computed from the user alone and from the item alone multiply the whole mixed Concat; the Gemms after
that see columns that are user-side in data but item-side in weight, and the other way round.
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
    user_numbers: int = 6
    hidden: tuple[int, ...] = (32, 16)
    heads: int = 2

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,192 wide."""
        return cls(rows=20_000, width=64, user_numbers=1_000, hidden=(512, 256), heads=8)


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_city", config.rows),
        dense("user_stats", config.user_numbers),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
    )


class Fusion(nn.Module):
    """Linear terms of both streams and x^T W y, head by head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.left = nn.Linear(width, 1)
        self.right = nn.Linear(width, 1, bias=False)
        self.heads, self.part = heads, width // heads
        self.weight = nn.Parameter(torch.randn(heads, self.part, self.part) / self.part)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        left = x.view(-1, self.heads, 1, self.part)
        right = y.view(-1, self.heads, self.part, 1)
        product = torch.matmul(torch.matmul(left, self.weight), right)
        return self.left(x) + self.right(y) + product.sum(dim=(1, 3))


class FinalMLP(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        width = len(self.tables) * config.width + config.user_numbers
        self.user_gate = _layers.mlp(2 * config.width + config.user_numbers, (16,), width)
        self.item_gate = _layers.mlp(2 * config.width, (16,), width)
        self.first = _layers.mlp(width, config.hidden, norm=True)
        self.second = _layers.mlp(width, config.hidden)
        self.fusion = Fusion(config.hidden[-1], config.heads)

    def forward(
        self,
        user_id: Tensor,
        user_city: Tensor,
        user_stats: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
    ) -> Tensor:
        user = torch.cat([self.tables["user_id"](user_id), self.tables["user_city"](user_city), user_stats], dim=-1)
        item = torch.cat([self.tables["item_id"](item_id), self.tables["item_cate"](item_cate)], dim=-1)
        x = torch.cat([user, item, self.tables["ctx_hour"](ctx_hour)], dim=-1)
        first = self.first(x * 2 * torch.sigmoid(self.user_gate(user)))
        second = self.second(x * 2 * torch.sigmoid(self.item_gate(item)))
        return torch.sigmoid(self.fusion(first, second)).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return FinalMLP(config)
