"""Fields of many ids, each pooled by an `nn.EmbeddingBag`, as in the code that DLRM (Naumov et al., 2019) came with.

Idiom: both of PyTorch's exporters write a bag as a Loop over the rows of the request, which cuts the ids of each row
out of one long list.
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
    user_numbers: int = 8
    item_numbers: int = 4
    interests: int = 6
    visits: int = 5
    tags: int = 3
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """Bags of 100 of the user's ids, and 1,000 user numbers."""
        return cls(
            rows=20_000,
            width=64,
            user_numbers=1_000,
            item_numbers=40,
            interests=100,
            visits=100,
            tags=10,
            hidden=(512, 256),
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_interests", config.rows, config.interests),
        ids("user_visits", config.rows, config.visits),
        dense("user_stats", config.user_numbers),
        ids("item_tags", config.rows, config.tags),
        dense("item_stats", config.item_numbers),
    )


class Bags(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.interests = nn.EmbeddingBag(config.rows, config.width, mode="mean")
        self.visits = nn.EmbeddingBag(config.rows, config.width, mode="max")
        self.tags = nn.EmbeddingBag(config.rows, config.width, mode="sum")
        width = 3 * config.width + config.user_numbers + config.item_numbers
        self.deep = _layers.mlp(width, config.hidden, 1)

    def forward(
        self, user_interests: Tensor, user_visits: Tensor, user_stats: Tensor, item_tags: Tensor, item_stats: Tensor
    ) -> Tensor:
        pooled = [self.interests(user_interests), self.visits(user_visits), self.tags(item_tags)]
        return torch.sigmoid(self.deep(torch.cat([*pooled, user_stats, item_stats], dim=1))).squeeze(1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return Bags(config)
