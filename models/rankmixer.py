"""RankMixer (Zhu et al., 2025): tokens exchange their heads without attention, then each passes a network of its own.

Idiom: the concatenated features are cut into T tokens of equal width by a Reshape, each with its own projection
(Einsum over stacked weights); mixing is a Reshape, a Transpose and a Reshape, after which every token holds a head of
every other one; the feed-forward networks are stacked weights as well.
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
    """Sizes; the defaults are the small ones. `token` must be a multiple of `tokens`."""

    rows: int = 24
    width: int = 8
    user_numbers: int = 40
    item_numbers: int = 16
    tokens: int = 6
    token: int = 12
    expansion: int = 2
    layers: int = 2
    hidden: tuple[int, ...] = (16,)

    @property
    def user_width(self) -> int:
        """Width of the user's features after the lookups; they come first."""
        return 3 * self.width + self.user_numbers

    @property
    def item_width(self) -> int:
        """Width of the item's features after the lookups."""
        return 2 * self.width + self.item_numbers

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,440 wide, 12 of the 16 tokens."""
        return cls(
            rows=20_000,
            width=64,
            user_numbers=1_248,
            item_numbers=352,
            tokens=16,
            token=128,
            expansion=4,
            layers=2,
            hidden=(256, 128),
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_city", 20),
        dense("user_stats", config.user_numbers),
        ids("ctx_hour", 24),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        dense("item_stats", config.item_numbers),
    )


class PerToken(nn.Module):
    """A linear layer with weights of its own for each token of [B, T, d]."""

    def __init__(self, tokens: int, width: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(tokens, width, out) * width**-0.5)
        self.bias = nn.Parameter(torch.randn(tokens, out) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("btd,tde->bte", x, self.weight) + self.bias


class Block(nn.Module):
    """Token mixing and a feed-forward network for each token, each with a residual and a LayerNorm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tokens = config.tokens
        self.mixed_norm = nn.LayerNorm(config.token)
        self.up = PerToken(config.tokens, config.token, config.expansion * config.token)
        self.down = PerToken(config.tokens, config.expansion * config.token, config.token)
        self.norm = nn.LayerNorm(config.token)

    def mix(self, x: Tensor) -> Tensor:
        """Token h of the result holds head h of all tokens, as many heads as there are tokens."""
        return x.unflatten(-1, (self.tokens, -1)).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixed_norm(x + self.mix(x))
        return self.norm(x + self.down(F.gelu(self.up(x))))


class RankMixer(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        cut, rest = divmod(config.user_width + config.item_width, config.tokens)
        if rest:
            raise ValueError(f"{config.tokens} tokens of equal width cannot be cut from the features")
        self.shape = (config.tokens, cut)
        self.project = PerToken(config.tokens, cut, config.token)
        self.blocks = nn.Sequential(*(self.block(config) for _ in range(config.layers)))
        self.head = _layers.mlp(config.token, config.hidden, 1)

    def block(self, config: Config) -> nn.Module:
        """One layer."""
        return Block(config)

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
        columns = [
            self.tables["user_id"](user_id),
            self.tables["user_city"](user_city),
            user_stats,
            self.tables["ctx_hour"](ctx_hour),
            self.tables["item_id"](item_id),
            self.tables["item_cate"](item_cate),
            item_stats,
        ]
        x = self.project(torch.cat(columns, dim=-1).unflatten(-1, self.shape))
        return torch.sigmoid(self.head(self.blocks(x).mean(dim=1))).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return RankMixer(config)
