"""A student of RankMixer: a small MLP over narrow tables, trained to score like its teacher.

Idiom: what distillation leaves is a Concat and a few Gemms. The student costs a fraction of the teacher for each
candidate, and most of what it still costs reads the user's columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers, rankmixer
from models._features import Inputs

OUTPUTS = rankmixer.OUTPUTS
TEACHER = "rankmixer"


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    teacher: rankmixer.Config
    width: int = 4
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls(rankmixer.Config.small())

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,296 wide."""
        return cls(rankmixer.Config.industrial(), width=16, hidden=(256, 64))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`: the teacher's."""
    return rankmixer.inputs(config.teacher)


class Student(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        numbers = config.teacher.user_numbers + config.teacher.item_numbers
        self.deep = _layers.mlp(len(self.tables) * config.width + numbers, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        user_city: Tensor,
        user_stats: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        fields = {
            "item_id": item_id,
            "item_cate": item_cate,
            "user_id": user_id,
            "user_city": user_city,
            "ctx_hour": ctx_hour,
        }
        vectors = [self.tables[name](value) for name, value in fields.items()]
        return torch.sigmoid(self.deep(torch.cat([*vectors, item_stats, user_stats], dim=-1))).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return Student(config)
