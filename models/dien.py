"""DIEN (Zhou et al., 2019): a GRU over the history, then one whose update gate is scaled by attention to the candidate.

Idiom: the first GRU is the user's as a whole; the second one carries a mixed state through the steps, though what it
reads at each step is the user's. The current exporter unrolls its steps, the legacy one keeps them as a Loop.
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
    cates: int = 12
    width: int = 8
    steps: int = 6
    state: int = 16
    user_numbers: int = 32
    item_numbers: int = 6
    hidden: tuple[int, ...] = (40, 16)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """A history of 100 steps, each 128 wide, and 1,000 numbers of the user."""
        return cls(
            rows=20_000,
            cates=1_000,
            width=64,
            steps=100,
            state=128,
            user_numbers=1_000,
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
        history_length("user_hist_len", config.steps),
        ids("item_id", config.rows),
        ids("item_cate", config.cates),
        dense("item_stats", config.item_numbers),
    )


@torch.jit.script_if_tracing
def evolve(inputs: Tensor, attention: Tensor, weight: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    """The last state [B, h] of a GRU over `inputs` [B, T, d] whose update gate is scaled by `attention` [B, T]."""
    state = torch.zeros(inputs.shape[0], recurrent.shape[1])
    for step in range(inputs.shape[1]):
        given = F.linear(inputs[:, step], weight, bias).chunk(3, dim=1)
        kept = F.linear(state, recurrent).chunk(3, dim=1)
        reset = torch.sigmoid(given[0] + kept[0])
        update = torch.sigmoid(given[1] + kept[1]) * attention[:, step].unsqueeze(1)
        new = torch.tanh(given[2] + reset * kept[2])
        state = (1.0 - update) * state + update * new
    return state


class Evolution(nn.Module):
    """Attention to the candidate over the states of the first GRU, and the second GRU that it drives."""

    def __init__(self, state: int, query: int) -> None:
        super().__init__()
        self.match = nn.Linear(query, state, bias=False)
        self.weight = nn.Parameter(torch.randn(3 * state, state) * state**-0.5)
        self.recurrent = nn.Parameter(torch.randn(3 * state, state) * state**-0.5)
        self.bias = nn.Parameter(torch.randn(3 * state) * 0.1)

    def forward(self, query: Tensor, states: Tensor, present: Tensor) -> Tensor:
        score = torch.bmm(states, self.match(query).unsqueeze(-1)).squeeze(-1)
        attention = torch.softmax(score.masked_fill(~present, -1e9), dim=-1)
        return evolve(states, attention, self.weight, self.recurrent, self.bias)


class DIEN(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.users = nn.Embedding(config.rows, config.width)
        self.items = nn.Embedding(config.rows, config.width)
        self.cates = nn.Embedding(config.cates, config.width)
        self.interests = nn.GRU(2 * config.width, config.state, batch_first=True)
        self.evolution = Evolution(config.state, 2 * config.width)
        width = 3 * config.width + config.state + config.user_numbers + config.item_numbers
        self.head = _layers.mlp(width, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        user_stats: Tensor,
        user_hist_item: Tensor,
        user_hist_cate: Tensor,
        user_hist_len: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        query = torch.cat([self.items(item_id), self.cates(item_cate)], dim=-1)
        past = torch.cat([self.items(user_hist_item), self.cates(user_hist_cate)], dim=-1)
        states, _ = self.interests(past)
        present = _layers.steps(past.shape[1], past) < user_hist_len.unsqueeze(1)
        interest = self.evolution(query, states, present)
        x = torch.cat([self.users(user_id), user_stats, interest, query, item_stats], dim=-1)
        return torch.sigmoid(self.head(x)).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return DIEN(config)
