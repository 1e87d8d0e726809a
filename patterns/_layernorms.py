"""LayerNormalization over the last axis: the operator, or the steps that it is written out in.

Before operator set 17 there is no operator, and TensorFlow's converter writes the steps in every set::

    d = Sub(x, ReduceMean(x));  v = ReduceMean( Mul(d, d) );  r = Reciprocal( Sqrt(v + e) )

    Add( Mul( Div(d, Sqrt(v + e)), g ), b )                   PyTorch
    Add( Mul( d, Mul(r, g) ), b )                             Flax, with v = ReduceMean( Mul(x, x) ) - Mul(mean, mean)
    Add( Mul( x, Mul(r, g) ), Sub( b, Mul(mean, r * g) ) )    TensorFlow
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._variances import argument, centred, inverted, is_row, mean_of, orders, variance_of
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
        for left, right in orders(node):
            found = _from_mean(left, right, at) or _shifted(left, right, at)
            if found is not None:
                return found
        return None
    return _scaled(node, at)


def _shifted(value: str, shift: str, at: Workspace) -> Normal | None:
    node = at.graph.producer(value)
    found = _scaled(node, at) if node is not None and is_row(shift, at) else None
    return None if found is None else Normal(found.value, found.scale, shift, found.epsilon)


def _from_mean(left: str, right: str, at: Workspace) -> Normal | None:
    """``x * f + (b - mean * f)``, with ``f = r * g``."""
    product = at.graph.producer(left)
    if product is None or product.kind != "Mul":
        return None
    for value, factor in orders(product):
        found = _factor(factor, at)
        shift = _less_mean(right, value, factor, at) if found is not None and found.value == value else None
        if found is not None and shift is not None:
            return Normal(value, found.scale, shift, found.epsilon)
    return None


def _less_mean(rest: str, value: str, factor: str, at: Workspace) -> str | None:
    """What ``b`` is in ``b - mean * factor``."""
    node = at.graph.producer(rest)
    if node is None:
        return None
    if node.kind == "Sub" and is_row(node.inputs[0], at):
        return node.inputs[0] if _is_mean_times(node.inputs[1], value, factor, at) else None
    if node.kind == "Add":
        for product, shift in orders(node):
            if is_row(shift, at) and _is_less(product, value, factor, at):
                return shift
    return "" if _is_less(rest, value, factor, at) else None


def _is_mean_times(product: str, value: str, factor: str, at: Workspace) -> bool:
    node = at.graph.producer(product)
    if node is None or node.kind != "Mul":
        return False
    return any(right == factor and mean_of(left, at) == value for left, right in orders(node))


def _is_less(product: str, value: str, factor: str, at: Workspace) -> bool:
    """Whether it is ``-mean * factor``, or ``-(mean * factor)``."""
    node = at.graph.producer(product)
    if node is not None and node.kind == "Neg":
        return _is_mean_times(node.inputs[0], value, factor, at)
    if node is None or node.kind != "Mul":
        return False
    negated = [argument(left, "Neg", at) for left, right in orders(node) if right == factor]
    return any(mean is not None and mean_of(mean, at) == value for mean in negated)


def _scaled(node: Node, at: Workspace) -> Normal | None:
    """``d / sqrt(v + e)``, ``d * r``, ``d * (r * g)`` or the first two, times ``g``."""
    if node.kind == "Div":
        inside = argument(node.inputs[1], "Sqrt", at)
        found = _of_variance(inside, "", at)
        return found if found is not None and centred(node.inputs[0], at) == found.value else None
    if node.kind != "Mul":
        return None
    for left, right in orders(node):
        found = _factor(right, at)
        if found is not None and centred(left, at) == found.value:
            return found
        inner = at.graph.producer(left)
        found = _scaled(inner, at) if inner is not None and is_row(right, at) else None
        if found is not None and not found.scale:
            return Normal(found.value, right, "", found.epsilon)
    return None


def _factor(factor: str, at: Workspace) -> Normal | None:
    """One over a standard deviation, times a constant row if any: what it is the deviation of."""
    node = at.graph.producer(factor)
    if node is not None and node.kind == "Mul":
        for inner, scale in orders(node):
            if is_row(scale, at):
                return _of_variance(inverted(inner, at), scale, at)
        return None
    return _of_variance(inverted(factor, at), "", at)


def _of_variance(total: str | None, scale: str, at: Workspace) -> Normal | None:
    found = variance_of(total, at) if total is not None else None
    return Normal(found[0], scale, "", found[1]) if found is not None else None


def row_of(value: str, width: int, kind: np.dtype, at: Workspace) -> np.ndarray | None:
    """A constant row as a vector of so many entries; ones where it is not there."""
    if not value:
        return np.ones(width, kind)
    array = at.constant(value)
    return None if array is None or array.size != width else array.reshape(width).astype(kind)
