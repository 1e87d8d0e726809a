"""Means, variances and standard deviations along the last axis, written out in steps."""

from __future__ import annotations

from collections.abc import Iterator

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._totals import divided_total
from mari_onnx.rewrite.workspace import Workspace


def inverted(value: str, at: Workspace) -> str | None:
    """What a value is one over the root of."""
    node = at.graph.producer(value)
    if node is None:
        return None
    if node.kind == "Reciprocal":
        return argument(node.inputs[0], "Sqrt", at)
    if node.kind == "Div" and _number(node.inputs[0], at) == 1:
        return argument(node.inputs[1], "Sqrt", at)
    if node.kind == "Pow" and _number(node.inputs[1], at) == -0.5:
        return node.inputs[0]
    return argument(node.inputs[0], "Reciprocal", at) if node.kind == "Sqrt" else None


def argument(value: str, op: str, at: Workspace) -> str | None:
    """What an operator made a value of."""
    node = at.graph.producer(value)
    return node.inputs[0] if node is not None and node.kind == op else None


def variance_of(total: str, at: Workspace) -> tuple[str, float] | None:
    """What a value is the variance of, and what was added to that."""
    node = at.graph.producer(total)
    if node is None or node.kind != "Add":
        return None
    for variance, added in orders(node):
        epsilon, value = _number(added, at), _spread(variance, at)
        if epsilon is not None and value is not None:
            return value, epsilon
    return None


def _spread(variance: str, at: Workspace) -> str | None:
    """What a value is the variance of: as the mean of squared differences, or the mean of squares less that squared."""
    node = at.graph.producer(variance)
    if node is not None and node.kind == "Max" and len(node.inputs) == 2:
        above = [left for left, right in orders(node) if _number(right, at) == 0]
        node = at.graph.producer(above[0]) if above else None
    if node is not None and node.kind == "Sub":
        squares, square = mean_of(node.inputs[0], at), square_of(node.inputs[1], at)
        value = square_of(squares, at) if squares is not None else None
        return value if value is not None and square is not None and mean_of(square, at) == value else None
    squares = mean_of(node.output, at) if node is not None else None
    difference = square_of(squares, at) if squares is not None else _summed_squares_of(variance, at)
    return centred(difference, at) if difference is not None else None


def _summed_squares_of(variance: str, at: Workspace) -> str | None:
    """What a value is the mean of the squares of, along the last axis, as a sum of squares over how many there are."""
    node = at.graph.producer(variance)
    found = divided_total(node, "ReduceSumSquare", at) if node is not None else None
    return found[0] if found is not None and found[1] == len(at.fact(found[0]).shape or ()) - 1 else None


def centred(difference: str, at: Workspace) -> str | None:
    """What a value is, less its mean."""
    node = at.graph.producer(difference)
    if node is None or node.kind != "Sub" or mean_of(node.inputs[1], at) != node.inputs[0]:
        return None
    return node.inputs[0]


def mean_of(value: str, at: Workspace) -> str | None:
    """What a value is the mean of, along the last axis, which stays."""
    node = at.graph.producer(value)
    if node is None or node.kind != "ReduceMean" or not node.attrs.get("keepdims", 1):
        return None
    axes, rank = at.axes(node), at.fact(node.inputs[0]).rank
    return node.inputs[0] if axes and rank and [a % rank for a in axes] == [rank - 1] else None


def square_of(value: str, at: Workspace) -> str | None:
    """What a value is the square of."""
    node = at.graph.producer(value)
    if node is None:
        return None
    if node.kind == "Mul" and node.inputs[0] == node.inputs[1]:
        return node.inputs[0]
    return node.inputs[0] if node.kind == "Pow" and _number(node.inputs[1], at) == 2 else None


def _number(value: str, at: Workspace) -> float | None:
    """A constant of one entry, of whatever rank: were it more than that of the other operand, the result would tell."""
    array = at.constant(value) if at.is_weight(value) else None
    return float(array.reshape(())) if array is not None and array.size == 1 else None


def is_row(value: str, at: Workspace) -> bool:
    """Whether a value is a constant for the entries of the last axis."""
    shape = at.fact(value).shape
    return bool(shape) and at.is_weight(value) and all(same(d, 1) for d in (shape or ())[:-1])


def orders(node: Node) -> Iterator[tuple[str, str]]:
    left, right = node.inputs
    yield left, right
    yield right, left
