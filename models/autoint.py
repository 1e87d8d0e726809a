"""AutoInt (Song et al., 2019): multi-head self-attention between field vectors, with residuals.

Idiom: MatMuls on a field axis [B, F, d] that mixes user and item fields (the contracted axis is not the mixed one);
heads are stacked in front, so the candidate axis is number 1 of [heads, B, F, d]; the batch size is read off a user
tensor to reshape a mixed one.
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
    interests: int = 3
    heads: int = 2
    layers: int = 2

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """63 of the 66 fields are the user's, 2,016 wide in all."""
        return cls(rows=20_000, width=32, interests=60, heads=4, layers=3)


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_city", config.rows),
        ids("user_interests", config.rows, config.interests),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        ids("item_brand", config.rows),
    )


class Interaction(nn.Module):
    """One attention layer over fields [B, F, d]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.residual = nn.Linear(width, width, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """Put the heads in front: [heads, B, F, d / heads]."""
        return torch.stack(torch.chunk(x, self.heads, dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scale = query.shape[-1] ** -0.5
        weight = torch.softmax(torch.matmul(query, key.transpose(-1, -2)) * scale, dim=-1)
        mixed = torch.cat(torch.unbind(torch.matmul(weight, value)), dim=-1)
        return torch.relu(mixed + self.residual(x))


class AutoInt(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        self.layers = nn.ModuleList(Interaction(config.width, config.heads) for _ in range(config.layers))
        fields = len(self.tables) - 1 + config.interests
        self.head = nn.Linear(fields * config.width, 1)

    def forward(
        self,
        user_id: Tensor,
        user_city: Tensor,
        user_interests: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_brand: Tensor,
    ) -> Tensor:
        single = {
            "user_id": user_id,
            "item_id": item_id,
            "item_cate": item_cate,
            "user_city": user_city,
            "item_brand": item_brand,
            "ctx_hour": ctx_hour,
        }
        vectors = torch.stack([self.tables[name](value) for name, value in single.items()], dim=1)
        x = torch.cat([vectors, self.tables["user_interests"](user_interests)], dim=1)
        for layer in self.layers:
            x = layer(x)
        return torch.sigmoid(self.head(x.reshape(user_id.shape[0], -1))).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return AutoInt(config)
