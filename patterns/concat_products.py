"""A product of many pairs of matrices, some of which are the user's on both sides::

    MatMul( Concat(u, i; axis c), Concat(v, j; axis c) )   ->   Concat( MatMul(u, v), MatMul(i, j); axis c )

    [u; i]_c [v; j]_c = [u v; i j]_c

Recurrences that are computed chunk by chunk (Mamba2) are such products: the chunks of the history are the user's. The
axis is not one of the matrices, so each of them is multiplied as before. Where one operand alone is a Concat, it is for
:mod:`mari_onnx.patterns.concat_tokens`.
"""

from __future__ import annotations

from mari_onnx.ir import Node
from mari_onnx.patterns.concat_elementwise import ConcatElementwise, Operands
from mari_onnx.rewrite.workspace import Workspace


class ConcatProducts(ConcatElementwise):
    """Multiplies the matrices in the parts of a Concat part by part."""

    name = "concat-products"
    algebra = "[u; i]_c [v; j]_c = [u v; i j]_c"
    rival = False
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Operands | None:
        rank = at.fact(node.output).rank
        if rank is None or any((at.fact(v).rank or 0) < 2 for v in node.inputs):
            return None
        found = super().match(node, at)
        return found if found is not None and found.axis < rank - 2 and len(found.others) == 2 else None
