"""An Einsum of heads that share their keys, or their values::

    Einsum( "bhik,bjk->bhij", q, k )   ->   MatMul( q, Unsqueeze(Transpose(k)) )

    sum_k q[b, h, i, k] k[b, j, k] = q_bh k_b^T

Attention with several heads of queries and one of keys and values is often written so. What the rules say of products
holds of it then, token by token. ONNX Runtime lays the rows of all heads together, which is fewer products; so results
with this rule and without it are compared, and whole attentions are looked at, of which no part pays alone.

Proof. Operands have the same size wherever they have the same letter, so nothing is repeated by the equation. A letter
of the batch that one operand lacks is an axis of size 1 there, which a product repeats for the other: for each entry of
the batch it is the product of the matrices that have this entry, or serve for all of them. Each entry of the result is
the sum of the same products, in some order, whatever they are; where nothing is summed, it is 0 both times. ONNX
Runtime repeats nothing no times, so heads of which there may be none stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.ir.dims import may_be_zero
from mari_onnx.patterns._equations import MatrixProduct, computed_product, multiplied, size_of
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


class EinsumHeads(Rule[MatrixProduct]):
    """Writes an Einsum in which matrices of one operand serve for several of the other as a product."""

    name = "einsum-heads"
    algebra = "sum_k q[b, h, i, k] k[b, j, k] = q_bh k_b^T"
    exactness = Exactness.REASSOCIATING
    phases = Phase.OPENING | Phase.MAIN
    rival = True
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> MatrixProduct | None:
        found = computed_product(node, at)
        if found is None or found.shared == found.batch:
            return None
        repeated = [letter for letter in found.batch if letter not in found.shared]
        return found if not any(may_be_zero(size_of(letter, node.inputs, found, at)) for letter in repeated) else None

    def rewrite(self, node: Node, found: MatrixProduct, at: Workspace) -> Sequence[str]:
        return [multiplied(node.inputs, found, at)]
