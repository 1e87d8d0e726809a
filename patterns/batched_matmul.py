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
from mari_onnx.ir.dims import alike, mentions_candidates, same
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
            if narrow[0] is None or narrow[1] is None or not _keeps_shape(node, narrow[0], narrow[1], at):
                continue
            if not any(_may_be_empty(v, n, at) for v, n in zip(node.inputs, narrow, strict=True) if n is not None):
                return narrow[0], narrow[1]
        return None

    def rewrite(self, node: Node, found: tuple[str, str], at: Workspace) -> Sequence[str]:
        left, right = found
        shape, rank = at.fact(right).shape or (), at.fact(left).rank or 0
        if right != node.inputs[1] and 2 < len(shape) <= rank and all(same(d, 1) for d in shape[:-2]):
            # ONNX Runtime runs a product with one matrix on the right as a single large one.
            right = at.squeeze(right, list(range(len(shape) - 2)))
        return [at.emit("MatMul", [left, right])]


def _may_be_empty(whole: str, narrow: str, at: Workspace) -> bool:
    """Whether matrices that are not repeated any more may be needed 0 times, for a history of that length.

    ONNX Runtime does not repeat a matrix so often by itself.
    """
    pairs = zip(reversed(at.fact(whole).shape or ()), reversed(at.fact(narrow).shape or ()), strict=False)
    gone = [was for was, now in pairs if same(now, 1) and not same(was, 1)]
    return any(not isinstance(size, int) and not mentions_candidates(size) for size in gone)


def _keeps_shape(node: Node, left: str, right: str, at: Workspace) -> bool:
    after = at.fact(node.output).shape
    one, other = at.fact(left).shape, at.fact(right).shape
    if after is None or one is None or other is None or len(one) < 2 or len(other) < 2:
        return False
    if not same(one[-1], other[-2]):
        return False
    found = (*broadcast([one[:-2], other[:-2]]), one[-2], other[-1])
    return alike(found, after)
