"""LayerNormalization over the last axis: the operator, or the steps that it is written out in.

Before operator set 17 there is no operator, and TensorFlow's converter writes the steps in every set::

    d = Sub(x, ReduceMean(x));  v = ReduceMean( Mul(d, d) );  r = Reciprocal( Sqrt(v + e) )

    Add( Mul( Div(d, Sqrt(v + e)), g ), b )                   PyTorch
    Add( Mul( d, Mul(r, g) ), b )                             JAX
    Add( Mul( x, Mul(r, g) ), Sub( b, Mul(mean, r * g) ) )    TensorFlow
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.rewrite.workspace import Workspace

STEPS = frozenset({"Add", "Div", "Mul", "Sub"})
"""What the last of the steps may be."""


@dataclass(frozen=True, slots=True)
class Normal:
    """What a normalization does.

    Attributes:
        value: What is normalised, along its last axis.
        scale: A constant row for it, or nothing.
        shift: What is added, as it broadcasts; nothing where nothing is.
        epsilon: What is added to the variance.
    """

    value: str
    scale: str
    shift: str
    epsilon: float


def normal_of(node: Node, at: Workspace) -> Normal | None:
    """The normalization that a node is, or is the last step of."""
    if node.kind == "LayerNormalization":
        rank = at.fact(node.inputs[0]).rank or 0
        if any(node.outputs[1:]) or not rank or int(node.attrs.get("axis", -1)) % rank != rank - 1:
            return None
        shift = node.inputs[2] if node.has_input(2) else ""
        return Normal(node.inputs[0], node.inputs[1], shift, float(node.attrs.get("epsilon", 1e-5)))
    found = _written(node, at)
    if found is None or _is_followed(node, at):
        return None
    return found if alike(at.fact(found.value).shape, at.fact(node.output).shape) else None


def _is_followed(node: Node, at: Workspace) -> bool:
    """Whether the next node is a step of the same normalization."""
    readers = at.graph.consumers(node.output)
    return len(readers) == 1 and readers[0].kind in STEPS and _written(readers[0], at) is not None


def _written(node: Node, at: Workspace) -> Normal | None:
    if node.kind not in STEPS:
        return None
    if node.kind == "Add":
        for left, right in _orders(node):
            found = _from_mean(left, right, at) or _shifted(left, right, at)
            if found is not None:
                return found
        return None
    return _scaled(node, at)


def _shifted(value: str, shift: str, at: Workspace) -> Normal | None:
    node = at.graph.producer(value)
    found = _scaled(node, at) if node is not None and _is_row(shift, at) else None
    return None if found is None else Normal(found.value, found.scale, shift, found.epsilon)


def _from_mean(left: str, right: str, at: Workspace) -> Normal | None:
    """``x * f + (b - mean * f)``, with ``f = r * g``."""
    product = at.graph.producer(left)
    if product is None or product.kind != "Mul":
        return None
    for value, factor in _orders(product):
        deviation = _deviation(factor, at)
        if deviation is not None and deviation.value == value:
            shift = _less_mean(right, deviation.mean, factor, at)
            if shift is not None:
                return Normal(value, deviation.scale, shift, deviation.epsilon)
    return None


def _less_mean(rest: str, mean: str, factor: str, at: Workspace) -> str | None:
    """What ``b`` is in ``b - mean * factor``."""
    node = at.graph.producer(rest)
    if node is None:
        return None
    if node.kind == "Sub" and _is_row(node.inputs[0], at):
        return node.inputs[0] if _is_product(node.inputs[1], mean, factor, at) else None
    if node.kind == "Add":
        for product, shift in _orders(node):
            if _is_row(shift, at) and _is_negated(product, mean, factor, at):
                return shift
    return "" if _is_negated(rest, mean, factor, at) else None


def _is_product(value: str, left: str, right: str, at: Workspace) -> bool:
    node = at.graph.producer(value)
    return node is not None and node.kind == "Mul" and set(node.inputs) == {left, right}


def _is_negated(value: str, mean: str, factor: str, at: Workspace) -> bool:
    """Whether a value is ``-mean * factor``, or ``-(mean * factor)``."""
    node = at.graph.producer(value)
    if node is not None and node.kind == "Neg":
        return _is_product(node.inputs[0], mean, factor, at)
    if node is None or node.kind != "Mul" or factor not in node.inputs:
        return False
    negated = at.graph.producer(next((v for v in node.inputs if v != factor), factor))
    return negated is not None and negated.kind == "Neg" and negated.inputs[0] == mean


def _scaled(node: Node, at: Workspace) -> Normal | None:
    """``d / sqrt(v + e)``, ``d * r``, ``d * (r * g)`` or the first two, times ``g``."""
    if node.kind == "Div":
        inside = _argument(node.inputs[1], "Sqrt", at)
        return None if inside is None else _of_difference(node.inputs[0], inside, at)
    if node.kind != "Mul":
        return None
    for left, right in _orders(node):
        deviation = _deviation(right, at)
        if deviation is not None and left == deviation.difference:
            return Normal(deviation.value, deviation.scale, "", deviation.epsilon)
        inner = at.graph.producer(left)
        found = _scaled(inner, at) if inner is not None and _is_row(right, at) else None
        if found is not None and not found.scale:
            return Normal(found.value, right, "", found.epsilon)
    return None


def _of_difference(difference: str, inside: str, at: Workspace) -> Normal | None:
    found = _inside(inside, "", at)
    return Normal(found.value, "", "", found.epsilon) if found is not None and found.difference == difference else None


@dataclass(frozen=True, slots=True)
class _Deviation:
    """One over a standard deviation, times a constant row if any."""

    value: str
    mean: str
    difference: str
    scale: str
    epsilon: float


def _deviation(factor: str, at: Workspace) -> _Deviation | None:
    node = at.graph.producer(factor)
    if node is not None and node.kind == "Mul":
        for inner, scale in _orders(node):
            if _is_row(scale, at):
                inside = _inverted(inner, at)
                return None if inside is None else _inside(inside, scale, at)
        return None
    inside = _inverted(factor, at)
    return None if inside is None else _inside(inside, "", at)


def _inverted(value: str, at: Workspace) -> str | None:
    """What a value is one over the root of."""
    node = at.graph.producer(value)
    if node is None:
        return None
    if node.kind == "Reciprocal":
        return _argument(node.inputs[0], "Sqrt", at)
    if node.kind == "Div" and _number(node.inputs[0], at) == 1:
        return _argument(node.inputs[1], "Sqrt", at)
    if node.kind == "Pow" and _number(node.inputs[1], at) == -0.5:
        return node.inputs[0]
    return _argument(node.inputs[0], "Reciprocal", at) if node.kind == "Sqrt" else None


def _argument(value: str, op: str, at: Workspace) -> str | None:
    """What an operator made a value of."""
    node = at.graph.producer(value)
    return node.inputs[0] if node is not None and node.kind == op else None


def _inside(total: str, scale: str, at: Workspace) -> _Deviation | None:
    """A variance and what is added to it."""
    node = at.graph.producer(total)
    if node is None or node.kind != "Add":
        return None
    for variance, added in _orders(node):
        epsilon, squares = _number(added, at), _mean_of(variance, at)
        difference = _squared(squares, at) if squares and epsilon is not None else None
        made = at.graph.producer(difference) if difference else None
        if epsilon is None or difference is None or made is None or made.kind != "Sub":
            continue
        value, mean = made.inputs
        if _mean_of(mean, at) == value and alike(at.fact(difference).shape, at.fact(value).shape):
            return _Deviation(value, mean, difference, scale, epsilon)
    return None


def _mean_of(value: str, at: Workspace) -> str | None:
    """What a value is the mean of, along the last axis, which stays."""
    node = at.graph.producer(value)
    if node is None or node.kind != "ReduceMean" or not node.attrs.get("keepdims", 1):
        return None
    axes, rank = at.axes(node), at.fact(node.inputs[0]).rank
    return node.inputs[0] if axes and rank and [a % rank for a in axes] == [rank - 1] else None


def _squared(value: str, at: Workspace) -> str | None:
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


def _is_row(value: str, at: Workspace) -> bool:
    """Whether a value is a constant for the entries of the last axis."""
    shape = at.fact(value).shape
    return at.is_weight(value) and bool(shape) and all(same(d, 1) for d in shape[:-1])


def _orders(node: Node) -> Iterator[tuple[str, str]]:
    left, right = node.inputs
    yield left, right
    yield right, left


def row_of(value: str, width: int, kind: np.dtype, at: Workspace) -> np.ndarray | None:
    """A constant row as a vector of so many entries; ones where it is not there."""
    if not value:
        return np.ones(width, kind)
    array = at.constant(value)
    return None if array is None or array.size != width else array.reshape(width).astype(kind)
