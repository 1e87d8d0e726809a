"""A product whose columns are normalised, as layers are exported that were trained with BatchNormalization::

    BatchNormalization( Gemm(x, W, c) )   ->   Gemm( x, W diag(s), C = c s + o )

    (x W + c) s + o = x (W s) + (c s + o)

``s`` and ``o`` follow from the parameters of a normalisation that is trained no more. ONNX Runtime does so for
convolutions only; and an activation behind the normalisation comes to stand behind the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._linear import is_bias, is_plain_layer
from mari_onnx.patterns._norms import Affine, as_affine, columns_of, made, row_like
from mari_onnx.patterns._parts import one_row
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Normalised:
    """The product, what is added to it, or nothing, and what the normalisation does."""

    product: Node
    bias: str
    norm: Affine


class ProductNorm(Rule[Normalised]):
    """Normalises the weights of a product instead of what it makes."""

    name = "product-norm"
    algebra = "(x W + c) s + o = x (W s) + (c s + o)"
    exactness = Exactness.REASSOCIATING
    phases = Phase.EARLY | Phase.MAIN
    ops = frozenset({"BatchNormalization"})

    def match(self, node: Node, at: Workspace) -> Normalised | None:
        norm, product, bias = as_affine(node, at), at.graph.producer(node.inputs[0]), ""
        if norm is None or product is None or not at.graph.is_private(node.inputs[0]):
            return None
        if product.op == "Add" and not product.domain:
            found = _added(product, at)
            if found is None:
                return None
            product, bias = found
        elif product.has_input(2):
            bias = product.inputs[2]
        return Normalised(product, bias, norm) if is_plain_layer(product, at) else None

    def rewrite(self, node: Node, found: Normalised, at: Workspace) -> Sequence[str]:
        product, norm = found.product, found.norm
        key = ("columns", *norm.key, bool(product.attrs.get("transB", 0)))
        weight = made(product.inputs[1], key, lambda w: columns_of(w, product) * norm.factors, at)
        factors, row = (row_like(r, product.inputs[1], at) for r in (norm.factors, norm.summands))
        if found.bias and at.is_weight(found.bias):
            row = made(found.bias, ("bias", *norm.key), lambda c: c.reshape(1, -1) * norm.factors + norm.summands, at)
        elif found.bias:
            row = at.emit("Add", [at.emit("Mul", [one_row(found.bias, at), factors]), row])
        return [at.emit("Gemm", [product.inputs[0], weight, row], alpha=float(product.attrs.get("alpha", 1.0)))]


def _added(total: Node, at: Workspace) -> tuple[Node, str] | None:
    """The MatMul that a row is added to, and the row."""
    for value, row in (total.inputs, total.inputs[::-1]):
        product = at.graph.producer(value)
        if product is not None and product.op == "MatMul" and not product.domain and is_bias(row, value, at):
            return (product, row) if at.graph.is_private(value) else None
    return None
