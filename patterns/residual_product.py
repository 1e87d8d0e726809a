"""A product over a residual sum, whose columns are the user's and the item's::

    Gemm( Concat(u, i) + Gemm(h, G, c), W, b )   ->   Gemm( [i, h], [W_i; G W], C = u W_u + c W + b )

    ([u, i] + h G) W = u W_u + i W_i + h (G W)

Residual blocks over all features add as many columns as there are features, of which the user's are the most. What
they add is the product of something narrow, and so is what is made of it. The sum of several blocks goes the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._linear import is_plain_layer, terms_of, weight_of
from mari_onnx.patterns._parts import column_parts, joined, matrix_of, one_row, summed, turned
from mari_onnx.patterns.chained_products import through
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

DEEPEST = 8
"""How many sums are looked into, one inside the other."""


@dataclass(frozen=True, slots=True)
class Residual:
    """What a product reads the sum of.

    Attributes:
        columns: Values that are columns of a summand, each with where they begin and how many there are.
        products: Summands that are products with a constant weight themselves.
    """

    columns: tuple[tuple[str, int, int], ...]
    products: tuple[Node, ...]


class ResidualProduct(Rule[Residual]):
    """Multiplies what a residual sum is made of instead of the sum."""

    name = "residual-product"
    algebra = "([u, i] + h G) W = u W_u + i W_i + h (G W)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Residual | None:
        shape, added = at.fact(node.inputs[0]).shape, at.graph.producer(node.inputs[0])
        if shape is None or len(shape) != 2 or added is None or added.op != "Add" or at.is_once(node.inputs[0]):
            return None
        if not isinstance(shape[1], int) or not is_plain_layer(node, at):
            return None
        terms = terms_of(node.inputs[0], at, DEEPEST)
        if any(factor != 1.0 for _, factor in terms):
            return None
        summands = [(v, _product(v, at)) for v, _ in terms]
        products = [p for _, p in summands if p is not None]
        parts = [column_parts(v, at) for v, p in summands if p is None]
        columns = [c for own in parts for c in own]
        whole = all(at.is_once(v) or same((at.fact(v).shape or (0,))[0], shape[0]) for v, _, _ in columns)
        if not products or not all(parts) or not whole or not any(at.is_once(v) for v, _, _ in columns):
            return None
        # What is infinite times numbers of either sign adds up to no number, times their sum it is infinite.
        if not all(never_infinite(p.inputs[0], at) for p in products):
            return None
        return Residual(tuple(columns), tuple(products))

    def rewrite(self, node: Node, found: Residual, at: Workspace) -> Sequence[str]:
        width = (at.fact(node.inputs[0]).shape or ())[-1]
        whole = weight_of(node, [(0, width)], at)
        once = [c for c in found.columns if at.is_once(c[0])]
        fixed = [at.emit("MatMul", [_as_row(v, at), weight_of(node, [(start, size)], at)]) for v, start, size in once]
        fixed += [through(_as_row(p.inputs[2], at), whole, at) for p in found.products if p.has_input(2)]
        fixed += [_as_row(node.inputs[2], at)] if node.has_input(2) else []
        items = [c for c in found.columns if not at.is_once(c[0])]
        own = [weight_of(node, [(start, size) for _, start, size in items], at)] if items else []
        weights = [*own, *(through(matrix_of(p, at), whole, at) for p in found.products)]
        values = [*(v for v, _, _ in items), *(p.inputs[0] for p in found.products)]
        return [at.emit("Gemm", [joined(values, 1, at), joined(weights, 0, at), summed(fixed, at)])]


def _product(value: str, at: Workspace) -> Node | None:
    """The product of something narrower with a constant weight that a value is."""
    node, shape = at.graph.producer(value), at.fact(value).shape or ()
    if node is None or node.domain or node.op not in ResidualProduct.ops or at.is_once(value) or len(shape) != 2:
        return None
    before = at.fact(node.inputs[0]).shape
    if not is_plain_layer(node, at) or not before or node.attrs.get("alpha", 1.0) != 1.0:
        return None
    narrower = isinstance(before[1], int) and isinstance(shape[1], int) and before[1] < shape[1]
    return node if narrower else None


def _as_row(value: str, at: Workspace) -> str:
    """A value for one candidate as a matrix."""
    once = one_row(value, at)
    shape = at.fact(once).shape or ()
    if len(shape) == 2:
        return once
    return turned(once, at) if at.is_weight(once) else at.reshape(once, (1, *shape))
