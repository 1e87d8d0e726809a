"""PNN (Qu et al., 2016): inner and outer products of all pairs of field vectors, as columns of an MLP's input.

Idiom: pairs are picked from [B, F, d] by two constant index lists, so one pair holds two users' rows, another one of
each side; an outer product is weighed by its pair's own matrix, which makes it p' K q for each pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 24
    width: int = 8
    interests: int = 2
    user_numbers: int = 32
    item_numbers: int = 6
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """18 of the 21 fields and 1,000 numbers are the user's, 2,152 wide in all."""
        return cls(rows=20_000, width=64, interests=16, user_numbers=1_000, item_numbers=60, hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_interests", config.rows, config.interests),
        dense("user_stats", config.user_numbers),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        ids("item_brand", config.rows),
        dense("item_stats", config.item_numbers),
    )


class Products(nn.Module):
    """Inner products and weighed outer products of the pairs of rows of [B, F, d], as [B, F (F - 1)]."""

    def __init__(self, fields: int, width: int) -> None:
        super().__init__()
        left, right = zip(*combinations(range(fields), 2), strict=True)
        self.register_buffer("left", torch.tensor(left))
        self.register_buffer("right", torch.tensor(right))
        self.kernel = nn.Parameter(torch.randn(len(left), width, width) * width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        p, q = x[:, self.left], x[:, self.right]
        outer = torch.einsum("bpd,pde->bpe", p, self.kernel)
        return torch.cat([(p * q).sum(dim=-1), (outer * q).sum(dim=-1)], dim=-1)


class PNN(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        fields = len(self.tables) - 1 + config.interests
        self.products = Products(fields, config.width)
        numbers = config.user_numbers + config.item_numbers
        self.deep = _layers.mlp(fields * config.width + fields * (fields - 1) + numbers, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        user_interests: Tensor,
        user_stats: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_brand: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        single = {
            "user_id": user_id,
            "item_id": item_id,
            "ctx_hour": ctx_hour,
            "item_cate": item_cate,
            "item_brand": item_brand,
        }
        vectors = torch.stack([self.tables[name](value) for name, value in single.items()], dim=1)
        x = torch.cat([self.tables["user_interests"](user_interests), vectors], dim=1)
        columns = [x.flatten(1), self.products(x), user_stats, item_stats]
        return torch.sigmoid(self.deep(torch.cat(columns, dim=-1))).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return PNN(config)
