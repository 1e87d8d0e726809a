"""A mixing of rows that each candidate has of its own, behind a layer::

    MatMul( P, MatMul(G, W) + c )   ->   MatMul( MatMul(P, G), W ) + c      where each row of P is a Softmax

    P (G W + c) = (P G) W + c

The weight meets a few mixtures and not the many rows that a candidate has chosen, among a long history for one. With
heads, the same rows are mixed for all of them. The numbers of a Softmax sum up to 1, if it has any. What is mixed with
something infinite would meet columns of either sign.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.ir.orders import axis_of
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._projected import Projected, are_few, projected, stacked
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class LateValues(Rule[Projected]):
    """Mixes rows before the layer that makes values of them."""

    name = "late-values"
    algebra = "P (G W + c) = (P G) W + c"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Projected | None:
        found = projected(node.inputs[1], (0, 1), at)
        if found is None or not are_few(node.inputs[0], found, node.inputs[1], at):
            return None
        if found.bias and not _sums_to_one(node.inputs[0], at):
            return None
        return found if never_infinite(node.inputs[0], at) else None

    def rewrite(self, node: Node, found: Projected, at: Workspace) -> Sequence[str]:
        weights = found.split(node.inputs[0], at)
        mixed = at.emit("MatMul", [stacked(weights, at), found.rows(at)])
        shape = at.fact(weights).shape or ()
        mixed = at.reshape(mixed, (*shape[:-1], (at.fact(mixed).shape or ())[-1]))
        values = at.emit("MatMul", [mixed, found.weight(at, (0, 1))])
        if found.bias:
            values = at.emit("Add", [values, found.added(at, (0, 1))])
        return [at.reshape(values, at.fact(node.output).shape or ())]


def _sums_to_one(value: str, at: Workspace) -> bool:
    """Whether each row of a value is a Softmax of one number or more."""
    node, shape = at.graph.producer(value), at.fact(value).shape or (0,)
    if node is None or node.op != "Softmax" or node.domain or not isinstance(shape[-1], int) or shape[-1] < 1:
        return False
    return axis_of(node, len(shape), at.opset) == len(shape) - 1
