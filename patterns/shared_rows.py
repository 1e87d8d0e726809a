"""Rows of a user's history that each candidate chooses::

    GatherElements( repeat(u: [T, d]), i: [B, K, 1] repeated over d )         ->   Gather( u, i: [B, K] )
    GatherElements( repeat(u: [h, T, d]), i: [B, h, K, 1] repeated over d )   ->   Gather( u: [h T, d], T h + i )
    GatherND( repeat(u: [T, d]), i: [B, K, 1]; batch_dims 1 )                 ->   Gather( u, i: [B, K] )

    repeat(u)[b, i_b] = u[i_b]

The history is not repeated for every candidate, and whole rows are copied instead of entries. Where each head has rows
of its own, they lie below each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, same
from mari_onnx.patterns._bounds import bounds_of
from mari_onnx.patterns._repeats import source_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is looked up.

    Attributes:
        once: The rows, there once: ``[1, heads, T, ...]``.
        axis: The axis ``T``.
        indices: Which rows, in any shape.
        shape: Theirs: ``[B, heads, ...]``, without axes of size 1 at the end.
    """

    once: str
    axis: int
    indices: str
    shape: Shape


class SharedRows(Rule[Chosen]):
    """Looks rows up in what is there once."""

    name = "shared-rows"
    algebra = "repeat(u)[b, i_b] = u[i_b]"
    exactness = Exactness.EXACT
    ops = frozenset({"GatherElements", "GatherND"})

    def match(self, node: Node, at: Workspace) -> Chosen | None:
        data = node.inputs[0]
        axis, shape = at.fact(data).axis, at.fact(data).shape
        if not at.is_user(data) or at.is_user(node.output) or axis is None or not axis.is_whole or axis.index != 0:
            return None
        if shape is None or len(shape) < 2:
            return None
        return _by_elements(node, shape, at) if node.op == "GatherElements" else _by_tuples(node, at)

    def rewrite(self, node: Node, found: Chosen, at: Workspace) -> Sequence[str]:
        shape = at.fact(found.once).shape or ()
        heads, size = shape[1 : found.axis], shape[found.axis]
        rows = at.reshape(found.once, (product((*heads, size)), *shape[found.axis + 1 :]))
        indices = at.reshape(found.indices, found.shape)
        if not same(product(heads), 1):
            dtype = onnx.helper.tensor_dtype_to_np_dtype(at.fact(indices).dtype)
            if bounds_of(indices, at)[0] < 0:
                # What counts from the end would be a row of the head before.
                indices = at.emit("Mod", [indices, at.weight(np.array(size, dtype))])
            first = np.arange(math.prod(heads), dtype=dtype) * size
            first = first.reshape(*heads, *[1] * (len(found.shape) - found.axis))
            indices = at.emit("Add", [indices, at.weight(first)])
        return [at.emit("Gather", [rows, indices], axis=0)]


def _by_elements(node: Node, data: Shape, at: Workspace) -> Chosen | None:
    """Indices ``[B, heads, K]`` that say the same row for all of its entries."""
    shape, axis = at.fact(node.inputs[1]).shape, int(node.attrs.get("axis", 0)) % len(data)
    if shape is None or axis == 0 or not all(map(same, shape[axis + 1 :], data[axis + 1 :])):
        return None
    heads = data[1:axis]
    if not all(map(same, shape[1:axis], heads)):
        return None
    if not all(same(h, 1) for h in heads) and not all(isinstance(d, int) for d in (*heads, data[axis])):
        return None
    narrow: str | None = node.inputs[1]
    while narrow is not None:
        own = at.fact(narrow).shape
        if own is not None and len(own) == len(shape) and all(same(size, 1) for size in own[axis + 1 :]):
            alike = all(map(same, own[: axis + 1], shape[: axis + 1]))
            return Chosen(at.single(node.inputs[0]), axis, narrow, shape[: axis + 1]) if alike else None
        narrow = source_of(narrow, at)
    return None


def _by_tuples(node: Node, at: Workspace) -> Chosen | None:
    """Indices ``[B, ..., 1]`` of rows, where the first axis is that of the candidates."""
    shape = at.fact(node.inputs[1]).shape
    if shape is None or int(node.attrs.get("batch_dims", 0)) != 1 or len(shape) < 2 or not same(shape[-1], 1):
        return None
    return Chosen(at.single(node.inputs[0]), 1, node.inputs[1], shape[:-1])
