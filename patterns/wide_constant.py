"""A constant that is repeated along inner axes, stored as often as it is read::

    Mul( x: [B, H, T], a: [H, 1] )   ->   Mul( x, repeat(a): [H, T] )
    Add( x: [B, T, 1], a: [] )       ->   Add( x, a: [1, 1, 1] )

    op(x, a) = op(x, repeat(a))

ONNX Runtime broadcasts stretch by stretch: those of one constant here are as short as a row, a history of ten steps
say, and those of the other as long as all that belongs to a candidate. A single number of lower rank starts over at
each entry where the last axis has one. Constants that it merges with the operator in front, as the bias of a product,
stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

OPERATORS = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Where", "Equal", "Less", "Greater"})
OTHERWISE = frozenset({"Max", "Min", "Pow"})
"""Of integers, ONNX Runtime 1.31 does something else where both operands have axes than with one number: it compares
the lower halves of int64 alone, and powers overflow in another way."""
BIASED = frozenset({"MatMul", "Gemm", "Conv"})
"""Operators with which ONNX Runtime merges a bias behind them."""
NORMALISED = frozenset({"Div", "Reciprocal", "Sqrt", "Conv"})
"""Operators that come before the scale and the bias of a normalisation, which it merges as a whole."""
MERGED_BEFORE = frozenset({"Gelu", "Erf", "Div", "FastGelu", "QuickGelu"})
"""Operators that it merges with a bias in front of them."""
LARGEST = 1 << 14
"""Entries of a constant that may be made."""


@dataclass(frozen=True, slots=True)
class Narrow:
    """Which input is the constant, and the shape to store it in."""

    index: int
    shape: tuple[int, ...]


class WideConstant(Rule[Narrow]):
    """Repeats a constant ahead of time."""

    name = "wide-constant"
    algebra = "op(x, a) = op(x, repeat(a))"
    exactness = Exactness.EXACT
    ops = OPERATORS

    def match(self, node: Node, at: Workspace) -> Narrow | None:
        weights = [k for k, v in enumerate(node.inputs) if at.is_weight(v)]
        shape, axis = at.fact(node.output).shape, at.fact(node.output).axis
        if len(weights) != 1 or not shape:
            return None
        if node.op in OTHERWISE and at.fact(node.output).dtype not in FLOATS:
            return None
        own = at.fact(node.inputs[weights[0]]).shape or ()
        if math.prod(own) == 1:
            return Narrow(weights[0], (1,) * len(shape)) if shape[-1] == 1 and len(own) < len(shape) else None
        if axis is None:
            return None
        inner = tuple(takewhile(lambda d: isinstance(d, int), reversed(shape[axis.index + 1 :])))[::-1]
        if math.prod(own) == math.prod(inner) or math.prod(inner) > LARGEST or len(_stripped(own)) > len(inner):
            return None
        if len(_stripped(own)) == 1 and _is_merged(node, weights[0], at):
            return None
        return Narrow(weights[0], inner)

    def rewrite(self, node: Node, found: Narrow, at: Workspace) -> Sequence[str]:
        name = node.inputs[found.index]

        def wide() -> np.ndarray:
            array = at.constant(name)
            assert array is not None
            return np.ascontiguousarray(np.broadcast_to(array.reshape(_stripped(array.shape)), found.shape))

        constant = at.cached_weight((name, "wide", found.shape), wide, f"{name}/wide")
        inputs = [constant if k == found.index else v for k, v in enumerate(node.inputs)]
        return [at.emit(node.op, inputs, **dict(node.attrs))]


def _stripped(shape: Shape) -> tuple[int, ...]:
    """A shape without axes of size 1 in front."""
    first = next((k for k, d in enumerate(shape) if d != 1), len(shape))
    return tuple(shape[first:])


def _is_merged(node: Node, weight: int, at: Workspace) -> bool:
    """Whether ONNX Runtime may merge an operator with a constant of one axis with its neighbours."""
    before = [at.graph.producer(v) for k, v in enumerate(node.inputs) if k != weight]
    further = [at.graph.producer(v) for n in before if n is not None for v in n.inputs if v]
    if node.op == "Add" and any(n is not None and _takes_bias(n, at) for n in before):
        return True
    if any(n is not None and n.op in NORMALISED for n in (*before, *further)):
        return True
    return any(n.op in MERGED_BEFORE for n in at.graph.consumers(node.output))


def _takes_bias(node: Node, at: Workspace) -> bool:
    """Whether ONNX Runtime merges a product with a bias: one of matrices, or of stacks whose sizes are all known."""
    stacked = node.op == "MatMul" and at.fact(node.output).rank != 2
    return node.op in BIASED and not (stacked and at.inputs.batch is None)
