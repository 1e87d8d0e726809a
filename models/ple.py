"""PLE (Tang et al., 2020): two levels of experts, some shared and some of one task, with gates between the levels.

Idiom: each expert is a layer of its own, so one Concat is read by many small Gemms; expert outputs are stacked and
weighed by a Softmax over as many as the gate may see; from the second level on everything is mixed.
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
    """Sizes; the defaults are the small ones. `shared` and `own` are numbers of experts in each level."""

    rows: int = 24
    width: int = 8
    user_numbers: int = 40
    item_numbers: int = 8
    shared: int = 2
    own: int = 1
    experts: tuple[int, ...] = (20, 16)
    tower: tuple[int, ...] = (12,)

    @classmethod
    def small(cls) -> Config:
        """For tests."""
        return cls()

    @classmethod
    def industrial(cls) -> Config:
        """User side 2,192 wide."""
        return cls(
            rows=20_000,
            width=64,
            user_numbers=2_000,
            item_numbers=64,
            shared=4,
            own=2,
            experts=(256, 128),
            tower=(64,),
        )


def inputs(config: Config) -> Inputs:
    """Inputs in the order of `forward`."""
    return (
        ids("user_id", config.rows),
        ids("user_city", 20),
        dense("user_stats", config.user_numbers),
        ids("ctx_device", 6),
        ids("item_id", config.rows),
        ids("item_cate", 20),
        dense("item_stats", config.item_numbers),
    )


class Experts(nn.ModuleList):
    """A few one-layer networks side by side: [B, w] to [B, E, out]."""

    def __init__(self, count: int, width: int, out: int) -> None:
        super().__init__(_layers.mlp(width, (out,)) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([expert(x) for expert in self], dim=1)


class Level(nn.Module):
    """One level: from one value for each task and a shared one to the same again."""

    def __init__(self, width: int, out: int, config: Config) -> None:
        super().__init__()
        self.own = nn.ModuleList(Experts(config.own, width, out) for _ in OUTPUTS)
        self.shared = Experts(config.shared, width, out)
        self.gates = nn.ModuleList(nn.Linear(width, config.own + config.shared) for _ in OUTPUTS)
        self.shared_gate = nn.Linear(width, config.own * len(OUTPUTS) + config.shared)

    def forward(self, tasks: list[Tensor], shared: Tensor) -> tuple[list[Tensor], Tensor]:
        own = [experts(x) for experts, x in zip(self.own, tasks, strict=True)]
        common = self.shared(shared)
        chosen = [
            weigh(gate(x), torch.cat([mine, common], dim=1))
            for gate, x, mine in zip(self.gates, tasks, own, strict=True)
        ]
        return chosen, weigh(self.shared_gate(shared), torch.cat([*own, common], dim=1))


def weigh(logits: Tensor, outputs: Tensor) -> Tensor:
    """The mean of expert outputs [B, E, d] with the weights of a gate [B, E]."""
    return torch.bmm(torch.softmax(logits, dim=-1).unsqueeze(1), outputs).squeeze(1)


class PLE(nn.Module):
    """Click and conversion probability, each of shape [B]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tables = _layers.tables(inputs(config), config.width)
        width = len(self.tables) * config.width + config.user_numbers + config.item_numbers
        levels = []
        for out in config.experts:
            levels.append(Level(width, out, config))
            width = out
        self.levels = nn.ModuleList(levels)
        self.towers = nn.ModuleList(_layers.mlp(width, config.tower, 1) for _ in OUTPUTS)

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
            "user_city": user_city,
            "item_id": item_id,
            "item_cate": item_cate,
            "ctx_device": ctx_device,
        }
        vectors = [self.tables[name](value) for name, value in fields.items()]
        shared = torch.cat([*vectors, user_stats, item_stats], dim=-1)
        tasks = [shared for _ in OUTPUTS]
        for level in self.levels:
            tasks, shared = level(tasks, shared)
        scores = [torch.sigmoid(tower(x)).squeeze(-1) for tower, x in zip(self.towers, tasks, strict=True)]
        return scores[0], scores[1]


def build(config: Config) -> nn.Module:
    """The model with fresh weights."""
    return PLE(config)
