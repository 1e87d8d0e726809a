"""A product of the user's rows, each scaled by a row of the item::

    MatMul( q: [B, 1, d] * k: [1, T, d], W: [d, n] )   ->   MatMul( k, q: [B, d, 1] * W )

    (q * k) W = k (diag(q) W)

So target attention asks each step of a history about the products of item and step. The weight has ``n`` columns for
each item where the history has ``T`` rows, and often fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._linear import is_linear_layer
from mari_onnx.patterns._parts import one_row
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Rows:
    """What the rows are scaled with, and the rows."""

    scales: str
    rows: str


class ScaledRows(Rule[Rows]):
    """Scales the weight instead of the rows."""

    name = "scaled-rows"
    algebra = "(q * k) W = k (diag(q) W)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Rows | None:
        scaled, shape = at.graph.producer(node.inputs[0]), at.fact(node.inputs[0]).shape
        if scaled is None or scaled.domain or scaled.op != "Mul" or shape is None or len(shape) != 3:
            return None
        if at.is_once(node.inputs[0]) or not is_linear_layer(node, at):
            return None
        for scales, rows in (scaled.inputs, scaled.inputs[::-1]):
            narrow, wide = at.fact(scales).shape or (), at.fact(one_row(rows, at)).shape or ()
            if len(narrow) != 3 or not same(narrow[1], 1) or at.is_once(scales) or not at.is_once(rows):
                continue
            if same(narrow[2], shape[2]) and len(wide) > 1 and same(wide[-1], shape[2]) and same(wide[-2], shape[1]):
                return Rows(scales, rows)
        return None

    def rewrite(self, node: Node, found: Rows, at: Workspace) -> Sequence[str]:
        rows, one, width = at.fact(found.scales).shape or ()
        weight = at.emit("Mul", [at.reshape(found.scales, (rows, width, one)), node.inputs[1]])
        return [at.emit("MatMul", [one_row(found.rows, at), weight])]
