"""PRelu with a constant slope, by operators that runtimes are quick at::

    PRelu( x, s )   ->   LeakyRelu( x )                      s the same for all entries
    PRelu( x, s )   ->   Max( x, s * x )                     0 < s <= 1
    PRelu( x, s )   ->   Relu( x ) + s * Min( x, 0 )         any other

    max(x, s x) = x where x > 0, s x elsewhere

ONNX Runtime's PRelu takes as long as 40 additions for each entry on a CPU, the others as long as two to five.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

from mari_onnx.analysis.sizes import broadcast
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class Slope(Enum):
    """What a slope is like."""

    UNIFORM = "uniform"
    GENTLE = "gentle"
    ANY = "any"


class PlainActivation(Rule[Slope]):
    """Writes PRelu with a constant slope as a maximum."""

    name = "plain-activation"
    algebra = "max(x, s x) = x where x > 0, s x elsewhere"
    exactness = Exactness.EXACT
    ops = frozenset({"PRelu"})

    def match(self, node: Node, at: Workspace) -> Slope | None:
        slope = at.constant(node.inputs[1])
        if slope is None or slope.size == 0 or slope.dtype != np.float32 or not np.isfinite(slope).all():
            return None
        shape = at.fact(node.inputs[0]).shape
        # The standard asks for slopes that make nothing wider; ONNX Runtime takes others, too.
        if shape is None or not alike(broadcast([slope.shape, shape]), shape):
            return None
        if (slope == slope.flat[0]).all():
            return Slope.UNIFORM
        return Slope.GENTLE if ((slope > 0) & (slope <= 1)).all() else Slope.ANY

    def rewrite(self, node: Node, found: Slope, at: Workspace) -> Sequence[str]:
        x, slope = node.inputs
        if found is Slope.UNIFORM:
            constant = at.constant(slope)
            assert constant is not None
            return [at.emit("LeakyRelu", [x], alpha=float(constant.flat[0]))]
        if found is Slope.GENTLE:
            return [at.emit("Max", [x, at.emit("Mul", [x, slope])])]
        below = at.emit("Min", [x, at.weight(np.zeros((), np.float32))])
        return [at.emit("Add", [at.emit("Relu", [x]), at.emit("Mul", [below, slope])])]
