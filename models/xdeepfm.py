"""xDeepFM (Lian et al., 2018): a compressed interaction network beside a linear part and an MLP.

Idiom: all pairs of rows of two field matrices by Einsum, flattened to [B, H * F, d] and compressed by a Conv1d of
kernel 1 over the pairs; half of each layer's rows go on to the next layer, the others are summed for the score, so a
Split stands between the layers.
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
    """Sizes; the defaults are the small ones. `maps` are the widths of the interaction layers."""

    rows: int = 30
    width: int = 8
    interests: int = 4
    maps: tuple[int, ...] = (12, 12)
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """32 of the 35 fields are the user's, 1,024 wide in all."""
        return cls(rows=20_000, width=32, interests=29, maps=(64, 64), hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_city", 20),
        ids("user_interests", config.rows, config.interests),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        ids("item_brand", config.rows),
    )


class CompressedInteraction(nn.Module):
    """Rows [B, F, d] to the sums of interactions [B, n]."""

    def __init__(self, fields: int, maps: tuple[int, ...]) -> None:
        super().__init__()
        self.keep = [size // 2 for size in maps[:-1]]
        self.compress = nn.ModuleList(
            nn.Conv1d(rows * fields, size, kernel_size=1) for rows, size in zip([fields, *self.keep], maps, strict=True)
        )
        self.out = sum(maps) - sum(self.keep)

    def forward(self, first: Tensor) -> Tensor:
        x = first
        sums = []
        for number, compress in enumerate(self.compress):
            pairs = torch.einsum("bhd,bfd->bhfd", x, first)
            found = torch.relu(compress(pairs.flatten(1, 2)))
            if number < len(self.keep):
                kept = self.keep[number]
                x, found = torch.split(found, [kept, found.shape[1] - kept], dim=1)
            sums.append(found.sum(dim=-1))
        return torch.cat(sums, dim=1)


class XDeepFM(nn.Module):
    """Score in (0, 1), shape [B, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        self.linear = _layers.tables(inputs(config), 1)
        fields = len(self.tables) - 1 + config.interests
        self.interaction = CompressedInteraction(fields, config.maps)
        self.head = nn.Linear(self.interaction.out, 1)
        self.deep = _layers.mlp(fields * config.width, config.hidden, 1)

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
        fields = {
            "user_id": user_id.unsqueeze(1),
            "user_city": user_city.unsqueeze(1),
            "user_interests": user_interests,
            "item_id": item_id.unsqueeze(1),
            "item_cate": item_cate.unsqueeze(1),
            "item_brand": item_brand.unsqueeze(1),
            "ctx_hour": ctx_hour.unsqueeze(1),
        }
        x = torch.cat([self.tables[name](value) for name, value in fields.items()], dim=1)
        linear = torch.cat([self.linear[name](value) for name, value in fields.items()], dim=1).sum(dim=1)
        return torch.sigmoid(linear + self.head(self.interaction(x)) + self.deep(x.flatten(1)))


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return XDeepFM(config)
