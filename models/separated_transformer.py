"""A transformer over feature tokens with user-group separation: the user's tokens attend to each other alone.

Idiom: an additive mask, a constant of 0 and -inf before Softmax, cuts the user's tokens off from those of the item,
which attend to all; so the user's tokens are the same for all candidates through all layers, and their keys and
values are all that the item's tokens need of them. Numbers are cut into tokens by a Reshape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones. `chunks` are the tokens that the user's numbers make."""

    rows: int = 24
    width: int = 12
    interests: int = 3
    user_numbers: int = 32
    chunks: int = 4
    item_numbers: int = 8
    heads: int = 2
    layers: int = 3
    hidden: tuple[int, ...] = (16,)

    @property
    def users(self) -> int:
        """Number of the user's tokens; they come first, and three of the item follow."""
        return 2 + self.interests + self.chunks

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """48 of the 51 tokens are the user's, each 128 wide."""
        return cls(
            rows=20_000,
            width=128,
            interests=30,
            user_numbers=1_600,
            chunks=16,
            item_numbers=100,
            heads=4,
            layers=3,
            hidden=(256, 128),
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_interests", config.rows, config.interests),
        dense("user_stats", config.user_numbers),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        dense("item_stats", config.item_numbers),
    )


class Layer(nn.Module):
    """Masked self-attention and a feed-forward network over tokens [B, n, d], each after a LayerNorm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.second_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        parts = self.project(self.first_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.feed_forward(self.second_norm(x))


class SeparatedTransformer(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        self.chunks = config.chunks
        self.user_numbers = nn.Linear(config.user_numbers // config.chunks, config.width)
        self.item_numbers = nn.Linear(config.item_numbers, config.width)
        tokens = config.users + 3
        mask = torch.zeros(tokens, tokens)
        mask[: config.users, config.users :] = float("-inf")
        self.register_buffer("mask", mask)
        self.layers = nn.ModuleList(Layer(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = _layers.mlp(config.width, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        user_interests: Tensor,
        user_stats: Tensor,
        ctx_hour: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        users = [
            self.tables["user_id"](user_id).unsqueeze(1),
            self.tables["user_interests"](user_interests),
            self.user_numbers(user_stats.unflatten(-1, (self.chunks, -1))),
            self.tables["ctx_hour"](ctx_hour).unsqueeze(1),
        ]
        items = [self.tables["item_id"](item_id), self.tables["item_cate"](item_cate), self.item_numbers(item_stats)]
        x = torch.cat([*users, torch.stack(items, dim=1)], dim=1)
        for layer in self.layers:
            x = layer(x, self.mask)
        return torch.sigmoid(self.head(self.norm(x[:, -len(items) :]).mean(dim=1))).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return SeparatedTransformer(config)
