"""FiBiNET (Huang et al., 2019): bilinear interactions of field vectors, before and after a squeeze-excitation gate.

Idiom: a mean over the width of each of the fields [B, F, d] drives a gate over all of them, so after it the user's
vectors depend on the item; the interactions multiply one row of each pair by a matrix, shared by all pairs on the raw
vectors, and one for each left field on the gated ones; the pairs are picked by constant indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 24
    width: int = 8
    interests: int = 2
    reduction: int = 2
    hidden: tuple[int, ...] = (24, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """29 of the 32 fields are the user's, 1,856 wide in all."""
        return cls(rows=20_000, width=64, interests=26, reduction=4, hidden=(256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_city", 20),
        ids("user_interests", config.rows, config.interests),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
    )


class SqueezeExcitation(nn.Module):
    """Weigh whole fields of x [B, F, d] by a bottleneck over their means."""

    def __init__(self, fields: int, reduction: int) -> None:
        super().__init__()
        narrow = max(1, fields // reduction)
        self.excite = nn.Sequential(nn.Linear(fields, narrow), nn.ReLU(), nn.Linear(narrow, fields), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.excite(x.mean(dim=-1)).unsqueeze(-1)


class BilinearAll(nn.Module):
    """(x_i W) * x_j for all pairs i < j, with one W."""

    def __init__(self, fields: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Linear(width, width, bias=False)
        left, right = zip(*combinations(range(fields), 2), strict=True)
        self.register_buffer("left", torch.tensor(left))
        self.register_buffer("right", torch.tensor(right))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight(x)[:, self.left] * x[:, self.right]


class BilinearEach(nn.Module):
    """(x_i W_i) * x_j for all pairs i < j."""

    def __init__(self, fields: int, width: int) -> None:
        super().__init__()
        self.weights = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(fields - 1))

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.split(x, 1, dim=1)
        turned = [weight(row) for weight, row in zip(self.weights, rows[:-1], strict=True)]
        return torch.cat([turned[i] * rows[j] for i, j in combinations(range(len(rows)), 2)], dim=1)


class FiBiNET(nn.Module):
    """Score in (0, 1), shape [B, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        self.linear = _layers.tables(inputs(config), 1)
        fields = len(self.tables) - 1 + config.interests
        self.gate = SqueezeExcitation(fields, config.reduction)
        self.raw = BilinearAll(fields, config.width)
        self.gated = BilinearEach(fields, config.width)
        self.deep = _layers.mlp(fields * (fields - 1) * config.width, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        user_city: Tensor,
        user_interests: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
    ) -> Tensor:
        fields = {
            "item_id": item_id.unsqueeze(1),
            "user_id": user_id.unsqueeze(1),
            "user_city": user_city.unsqueeze(1),
            "item_cate": item_cate.unsqueeze(1),
            "user_interests": user_interests,
            "ctx_hour": ctx_hour.unsqueeze(1),
        }
        x = torch.cat([self.tables[name](value) for name, value in fields.items()], dim=1)
        linear = torch.cat([self.linear[name](value) for name, value in fields.items()], dim=1).sum(dim=1)
        pairs = torch.cat([self.raw(x), self.gated(self.gate(x))], dim=1)
        return torch.sigmoid(linear + self.deep(pairs.flatten(1)))


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return FiBiNET(config)
