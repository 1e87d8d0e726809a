"""MaskNet (Wang et al., 2021), the parallel form: hidden layers over columns weighed by a mask made of the instance.

Idiom: LayerNorm of each field [B, F, d] by itself, flattened to mixed columns; the mask is an MLP over the raw
columns, back to their full width, so the product mask * columns is mixed in every element and only the mask's first
layer can be split.
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
    """Sizes; the defaults are the small ones. `aggregation` is the width inside the masks."""

    rows: int = 24
    width: int = 8
    interests: int = 2
    user_numbers: int = 40
    item_numbers: int = 6
    blocks: int = 2
    aggregation: int = 32
    block: int = 16
    hidden: tuple[int, ...] = (16,)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """16 of the 18 fields and 1,000 numbers are the user's, 1,512 wide in all."""
        return cls(
            rows=20_000,
            width=32,
            interests=14,
            user_numbers=1_000,
            item_numbers=50,
            blocks=3,
            aggregation=512,
            block=256,
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


class MaskBlock(nn.Module):
    """A hidden layer over columns that the instance has weighed."""

    def __init__(self, instance: int, width: int, aggregation: int, block: int) -> None:
        super().__init__()
        self.mask = _layers.mlp(instance, (aggregation,), width)
        self.hidden = nn.Linear(width, block, bias=False)
        self.norm = nn.LayerNorm(block)

    def forward(self, instance: Tensor, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.hidden(x * self.mask(instance))))


class MaskNet(nn.Module):
    """Score in (0, 1), shape [B, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        fields = len(self.tables) - 1 + config.interests
        width = fields * config.width
        self.norm = nn.LayerNorm(config.width)
        instance = width + config.user_numbers + config.item_numbers
        self.blocks = nn.ModuleList(
            MaskBlock(instance, width, config.aggregation, config.block) for _ in range(config.blocks)
        )
        self.head = _layers.mlp(config.blocks * config.block, config.hidden, 1)

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
        single = {"item_id": item_id, "user_id": user_id, "ctx_hour": ctx_hour, "item_cate": item_cate}
        vectors = torch.stack([self.tables[name](value) for name, value in single.items()], dim=1)
        fields = torch.cat([vectors, self.tables["user_interests"](user_interests)], dim=1)
        instance = torch.cat([fields.flatten(1), user_stats, item_stats], dim=-1)
        x = self.norm(fields).flatten(1)
        return torch.sigmoid(self.head(torch.cat([block(instance, x) for block in self.blocks], dim=-1)))


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return MaskNet(config)
