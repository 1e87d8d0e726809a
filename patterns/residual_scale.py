"""A value that is scaled by what a layer makes, and added to what comes of that::

    Add( Mul( x, Gemm(h, W, b) ), x )   ->   Mul( x, Gemm(h, W, b + 1) )

    x (h W + b) + x = x (h W + (b + 1))

A cross network starts so (``x0 * (W x + b) + x0``). The bias takes the one along, and no entry is read for the sum. The
rules that take such sums apart look for the summand, so this one comes after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._parts import one_row
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Scaled:
    """What is scaled, the node that adds the bias of its scale, and which of that node's inputs the bias is."""

    value: str
    layer: Node
    bias: int


class ResidualScale(Rule[Scaled]):
    """Adds one to the scale instead of the value to the product."""

    name = "residual-scale"
    algebra = "x (h W + b) + x = x (h W + (b + 1))"
    exactness = Exactness.REASSOCIATING
    phases = Phase.CLOSING
    ops = frozenset({"Add"})

    def match(self, node: Node, at: Workspace) -> Scaled | None:
        if at.fact(node.output).dtype not in PRECISE or at.is_once(node.output):
            return None
        for product, value in (node.inputs, node.inputs[::-1]):
            scaled = at.graph.producer(product)
            if scaled is None or scaled.domain or scaled.op != "Mul" or not at.graph.is_private(product):
                continue
            for own, scale in (scaled.inputs, scaled.inputs[::-1]):
                found = _biased(scale, at) if own == value else None
                # What is infinite, less what is infinite as well, is no number.
                if found is not None and never_infinite(value, at):
                    return Scaled(value, *found)
        return None

    def rewrite(self, node: Node, found: Scaled, at: Workspace) -> Sequence[str]:
        inputs = list(found.layer.inputs)
        inputs[found.bias] = _raised(inputs[found.bias], at)
        scale = at.emit(found.layer.op, inputs, **dict(found.layer.attrs))
        return [at.emit("Mul", [found.value, scale])]


def _biased(scale: str, at: Workspace) -> tuple[Node, int] | None:
    """The node that adds something computed once to a scale that nothing else reads, and which input that is."""
    node = at.graph.producer(scale)
    if node is None or node.domain or not at.graph.is_private(scale):
        return None
    if node.op == "Gemm":
        whole = node.attrs.get("beta", 1.0) == 1.0 and node.has_input(2)
        return (node, 2) if whole and at.is_once(node.inputs[2]) else None
    once = [index for index, value in enumerate(node.inputs) if at.is_once(value)]
    return (node, once[0]) if node.op == "Add" and len(once) == 1 else None


def _raised(bias: str, at: Workspace) -> str:
    """A bias and one."""
    known = at.constant(bias)
    if known is not None:
        return at.weight(known + known.dtype.type(1), f"{bias}/raised")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(at.fact(bias).dtype)
    return at.emit("Add", [one_row(bias, at), at.weight(np.array(1, dtype))])
