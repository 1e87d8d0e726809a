"""An Einsum that is a matrix product::

    Einsum( "...k,kn->...n", x, W )   ->   MatMul( x, W )

    sum_k x[..., k] W[k, n] = x W

It is rewritten where the product then splits.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class EinsumMatMul(Rule[tuple[str, str]]):
    """Writes an Einsum over the last axis of its first operand as a MatMul."""

    name = "einsum-matmul"
    algebra = "sum_k x[..., k] W[k, n] = x W"
    exactness = Exactness.REASSOCIATING
    enabling = True
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> tuple[str, str] | None:
        return (node.inputs[0], node.inputs[1]) if is_product(node, at) else None

    def rewrite(self, node: Node, found: tuple[str, str], at: Workspace) -> Sequence[str]:
        return [at.emit("MatMul", found)]


def is_product(node: Node, at: Workspace) -> bool:
    """Whether an Einsum multiplies the last axis of its first operand with a constant matrix."""
    left, _, result = str(node.attrs.get("equation", "")).replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != 2 or len(terms[1]) != 2 or not terms[0] or not at.is_weight(node.inputs[1]):
        return False
    first, k, n = terms[0], terms[1][0], terms[1][1]
    letters = first.replace("...", "")
    if len(set(letters)) != len(letters) or n in letters or k == n:
        return False
    rows, matrix = (at.fact(v).shape for v in node.inputs)
    # What has one entry there is repeated.
    agrees = bool(rows) and bool(matrix) and same((rows or ())[-1], (matrix or ())[0])
    return agrees and first.endswith(k) and result == first[: -len(k)] + n
