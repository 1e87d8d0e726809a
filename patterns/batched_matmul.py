"""A batched product of which one operand is the same for all candidates::

    MatMul( Expand(u), i )   ->   MatMul( u, i )
    MatMul( i, Expand(u) )   ->   MatMul( i, u )       one plain product where u is a single matrix

    batch axes broadcast: repeat(U) @ I = U @ I

Keys and values of attention over the user's history are such operands.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.sizes import broadcast
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns.broadcast import narrower
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class BatchedMatMul(Rule[tuple[str, str]]):
    """Lets the batch axes of a product broadcast."""

    name = "batched-matmul"
    algebra = "repeat(U) @ I = U @ I"
    exactness = Exactness.EXACT
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> tuple[str, str] | None:
        left, right = node.inputs
        for narrow in ((narrower(left, at), right), (left, narrower(right, at))):
            if narrow[0] is not None and narrow[1] is not None and _keeps_shape(node, narrow[0], narrow[1], at):
                return narrow[0], narrow[1]
        return None

    def rewrite(self, node: Node, found: tuple[str, str], at: Workspace) -> Sequence[str]:
        left, right = found
        shape, rank = at.fact(right).shape or (), at.fact(left).rank or 0
        if right != node.inputs[1] and 2 < len(shape) <= rank and all(same(d, 1) for d in shape[:-2]):
            # ONNX Runtime runs a product with one matrix on the right as a single large one.
            right = at.squeeze(right, list(range(len(shape) - 2)))
        return [at.emit("MatMul", [left, right])]


def _keeps_shape(node: Node, left: str, right: str, at: Workspace) -> bool:
    after = at.fact(node.output).shape
    one, other = at.fact(left).shape, at.fact(right).shape
    if after is None or one is None or other is None or len(one) < 2 or len(other) < 2:
        return False
    if not same(one[-1], other[-2]):
        return False
    found = (*broadcast([one[:-2], other[:-2]]), one[-2], other[-1])
    return alike(found, after)
