"""ESMM (Ma et al., 2018): click and conversion networks over shared tables, and the product of their probabilities.

Idiom: two MLPs read the same Concat; a history is averaged over its valid steps before it joins, so the pooled
columns are the user's; one output is made of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, history, ids

OUTPUTS = ("ctr", "ctcvr")


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 24
    width: int = 8
    steps: int = 10
    user_numbers: int = 40
    item_numbers: int = 8
    hidden: tuple[int, ...] = (40, 20)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,192 wide, with the mean of 200 steps."""
        return cls(rows=20_000, width=64, steps=200, user_numbers=1_000, item_numbers=64, hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        history("user_hist_item", config.rows, config.steps),
        dense("user_stats", config.user_numbers),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        dense("item_stats", config.item_numbers),
    )


class ESMM(nn.Module):
    """Probability of a click, and of a click and a conversion, each of shape [B, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.users = nn.Embedding(config.rows, config.width)
        self.items = nn.Embedding(config.rows, config.width)
        self.hours = nn.Embedding(24, config.width)
        self.cates = nn.Embedding(20, config.width)
        width = 5 * config.width + config.user_numbers + config.item_numbers
        self.click = _layers.mlp(width, config.hidden, 1)
        self.conversion = _layers.mlp(width, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        user_hist_item: Tensor,
        user_stats: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_stats: Tensor,
    ) -> tuple[Tensor, Tensor]:
        columns = [
            self.users(user_id),
            _layers.masked_mean(self.items(user_hist_item), user_hist_item != 0),
            user_stats,
            self.items(item_id),
            self.cates(item_cate),
            item_stats,
            self.hours(ctx_hour),
        ]
        x = torch.cat(columns, dim=-1)
        click = torch.sigmoid(self.click(x))
        return click, click * torch.sigmoid(self.conversion(x))


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return ESMM(config)
