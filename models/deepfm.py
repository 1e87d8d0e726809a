"""DeepFM (Guo et al., 2017): a factorization machine and an MLP over the same field vectors.

Idiom: field vectors joined on a field axis [B, F, d] with user and item fields interleaved; FM reduces over that axis,
(sum v)^2 - sum v^2; the MLP reads the flattened axis. The user's multi-valued field adds many rows to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 50
    width: int = 8
    interests: int = 4
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 2,016 wide."""
        return cls(rows=20_000, width=32, interests=60, hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_city", config.rows),
        ids("user_interests", config.rows, config.interests),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
    )


class DeepFM(nn.Module):
    """Score in (0, 1), shape [B, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        features = inputs(config)
        self.vectors = _layers.tables(features, config.width)
        self.weights = _layers.tables(features, 1)
        fields = len(features) - 1 + config.interests
        self.deep = _layers.mlp(fields * config.width, config.hidden, 1)

    def fields(
        self,
        tables: nn.ModuleDict,
        user_id: Tensor,
        user_city: Tensor,
        user_interests: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
    ) -> Tensor:
        """Look all fields up in `tables`: [B, F, width]."""
        return torch.cat(
            [
                tables["user_id"](user_id).unsqueeze(1),
                tables["item_id"](item_id).unsqueeze(1),
                tables["user_interests"](user_interests),
                tables["item_cate"](item_cate).unsqueeze(1),
                tables["user_city"](user_city).unsqueeze(1),
                tables["ctx_hour"](ctx_hour).unsqueeze(1),
            ],
            dim=1,
        )

    def forward(
        self,
        user_id: Tensor,
        user_city: Tensor,
        user_interests: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
    ) -> Tensor:
        values = (user_id, user_city, user_interests, ctx_hour, item_id, item_cate)
        vectors = self.fields(self.vectors, *values)
        linear = self.fields(self.weights, *values).sum(dim=1)
        return torch.sigmoid(linear + _layers.factorization(vectors) + self.deep(vectors.flatten(1)))


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return DeepFM(config)
