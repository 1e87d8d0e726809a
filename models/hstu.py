"""A causal ranker of HSTU layers (Zhai et al., 2024): profile, history, then the candidate as the last token.

Idiom: attention weights are SiLU(q k' + bias) / n, masked by multiplication with a triangle that the graph makes
itself and with a padding mask made from a length; no token sees a later one, so all but the last belong to the user
through all layers; one Gemm gives four matrices that a Split takes apart; only the last token is scored.
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
    actions: int = 8
    width: int = 16
    steps: int = 14
    user_numbers: int = 24
    heads: int = 2
    layers: int = 2
    hidden: tuple[int, ...] = (16,)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """A history of 126 steps, each 128 wide, and 500 numbers of the user."""
        return cls(
            rows=20_000, actions=50, width=128, steps=126, user_numbers=500, heads=2, layers=3, hidden=(256, 128)
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        dense("user_stats", config.user_numbers),
        history("user_hist_item", config.rows, config.steps),
        history("user_hist_action", config.actions, config.steps),
        history_length("user_hist_len", config.steps),
        ids("item_id", config.rows),
    )


class Layer(nn.Module):
    """One HSTU layer over tokens [B, n, d] with a mask [B, 1, n, n]."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.heads, self.tokens = heads, tokens
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 4 * width)
        self.bias = nn.Parameter(torch.randn(1, heads, tokens, tokens) * 0.1)
        self.mixed_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """[B, heads, n, d / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        gate, value, query, key = F.silu(self.project(self.norm(x))).chunk(4, dim=-1)
        score = torch.matmul(self.split(query), self.split(key).transpose(-1, -2)) + self.bias
        weight = F.silu(score) / self.tokens * mask
        mixed = torch.matmul(weight, self.split(value)).transpose(1, 2).flatten(2)
        return x + self.out(self.mixed_norm(mixed) * gate)


class HSTU(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.users = nn.Embedding(config.rows, config.width)
        self.profile = nn.Linear(config.width + config.user_numbers, config.width)
        self.items = nn.Embedding(config.rows, config.width)
        self.actions = nn.Embedding(config.actions, config.width)
        tokens = config.steps + 2
        self.positions = nn.Parameter(torch.randn(tokens, config.width) * 0.1)
        self.layers = nn.ModuleList(Layer(config.width, config.heads, tokens) for _ in range(config.layers))
        self.head = _layers.mlp(config.width, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        user_stats: Tensor,
        user_hist_item: Tensor,
        user_hist_action: Tensor,
        user_hist_len: Tensor,
        item_id: Tensor,
    ) -> Tensor:
        profile = self.profile(torch.cat([self.users(user_id), user_stats], dim=-1)).unsqueeze(1)
        past = self.items(user_hist_item) + self.actions(user_hist_action)
        x = torch.cat([profile, past, self.items(item_id).unsqueeze(1)], dim=1) + self.positions
        present = _layers.steps(user_hist_item.shape[1], x) < user_hist_len.unsqueeze(1)
        seen = F.pad(present.to(x.dtype), (1, 1), value=1.0)
        causal = torch.ones(x.shape[1], x.shape[1]).tril()
        mask = (causal * seen.unsqueeze(1)).unsqueeze(1)
        for layer in self.layers:
            x = layer(x, mask)
        return torch.sigmoid(self.head(x[:, -1])).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return HSTU(config)
