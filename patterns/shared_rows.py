"""Rows of a user's history that each candidate chooses::

    GatherElements( repeat(u: [T, d]), i: [B, K, 1] repeated over d; axis 1 )   ->   Gather( u, i: [B, K]; axis 0 )
    GatherND( repeat(u: [T, d]), i: [B, K, 1]; batch_dims 1 )                   ->   Gather( u, i: [B, K]; axis 0 )

    repeat(u)[b, i_b] = u[i_b]

The history is not repeated for every candidate, and whole rows are copied instead of entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._repeats import source_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is looked up.

    Attributes:
        once: The rows, there once: ``[1, T, ...]``.
        rows: Their shape without the axis of size 1.
        indices: Which rows, in any shape.
        shape: Theirs, without axes of size 1 at the end.
    """

    once: str
    rows: Shape
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
        found = _by_elements(node, shape, at) if node.op == "GatherElements" else _by_tuples(node, at)
        if found is None:
            return None
        return Chosen(at.single(data), shape[1:], *found)

    def rewrite(self, node: Node, found: Chosen, at: Workspace) -> Sequence[str]:
        rows = at.reshape(found.once, found.rows)
        return [at.emit("Gather", [rows, at.reshape(found.indices, found.shape)], axis=0)]


def _by_elements(node: Node, data: Shape, at: Workspace) -> tuple[str, Shape] | None:
    """Indices ``[B, K]`` that say the same row for all of its entries."""
    shape = at.fact(node.inputs[1]).shape
    if shape is None or int(node.attrs.get("axis", 0)) % len(data) != 1:
        return None
    if not all(map(same, shape[2:], data[2:])):
        return None
    narrow: str | None = node.inputs[1]
    while narrow is not None:
        own = at.fact(narrow).shape
        if own is not None and len(own) == len(shape) and all(same(size, 1) for size in own[2:]):
            return (narrow, shape[:2]) if all(map(same, own[:2], shape[:2])) else None
        narrow = source_of(narrow, at)
    return None


def _by_tuples(node: Node, at: Workspace) -> tuple[str, Shape] | None:
    """Indices ``[B, ..., 1]`` of rows, where the first axis is that of the candidates."""
    shape = at.fact(node.inputs[1]).shape
    if shape is None or int(node.attrs.get("batch_dims", 0)) != 1 or len(shape) < 2 or not same(shape[-1], 1):
        return None
    return node.inputs[1], shape[:-1]
