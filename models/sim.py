"""SIM with hard search (Pi et al., 2020): of a long history, the latest steps of the candidate's category are attended.

Idiom: the search compares ids, so its scores are cheap and mixed; TopK gives indices that differ for each candidate,
and a gather along the steps picks user vectors by them; the attention then works on few steps, all of them mixed,
while the pooled long history and the numbers stay the user's.
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
    """Sizes; the defaults are the small ones. `found` is the number of steps that the search keeps."""

    rows: int = 40
    cates: int = 5
    width: int = 8
    steps: int = 64
    found: int = 6
    heads: int = 2
    user_numbers: int = 32
    item_numbers: int = 6
    hidden: tuple[int, ...] = (40, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """50 of 1,000 steps."""
        return cls(
            rows=20_000,
            cates=10,
            width=32,
            steps=1_000,
            found=50,
            heads=4,
            user_numbers=500,
            item_numbers=50,
            hidden=(512, 256, 128),
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        dense("user_stats", config.user_numbers),
        history("user_hist_item", config.rows, config.steps),
        history("user_hist_cate", config.cates, config.steps),
        ids("item_id", config.rows),
        ids("item_cate", config.cates),
        dense("item_stats", config.item_numbers),
    )


class Attention(nn.Module):
    """Multi-head attention of one query [B, d] to a few steps [B, k, d], where `there` [B, k] is true."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """[B, heads, k, d / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, query: Tensor, steps: Tensor, there: Tensor) -> Tensor:
        asked = self.split(self.query(query).unsqueeze(1))
        score = torch.matmul(asked, self.split(self.key(steps)).transpose(-1, -2)) * asked.shape[-1] ** -0.5
        weight = torch.softmax(score.masked_fill(~there[:, None, None, :], -1e9), dim=-1)
        return torch.matmul(weight, self.split(self.value(steps))).transpose(1, 2).flatten(1)


class SIM(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.found = config.found
        self.users = nn.Embedding(config.rows, config.width)
        self.items = nn.Embedding(config.rows, config.width)
        self.cates = nn.Embedding(config.cates, config.width)
        self.attention = Attention(2 * config.width, config.heads)
        width = 7 * config.width + config.user_numbers + config.item_numbers
        self.head = _layers.mlp(width, config.hidden, 1)

    def search(self, cate: Tensor, cates: Tensor) -> tuple[Tensor, Tensor]:
        """Which steps of `cates` [B, T] are the latest ones of category `cate` [B], and whether there are so many."""
        late = _layers.steps(cates.shape[1], cates) + 1
        hit = torch.where(cates == cate.unsqueeze(1), late, torch.zeros_like(late))
        best, where = hit.topk(self.found, dim=1)
        return where, best > 0

    def forward(
        self,
        user_id: Tensor,
        user_stats: Tensor,
        user_hist_item: Tensor,
        user_hist_cate: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        query = torch.cat([self.items(item_id), self.cates(item_cate)], dim=-1)
        past = torch.cat([self.items(user_hist_item), self.cates(user_hist_cate)], dim=-1)
        where, there = self.search(item_cate, user_hist_cate)
        picked = torch.gather(past, 1, where.unsqueeze(-1).expand(-1, -1, past.shape[-1]))
        parts = [
            self.users(user_id),
            _layers.masked_mean(past, user_hist_item != 0),
            self.attention(query, picked, there),
            user_stats,
            query,
            item_stats,
        ]
        return torch.sigmoid(self.head(torch.cat(parts, dim=-1))).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return SIM(config)
