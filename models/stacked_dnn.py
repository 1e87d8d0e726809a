"""A DNN with a linear part over one stacked float matrix, the input form of the DeepCTR family.

Idiom: all columns, ids included, in X [B, n]; columns are cut out by Slice, cast to integers and gathered; which of
them are the user's is known by column number only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, Stacked, dense, history, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 50
    width: int = 8
    steps: int = 5
    user_numbers: int = 6
    item_numbers: int = 3
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,692 wide after the lookups, history of 100 steps."""
        return cls(rows=20_000, width=64, steps=100, user_numbers=1_500, item_numbers=40, hidden=(512, 256, 128))


def columns(config: Config) -> Stacked:
    """The columns of X in their order, user and item by turns."""
    features = (
        ids("user_id", config.rows, 1),
        ids("item_id", config.rows, 1),
        dense("user_stats", config.user_numbers),
        ids("ctx_hour", 24, 1),
        ids("item_cate", 20, 1),
        dense("item_stats", config.item_numbers),
        history("user_hist_item", config.rows, config.steps),
    )
    return Stacked("X", features)


def inputs(config: Config) -> Inputs:
    """The one input."""
    return (columns(config),)


class StackedDNN(nn.Module):
    """Score in (0, 1), shape [B, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        stacked = columns(config)
        self.cuts = stacked.slices
        self.tables = _layers.tables(stacked.features, config.width)
        numbers = config.user_numbers + config.item_numbers
        self.linear = nn.Linear(numbers, 1)
        self.deep = _layers.mlp(len(self.tables) * config.width + numbers, config.hidden, 1, norm=True)

    def vector(self, name: str, values: Tensor) -> Tensor:
        """Look one id feature up, [B, 1, d]; a history is averaged."""
        found = self.tables[name](values)
        if values.shape[1] == 1:
            return found
        return _layers.masked_mean(found, values != 0).unsqueeze(1)

    def forward(self, matrix: Tensor) -> Tensor:
        cuts = {name: matrix[:, columns] for name, columns in self.cuts.items()}
        vectors = [self.vector(name, cuts[name].long()) for name in self.tables]
        numbers = torch.cat([cuts["user_stats"], cuts["item_stats"]], dim=-1)
        x = torch.cat([torch.flatten(torch.cat(vectors, dim=-1), start_dim=1), numbers], dim=-1)
        return torch.sigmoid(self.linear(numbers) + self.deep(x))


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return StackedDNN(config)
