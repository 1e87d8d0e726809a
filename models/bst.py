"""BST (Chen et al., 2019): a transformer over [history; candidate], all of whose tokens go on into an MLP.

Idiom: tokens of user and item are joined on axis 1 of [B, T + 1, d], projected, and viewed as [B, heads, T + 1, d'];
scores of padding are filled with -1e9; after the first layer every token has seen the candidate; the tokens are
flattened into one wide Concat with the other features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, history, history_length, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 30
    width: int = 8
    steps: int = 9
    heads: int = 2
    user_numbers: int = 40
    item_numbers: int = 6
    hidden: tuple[int, ...] = (40, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """A history of 100 steps, and 1,000 numbers of the user."""
        return cls(
            rows=20_000, width=64, steps=100, heads=4, user_numbers=1_000, item_numbers=50, hidden=(512, 256, 128)
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        dense("user_stats", config.user_numbers),
        ids("ctx_hour", 24),
        history("user_hist_item", config.rows, config.steps),
        history_length("user_hist_len", config.steps),
        ids("item_id", config.rows),
        dense("item_stats", config.item_numbers),
    )


class SelfAttention(nn.Module):
    """Multi-head attention between tokens [B, n, d], of which `absent` [B, n] says which are padding."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """[B, heads, n, d / heads]."""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).permute(0, 2, 1, 3)

    def forward(self, x: Tensor, absent: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        score = torch.matmul(query, key.transpose(-1, -2)) / query.shape[-1] ** 0.5
        weight = torch.softmax(score.masked_fill(absent[:, None, None, :], -1e9), dim=-1)
        return self.out(torch.matmul(weight, value).permute(0, 2, 1, 3).reshape(x.shape))


class BST(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.users = nn.Embedding(config.rows, config.width)
        self.hours = nn.Embedding(24, config.width)
        self.items = nn.Embedding(config.rows, config.width)
        tokens = config.steps + 1
        self.positions = nn.Embedding(tokens, config.width)
        self.attention = SelfAttention(config.width, config.heads)
        self.first_norm = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, 4 * config.width)
        self.down = nn.Linear(4 * config.width, config.width)
        self.second_norm = nn.LayerNorm(config.width)
        width = (tokens + 2) * config.width + config.user_numbers + config.item_numbers
        self.head = _layers.mlp(width, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        user_stats: Tensor,
        ctx_hour: Tensor,
        user_hist_item: Tensor,
        user_hist_len: Tensor,
        item_id: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        sequence = torch.cat([user_hist_item, item_id.unsqueeze(1)], dim=1)
        places = _layers.steps(sequence.shape[1], sequence)
        tokens = self.items(sequence) + self.positions(places)
        absent = (places >= user_hist_len.unsqueeze(1)) & (places < sequence.shape[1] - 1)
        x = self.first_norm(tokens + self.attention(tokens, absent))
        x = self.second_norm(x + self.down(F.leaky_relu(self.up(x))))
        parts = [self.users(user_id), user_stats, x.flatten(1), item_stats, self.hours(ctx_hour)]
        return torch.sigmoid(self.head(torch.cat(parts, dim=-1))).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return BST(config)
