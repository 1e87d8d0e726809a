"""DLRM (Naumov et al., 2019): bottom MLP over numbers, dot products of all pairs of vectors, top MLP.

Idiom: X X^T where the rows of X are user and item vectors by turns, then the lower triangle picked by constant
indices; a user's multi-valued field is pooled with a mask read from its padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, history, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 50
    width: int = 8
    user_numbers: int = 8
    item_numbers: int = 4
    tags: int = 5
    interests: int = 2
    bottom: tuple[int, ...] = (16,)
    top: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """1,500 user numbers, and 42 of the 45 rows of X are the user's."""
        return cls(
            rows=20_000,
            width=64,
            user_numbers=1_500,
            item_numbers=40,
            tags=100,
            interests=40,
            bottom=(512, 256),
            top=(512, 256),
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_interests", config.rows, config.interests),
        history("user_tags", config.rows, config.tags),
        dense("user_stats", config.user_numbers),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        dense("item_stats", config.item_numbers),
    )


class DLRM(nn.Module):
    """Score in (0, 1), shape [B]."""

    row: Tensor
    column: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        self.bottom = _layers.mlp(config.user_numbers + config.item_numbers, (*config.bottom, config.width))
        vectors = 5 + config.interests
        row, column = torch.tril_indices(vectors, vectors, offset=-1)
        self.register_buffer("row", row)
        self.register_buffer("column", column)
        self.top = _layers.mlp(config.width + len(row), config.top, 1)

    def forward(
        self,
        user_id: Tensor,
        user_interests: Tensor,
        user_tags: Tensor,
        user_stats: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        numbers = self.bottom(torch.cat([user_stats, item_stats], dim=1))
        tags = _layers.masked_mean(self.tables["user_tags"](user_tags), user_tags != 0)
        single = [numbers, self.tables["user_id"](user_id), self.tables["item_id"](item_id), tags]
        vectors = torch.cat(
            [
                torch.stack(single, dim=1),
                self.tables["user_interests"](user_interests),
                self.tables["item_cate"](item_cate).unsqueeze(1),
            ],
            dim=1,
        )
        products = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.row, self.column]
        return torch.sigmoid(self.top(torch.cat([numbers, products], dim=1))).squeeze(1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return DLRM(config)
