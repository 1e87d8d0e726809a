"""Transformer over [history; candidate] in time-major layout, in the manner of BST (Chen et al., 2019).

Idiom: a transpose moves the candidate axis to number 1 of [T + 1, B, d]; attention merges it with the heads,
[B * heads, T + 1, d / heads]; tokens of user and item are joined on axis 0; the padding mask is an input, and its last
column is made from the batch size of a user tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, history, history_padding, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 50
    width: int = 8
    steps: int = 5
    heads: int = 2
    hidden: tuple[int, ...] = (32, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """A history of 100 steps."""
        return cls(rows=20_000, width=64, steps=100, heads=4, hidden=(512, 256, 128))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("ctx_hour", 24),
        history("user_hist_item", config.rows, config.steps),
        history_padding("user_hist_padding", config.steps),
        ids("item_id", config.rows),
    )


class TimeMajorAttention(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.users = nn.Embedding(config.rows, config.width)
        self.hours = nn.Embedding(24, config.width)
        self.items = nn.Embedding(config.rows, config.width)
        self.positions = nn.Parameter(torch.randn(config.steps + 1, 1, config.width) * 0.1)
        self.attention = nn.MultiheadAttention(config.width, config.heads)
        self.first_norm = nn.LayerNorm(config.width)
        self.feed_forward = _layers.mlp(config.width, (4 * config.width,), config.width)
        self.second_norm = nn.LayerNorm(config.width)
        self.head = _layers.mlp(4 * config.width, config.hidden, 1)

    def forward(
        self, user_id: Tensor, ctx_hour: Tensor, user_hist_item: Tensor, user_hist_padding: Tensor, item_id: Tensor
    ) -> Tensor:
        candidate = self.items(item_id)
        past = self.items(user_hist_item).transpose(0, 1)
        tokens = torch.cat([past, candidate.unsqueeze(0)], dim=0) + self.positions
        never = torch.zeros(user_hist_padding.shape[0], 1, dtype=torch.bool)
        padding = torch.cat([user_hist_padding, never], dim=1)
        seen, _ = self.attention(tokens, tokens, tokens, key_padding_mask=padding, need_weights=False)
        x = self.first_norm(tokens + seen)
        x = self.second_norm(x + self.feed_forward(x)).transpose(0, 1)
        parts = [self.users(user_id), _layers.masked_mean(x, ~padding), x[:, -1], self.hours(ctx_hour)]
        return torch.sigmoid(self.head(torch.cat(parts, dim=1))).squeeze(1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return TimeMajorAttention(config)
