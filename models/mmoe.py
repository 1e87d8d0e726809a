"""MMoE (Ma et al., 2018): experts shared by two tasks, one gate and one tower for each task; two outputs.

Idiom: LayerNorm over a Concat of user and item columns; all experts in one stacked weight, applied by Einsum; gates
read the same Concat.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, ids

OUTPUTS = ("ctr", "cvr")


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 50
    width: int = 8
    user_numbers: int = 10
    item_numbers: int = 4
    experts: int = 3
    expert: int = 16
    tower: tuple[int, ...] = (16,)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,192 wide."""
        return cls(rows=20_000, width=64, user_numbers=1_000, item_numbers=60, experts=8, expert=256, tower=(128, 64))


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_city", config.rows),
        dense("user_stats", config.user_numbers),
        ids("ctx_device", 6),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        dense("item_stats", config.item_numbers),
    )


class MMoE(nn.Module):
    """Click and conversion probability, each of shape [B, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        width = len(self.tables) * config.width + config.user_numbers + config.item_numbers
        self.norm = nn.LayerNorm(width)
        self.experts = nn.Parameter(torch.randn(config.experts, width, config.expert) * width**-0.5)
        self.bias = nn.Parameter(torch.randn(config.experts, config.expert) * 0.1)
        self.gates = nn.ModuleList(nn.Linear(width, config.experts) for _ in OUTPUTS)
        self.towers = nn.ModuleList(_layers.mlp(config.expert, config.tower, 1) for _ in OUTPUTS)

    def forward(
        self,
        user_id: Tensor,
        user_city: Tensor,
        user_stats: Tensor,
        ctx_device: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_stats: Tensor,
    ) -> tuple[Tensor, Tensor]:
        fields = {
            "user_id": user_id,
            "item_id": item_id,
            "item_cate": item_cate,
            "user_city": user_city,
            "ctx_device": ctx_device,
        }
        vectors = [self.tables[name](value) for name, value in fields.items()]
        x = self.norm(torch.cat([user_stats, *vectors, item_stats], dim=-1))
        experts = torch.relu(torch.einsum("bd,edh->beh", x, self.experts) + self.bias)
        scores = []
        for gate, tower in zip(self.gates, self.towers, strict=True):
            weight = torch.softmax(gate(x), dim=-1).unsqueeze(-1)
            scores.append(torch.sigmoid(tower((weight * experts).sum(dim=1))))
        return scores[0], scores[1]


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return MMoE(config)
