"""A layer on rows that are laid end to end for it alone::

    Reshape( MatMul( Reshape(x: [B, T, k] -> [B*T, k]), W ) -> [B, T, n] )   ->   MatMul( x, W )

    unflatten(flatten(x) W) = x W

TensorFlow writes every Dense of more than two axes so, as a Tensordot. The views are of no use to the product, which
ONNX Runtime works out on all rows at once, and one layer behind the other hides which tokens are the user's.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, product, same
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


class Tensordot(Rule[tuple[str, str]]):
    """Multiplies a tensor as it is."""

    name = "tensordot"
    algebra = "unflatten(flatten(x) W) = x W"
    exactness = Exactness.EXACT
    phases = Phase.CLEARING | Phase.EARLY | Phase.MAIN
    ops = frozenset({"Reshape"})

    def match(self, node: Node, at: Workspace) -> tuple[str, str] | None:
        layer = at.graph.producer(node.inputs[0])
        if layer is None or layer.kind != "MatMul" or not at.graph.is_private(layer.output):
            return None
        flat = at.graph.producer(layer.inputs[0])
        if flat is None or flat.kind != "Reshape" or at.is_once(layer.output):
            return None
        before, after = at.fact(flat.inputs[0]).shape, at.fact(node.output).shape
        rows, weight = at.fact(flat.output).shape, at.fact(layer.inputs[1])
        if weight.rank != 2 or weight.axis is not None or not before or not after or not rows or len(rows) != 2:
            return None
        kept = len(before) > 2 and same(before[-1], rows[1]) and same(product(before[:-1]), rows[0])
        return (flat.inputs[0], layer.inputs[1]) if kept and alike(before[:-1], after[:-1]) else None

    def rewrite(self, node: Node, found: tuple[str, str], at: Workspace) -> Sequence[str]:
        return [at.emit("MatMul", found)]
