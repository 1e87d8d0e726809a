"""Where the entries of a layer's result go when they are moved: axes as lists of factors.

What exporters write between a layer and the product that reads its rows moves entries alone. A Reshape joins factors,
and takes columns apart; so each column that arrives is known as one of the layer's. No sizes are compared but those of
the same entries in the same order. ``_labels`` tells of whole axes; one that a Reshape joins or cuts has none there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, alike, quotient, same
from mari_onnx.ir.orders import order_of
from mari_onnx.rewrite.workspace import Workspace

COLUMNS = 2
"""The axis of a layer's result that has its columns; those before are candidates and rows, in either order."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor of an axis: a whole axis of the layer's result, or some of its columns ``stride`` apart."""

    axis: int
    size: Dim
    stride: int = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the entries of a layer's result are: the factors of each axis, the first column, and a scale."""

    axes: tuple[tuple[Factor, ...], ...]
    first: int = 0
    scale: float = 1.0


def places(factors: Sequence[Factor]) -> np.ndarray:
    """The columns along an axis that has these factors, counted from the first."""
    found = np.zeros(1, np.int64)
    for factor in factors:
        found = (found[:, np.newaxis] + np.arange(factor.size) * factor.stride).reshape(-1)
    return found


def moved(node: Node, at: Workspace) -> str:
    """What a step moves the entries of, or nothing where it is none."""
    if node.op in ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Gather"):
        return node.inputs[0]
    if node.op != "Mul" or _factor(node, at) is None:
        return ""
    other = next(v for v in node.inputs if not at.is_weight(v))
    return other if alike(at.fact(other).shape, at.fact(node.output).shape) else ""


def _factor(node: Node, at: Workspace) -> float | None:
    """The one constant number that a Mul multiplies with."""
    constants = [v for v in node.inputs if at.is_weight(v)]
    array = at.constant(constants[0]) if len(constants) == 1 else None
    return float(array.item()) if array is not None and array.size == 1 and np.isfinite(array).all() else None


def after(node: Node, layout: Layout | None, at: Workspace) -> Layout | None:
    """The layout behind a step, or ``None`` where columns are mixed with rows."""
    if layout is None:
        return None
    if node.op == "Transpose":
        return replace(layout, axes=tuple(layout.axes[axis] for axis in order_of(node, len(layout.axes))))
    if node.op == "Mul":
        factor = _factor(node, at)
        return None if factor is None else replace(layout, scale=layout.scale * factor)
    if node.op == "Gather":
        return _picked(node, layout, at)
    shape = at.fact(node.output).shape
    axes = _regrouped([f for axis in layout.axes for f in axis], shape) if shape is not None else None
    return replace(layout, axes=axes) if axes is not None else None


def _picked(node: Node, layout: Layout, at: Workspace) -> Layout | None:
    """One entry along an axis that has columns alone."""
    index = at.constant(node.inputs[1]) if at.is_weight(node.inputs[1]) else None
    axis = int(node.attrs.get("axis", 0)) % len(layout.axes)
    if index is None or index.ndim or any(f.axis != COLUMNS for f in layout.axes[axis]):
        return None
    first = layout.first + int(places(layout.axes[axis])[int(index)])
    return replace(layout, axes=(*layout.axes[:axis], *layout.axes[axis + 1 :]), first=first)


def _regrouped(factors: Sequence[Factor], shape: Shape) -> tuple[tuple[Factor, ...], ...] | None:
    """The factors of axes with other sizes, in the order that they have: columns are taken apart where they need be."""
    left, axes = [f for f in factors if not same(f.size, 1)], []
    for size in shape:
        axis: list[Factor] = []
        while not same(size, 1):
            if not left:
                return None
            factor = left.pop(0)
            rest = quotient(size, factor.size)
            if rest is None and factor.axis == COLUMNS and isinstance(size, int) and size and factor.size % size == 0:
                inner = factor.size // size
                left.insert(0, replace(factor, size=inner))
                factor, rest = replace(factor, size=size, stride=factor.stride * inner), 1
            if rest is None:
                return None
            axis.append(factor)
            size = rest
        axes.append(tuple(axis))
    return tuple(axes) if not left else None
