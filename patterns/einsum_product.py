"""An Einsum that multiplies matrices of user and candidate::

    Einsum( "bhik,bhjk->bhij", q, k )   ->   MatMul( q, Transpose(k) )

    sum_k q[b, i, k] k[b, j, k] = q_b k_b^T

Attention is often written so. What the rules say of products holds of it then; ONNX Runtime does the same inside.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._equations import MatrixProduct, agree, matrix_product, multiplied, plain_terms
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class EinsumProduct(Rule[MatrixProduct]):
    """Writes an Einsum of two computed operands as products of matrices."""

    name = "einsum-product"
    algebra = "sum_k q[b, i, k] k[b, j, k] = q_b k_b^T"
    exactness = Exactness.REASSOCIATING
    early = True
    clearing = True
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> MatrixProduct | None:
        equation = plain_terms(node)
        if equation is None or at.is_once(node.output) or any(map(at.is_weight, node.inputs)):
            return None
        found = matrix_product(*equation)
        if found is None or not found.batch or at.fact(node.output).dtype not in FLOATS:
            return None
        return found if agree(node.inputs, equation[0], at) else None

    def rewrite(self, node: Node, found: MatrixProduct, at: Workspace) -> Sequence[str]:
        return [multiplied(node.inputs, found, at)]
