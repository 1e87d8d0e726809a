"""An Einsum that multiplies matrices of user and candidate::

    Einsum( "bhik,bhjk->bhij", q, k )   ->   MatMul( q, Transpose(k) )

    sum_k q[b, i, k] k[b, j, k] = q_b k_b^T

Attention is often written so. What the rules say of products holds of it then; ONNX Runtime does the same inside.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._equations import MatrixProduct, computed_product, multiplied
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


class EinsumProduct(Rule[MatrixProduct]):
    """Writes an Einsum of two computed operands as products of matrices."""

    name = "einsum-product"
    algebra = "sum_k q[b, i, k] k[b, j, k] = q_b k_b^T"
    exactness = Exactness.REASSOCIATING
    phases = Phase.CLEARING | Phase.EARLY | Phase.MAIN
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> MatrixProduct | None:
        found = computed_product(node, at)
        return found if found is not None and found.shared == found.batch else None

    def rewrite(self, node: Node, found: MatrixProduct, at: Workspace) -> Sequence[str]:
        return [multiplied(node.inputs, found, at)]
