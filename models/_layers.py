"""Blocks that most architectures share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from models._features import Feature, Stacked


def tables(inputs: Iterable[Feature | Stacked], width: int) -> nn.ModuleDict:
    """One embedding table for each id feature, just large enough for its ids."""
    id_features = [i for i in inputs if isinstance(i, Feature) and "hi" in i.gen]
    return nn.ModuleDict({f.name: nn.Embedding(f.rows, width) for f in id_features})


def mlp(width: int, hidden: Sequence[int], out: int | None = None, *, norm: bool = False) -> nn.Sequential:
    """Linear, optional BatchNorm and ReLU for each hidden width; a plain Linear last when `out` is given."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), *([nn.BatchNorm1d(size)] if norm else []), nn.ReLU()]
        width = size
    if out is not None:
        layers.append(nn.Linear(width, out))
    return nn.Sequential(*layers)


def masked_mean(vectors: Tensor, present: Tensor) -> Tensor:
    """Mean over axis 1 of `vectors` [B, T, d] where `present` [B, T] is true."""
    weight = present.to(vectors.dtype).unsqueeze(-1)
    return (vectors * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)


def factorization(vectors: Tensor) -> Tensor:
    """Sum of the inner products of all pairs of `vectors` [B, F, d], as [B, 1]."""
    return 0.5 * (vectors.sum(dim=1).square() - vectors.square().sum(dim=1)).sum(dim=1, keepdim=True)


def randomize(module: nn.Module) -> None:
    """Draw weights that let a mistake show.

    BatchNorm and LayerNorm begin as the identity and many biases as zero, which would hide a mistake in handling them.
    PyTorch's own Linear weights shrink what passes through, until all items score the same; its table rows are so
    long that scores end up at the flat ends of the sigmoid.
    """
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=min(0.35, part.embedding_dim**-0.5))
        if isinstance(part, nn.Linear | nn.Conv1d):
            nn.init.normal_(part.weight, std=(2 / part.weight[0].numel()) ** 0.5)
        if isinstance(part, nn.BatchNorm1d):
            nn.init.normal_(part.running_mean, std=0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
        if isinstance(part, nn.BatchNorm1d | nn.LayerNorm):
            nn.init.uniform_(part.weight, 0.7, 1.3)
            nn.init.normal_(part.bias, std=0.1)
        if isinstance(part, nn.MultiheadAttention):
            nn.init.normal_(part.in_proj_bias, std=0.1)
            nn.init.normal_(part.out_proj.bias, std=0.1)


def steps(length: int, like: Tensor) -> Tensor:
    """0, 1, ... `length` - 1 on the device of another tensor."""
    return torch.arange(length, device=like.device)
