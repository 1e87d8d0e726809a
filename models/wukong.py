"""Wukong (Zhang et al., 2024): stacked layers of a factorization machine block beside a linear compression block.

Idiom: X X' Y on tokens [B, n, d] with a constant Y, flattened into an MLP whose output is cut back into tokens; beside
it a matrix mixes whole tokens (it multiplies from the left); both are joined on the token axis, with a residual.
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
    """Sizes; the defaults are the small ones. A layer makes `machine` + `linear` tokens."""

    rows: int = 24
    width: int = 8
    interests: int = 3
    user_numbers: int = 32
    item_numbers: int = 6
    layers: int = 2
    rank: int = 4
    machine: int = 4
    linear: int = 4
    inner: int = 24
    hidden: tuple[int, ...] = (16,)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """35 of the 38 tokens are the user's, 2,240 wide in all."""
        return cls(
            rows=20_000,
            width=64,
            interests=32,
            user_numbers=500,
            item_numbers=40,
            layers=4,
            rank=16,
            machine=16,
            linear=16,
            inner=512,
            hidden=(256, 128),
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_interests", config.rows, config.interests),
        dense("user_stats", config.user_numbers),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        dense("item_stats", config.item_numbers),
    )


class Machine(nn.Module):
    """Tokens [B, n, d] to new ones made of their inner products."""

    def __init__(self, tokens: int, width: int, rank: int, inner: int, out: int) -> None:
        super().__init__()
        self.project = nn.Parameter(torch.randn(tokens, rank) * tokens**-0.5)
        self.norm = nn.LayerNorm(tokens * rank)
        self.deep = _layers.mlp(tokens * rank, (inner,), out * width)
        self.shape = (out, width)

    def forward(self, x: Tensor) -> Tensor:
        products = torch.matmul(x, torch.matmul(x.transpose(1, 2), self.project))
        return self.deep(self.norm(products.flatten(1))).unflatten(1, self.shape)


class Compression(nn.Module):
    """Tokens [B, n, d] to fewer ones, each a weighed sum."""

    def __init__(self, tokens: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, tokens) * tokens**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(self.weight, x)


class Layer(nn.Module):
    """Both blocks side by side, with a residual that is compressed as well."""

    def __init__(self, tokens: int, config: Config) -> None:
        super().__init__()
        self.machine = Machine(tokens, config.width, config.rank, config.inner, config.machine)
        self.linear = Compression(tokens, config.linear)
        self.residual = Compression(tokens, config.machine + config.linear)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.cat([self.machine(x), self.linear(x)], dim=1) + self.residual(x))


class Wukong(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        self.user_numbers = nn.Linear(config.user_numbers, config.width)
        self.item_numbers = nn.Linear(config.item_numbers, config.width)
        after = config.machine + config.linear
        tokens = [len(self.tables) - 1 + config.interests + 2, *[after] * (config.layers - 1)]
        self.layers = nn.Sequential(*(Layer(count, config) for count in tokens))
        self.head = _layers.mlp(after * config.width, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        user_interests: Tensor,
        user_stats: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        single = [
            self.user_numbers(user_stats),
            self.tables["user_id"](user_id),
            self.tables["item_id"](item_id),
            self.item_numbers(item_stats),
            self.tables["item_cate"](item_cate),
            self.tables["ctx_hour"](ctx_hour),
        ]
        x = torch.cat([torch.stack(single, dim=1), self.tables["user_interests"](user_interests)], dim=1)
        return torch.sigmoid(self.head(self.layers(x).flatten(1))).squeeze(1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return Wukong(config)
