"""DCN V2 with a mixture of low-rank experts (Wang et al., 2021), the cross network alone, without an MLP beside it.

Idiom: the experts of a layer are stacked weights [E, d, r], applied by Einsum with tanh between the projections down,
across and up; their outputs [B, E, d] multiply x0 and are weighed by a gate over the experts, as a batched MatMul.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import _layers
from models._features import Inputs, dense, ids

OUTPUTS = ("score",)


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the small ones."""

    rows: int = 30
    width: int = 8
    user_numbers: int = 40
    item_numbers: int = 6
    experts: int = 3
    rank: int = 8
    crosses: int = 2
    hidden: tuple[int, ...] = (16,)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 1,128 wide."""
        return cls(
            rows=20_000,
            width=64,
            user_numbers=1_000,
            item_numbers=50,
            experts=4,
            rank=128,
            crosses=3,
            hidden=(256, 128),
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        dense("user_stats", config.user_numbers),
        ids("ctx_device", 6),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        dense("item_stats", config.item_numbers),
    )


class CrossMixture(nn.Module):
    """One cross layer: E low-rank crosses, weighed by a gate that reads the layer's input."""

    def __init__(self, width: int, rank: int, experts: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(experts, width, rank) * width**-0.5)
        self.across = nn.Parameter(torch.randn(experts, rank, rank) * rank**-0.5)
        self.up = nn.Parameter(torch.randn(experts, rank, width) * rank**-0.5)
        self.bias = nn.Parameter(torch.randn(width) * 0.1)
        self.gate = nn.Linear(width, experts)

    def forward(self, first: Tensor, x: Tensor) -> Tensor:
        low = torch.tanh(torch.einsum("bd,edr->ber", x, self.down))
        low = torch.tanh(torch.einsum("ber,ers->bes", low, self.across))
        crossed = first.unsqueeze(1) * (torch.einsum("bes,esd->bed", low, self.up) + self.bias)
        weight = torch.softmax(self.gate(x), dim=-1)
        return torch.matmul(weight.unsqueeze(1), crossed).squeeze(1) + x


class DCNv2Mix(nn.Module):
    """Score in (0, 1), shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        width = len(self.tables) * config.width + config.user_numbers + config.item_numbers
        self.crosses = nn.ModuleList(CrossMixture(width, config.rank, config.experts) for _ in range(config.crosses))
        self.head = _layers.mlp(width, config.hidden, 1)

    def forward(
        self,
        user_id: Tensor,
        user_stats: Tensor,
        ctx_device: Tensor,
        item_id: Tensor,
        item_cate: Tensor,
        item_stats: Tensor,
    ) -> Tensor:
        first = torch.cat(
            [
                self.tables["user_id"](user_id),
                user_stats,
                self.tables["ctx_device"](ctx_device),
                self.tables["item_id"](item_id),
                self.tables["item_cate"](item_cate),
                item_stats,
            ],
            dim=-1,
        )
        x = first
        for cross in self.crosses:
            x = cross(first, x)
        return torch.sigmoid(self.head(x)).squeeze(-1)


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return DCNv2Mix(config)
