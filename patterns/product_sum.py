"""Two products over the same rows of the user, one with weights of each candidate::

    MatMul(x, A) + MatMul(x, C) + r   ->   MatMul(x, A + C) + r

    x A + x C = x (A + C)

Target attention with products of query and key ends so: ``A`` are the weights scaled with a candidate's query, ``C``
those of the keys alone. It pays where the user has more rows than these have columns; then less is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._parts import one_row
from mari_onnx.patterns._sums import added, terms_of, without
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Products:
    """The products, one with weights of each candidate and one with those for all, and what else is added."""

    own: Node
    shared: Node
    others: tuple[str, ...]


class ProductSum(Rule[Products]):
    """Adds weights instead of what is made with them."""

    name = "product-sum"
    algebra = "x A + x C = x (A + C)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Add"})

    def match(self, node: Node, at: Workspace) -> Products | None:
        terms = list(terms_of(node, at))
        products = {v: p for v in terms if terms.count(v) == 1 and (p := _product(v, at)) is not None}
        for value, own in products.items():
            if not _is_own(own, node, at):
                continue
            for other, shared in products.items():
                # Infinite rows give no number with weights of either sign, and are infinite with their sum.
                if _is_shared(shared, own, at) and never_infinite(own.inputs[0], at):
                    return Products(own, shared, without(terms, value, other))
        return None

    def rewrite(self, node: Node, found: Products, at: Workspace) -> Sequence[str]:
        weight = at.emit("Add", [found.own.inputs[1], one_row(found.shared.inputs[1], at)])
        result = at.emit("MatMul", [found.own.inputs[0], weight])
        return [added(result, found.others, at)]


def _product(value: str, at: Workspace) -> Node | None:
    """The product that makes a value that nothing else reads, over rows that are computed once."""
    node = at.graph.producer(value)
    if node is None or node.op != "MatMul" or node.domain or not at.graph.is_private(value):
        return None
    return node if at.is_once(node.inputs[0]) else None


def _is_own(own: Node, node: Node, at: Workspace) -> bool:
    """Whether a product has weights of each candidate, and is as large as the sum."""
    if at.is_once(own.inputs[1]) or (at.fact(own.inputs[1]).rank or 0) < 3:
        return False
    return alike(at.fact(own.output).shape, at.fact(node.output).shape)


def _is_shared(shared: Node, own: Node, at: Workspace) -> bool:
    """Whether a product has weights that are computed once, and the same rows."""
    if not at.is_once(shared.inputs[1]) or at.fact(one_row(shared.inputs[1], at)).rank != 2:
        return False
    if one_row(shared.inputs[0], at) != one_row(own.inputs[0], at):
        return False
    return alike(at.fact(one_row(shared.inputs[1], at)).shape, (at.fact(own.inputs[1]).shape or ())[-2:])
