"""Batched products of vectors::

    MatMul( a: [.., r, 1], b: [.., 1, n] )   ->   a * b
    MatMul( a: [.., 1, d], b: [.., d, 1] )   ->   ReduceSum( a * transposed(b) )

    a b^T for each pair = a * b

A product of matrices is started for each candidate and head; arithmetic by entry is started once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class ThinProduct(Rule[bool]):
    """Writes batched products of vectors entry by entry; finds whether they are outer products."""

    name = "thin-product"
    algebra = "a b^T for each pair = a * b"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> bool | None:
        left, right = (at.fact(v).shape for v in node.inputs)
        if left is None or right is None or min(len(left), len(right)) < 3 or all(same(d, 1) for d in right[:-2]):
            return None
        if same(left[-1], 1) and same(right[-2], 1):
            return True
        return False if same(left[-2], 1) and same(right[-1], 1) and isinstance(left[-1], int) else None

    def rewrite(self, node: Node, found: bool, at: Workspace) -> Sequence[str]:
        left, right = node.inputs
        if found:
            return [at.emit("Mul", [left, right])]
        rank = at.fact(right).rank or 2
        turned = at.emit("Transpose", [right], perm=[*range(rank - 2), rank - 1, rank - 2])
        product = at.emit("Mul", [left, turned])
        if at.opset < 13:
            return [at.emit("ReduceSum", [product], axes=[-1], keepdims=1)]
        return [at.emit("ReduceSum", [product, at.weight(np.array([-1], np.int64))], keepdims=1)]
