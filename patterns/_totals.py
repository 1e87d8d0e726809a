"""Reductions whose result has one entry in place of those reduced, and sums over how many there were: means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, alike
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

DIVISIONS = frozenset({"Div", "Mul"})
"""By a number, or with one over it."""


def divided_total(node: Node, op: str, at: Workspace) -> tuple[str, int] | None:
    """What was reduced along which axis, where a node divides the result by the size of that axis, which stays.

    Args:
        node: The node.
        op: The reduction.
        at: The graph around it.
    """
    if node.kind not in DIVISIONS:
        return None
    either = (node.inputs, node.inputs[::-1]) if node.kind == "Mul" else (node.inputs,)
    for total, number in either:
        found, count = reduced(total, op, at), at.constant(number) if at.is_weight(number) else None
        if found is None or count is None or count.size != 1:
            continue
        shape = at.fact(found[0]).shape or ()
        size = shape[found[1]]
        if not isinstance(size, int) or size < 1 or not alike(at.fact(node.output).shape, _kept(shape, found[1])):
            continue
        if count.reshape(()) == (size if node.kind == "Div" else np.array(1 / size, count.dtype)):
            return found
    return None


def reduced(total: str, op: str, at: Workspace) -> tuple[str, int] | None:
    """What was reduced along which axis, where the result has one entry in its place, perhaps by a view."""
    node = at.graph.producer(total)
    while node is not None and node.kind in VIEWS:
        node = at.graph.producer(node.inputs[0])
    if node is None or node.kind != op:
        return None
    shape, axes = at.fact(node.inputs[0]).shape, at.axes(node)
    if not shape or axes is None or len(axes) != 1:
        return None
    axis = int(axes[0]) % len(shape)
    return (node.inputs[0], axis) if alike(at.fact(total).shape, _kept(shape, axis)) else None


def _kept(shape: Sequence[Dim], axis: int) -> tuple[Dim, ...]:
    return (*shape[:axis], 1, *shape[axis + 1 :])
