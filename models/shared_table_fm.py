"""A factorization-machine network whose fields all live in one table (as in torchfm and RecBole).

Idiom: ids of all fields concatenated, a constant row of offsets added, one shared Gather, then a Reshape; user and
item are already mixed while they are still integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Feature, Inputs, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 40
    width: int = 8
    interests: int = 2
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,984 wide."""
        return cls(rows=5_000, width=32, interests=60, hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`; also the order of the fields in the table."""
    return (
        ids("user_id", config.rows),
        ids("item_id", config.rows),
        ids("user_interests", config.rows, config.interests),
        ids("item_cate", 20),
        ids("ctx_hour", 24),
    )


def field_rows(config: Config) -> list[int]:
    """Rows of each field; each place of a multi-valued feature is a field of its own."""
    features = [f for f in inputs(config) if isinstance(f, Feature)]
    return [f.rows for f in features for _ in range(f.shape[0] if f.shape else 1)]


class SharedTableFM(nn.Module):
    """Score in (0, 1), shape [B]."""

    offsets: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        rows = torch.tensor(field_rows(config))
        self.register_buffer("offsets", (rows.cumsum(0) - rows).unsqueeze(0))
        self.vectors = nn.Embedding(int(rows.sum()), config.width)
        self.weights = nn.Embedding(int(rows.sum()), 1)
        self.bias = nn.Parameter(torch.full((1,), 0.1))
        self.width = len(rows) * config.width
        self.deep = _layers.mlp(self.width, config.hidden, 1)

    def forward(
        self, user_id: Tensor, item_id: Tensor, user_interests: Tensor, item_cate: Tensor, ctx_hour: Tensor
    ) -> Tensor:
        fields = torch.cat(
            [
                user_id.unsqueeze(1),
                item_id.unsqueeze(1),
                user_interests,
                item_cate.unsqueeze(1),
                ctx_hour.unsqueeze(1),
            ],
            dim=1,
        )
        place = fields + self.offsets
        vectors = self.vectors(place)
        linear = self.weights(place).sum(dim=1) + self.bias
        deep = self.deep(vectors.view(-1, self.width))
        return torch.sigmoid(linear + _layers.factorization(vectors) + deep).squeeze(1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return SharedTableFM(config)
