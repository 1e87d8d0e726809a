"""A product over a Concat of user and item parts::

    MatMul( Concat(u, i, v), W )        ->   MatMul(i, W_i) + MatMul([u, v], W_uv)
    Gemm( Concat(u, i, v), W, b )       ->   Gemm( i, W_i, C = Gemm([u, v], W_uv, b) )
    MatMul( W, Concat(u, i; axis -2) )  ->   the same from the left

    [u, i] W = u W_u + i W_i

However scattered the parts are, one product runs once per request and one for each candidate. The rows of W are put
in the order of the parts when the model is optimized. In two dimensions the user half enters as the bias of the item
half, so that neither an Expand nor an Add remains. The idea is that of MaRI (arXiv 2602.23105).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._parts import Parts, mixed_parts, one_row, side_of
from mari_onnx.patterns._quantized import is_left_to_runtime, pieces_of
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace

WITH_ROOM = (*FLOATS, onnx.TensorProto.BFLOAT16)
"""Types that a Gemm adds a matrix in."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product to split.

    Attributes:
        parts: Parts of the operand that is split.
        operand: Its position among the inputs, 0 or 1.
        weight_axis: The axis of the weight that is summed over.
    """

    parts: Parts
    operand: int
    weight_axis: int


class SplitProduct(Rule[Product]):
    """Splits a matrix product into a user half and an item half."""

    name = "split-product"
    algebra = "[u, i] W = u W_u + i W_i"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Product | Refusal | None:
        for operand in (0, 1):
            parts = mixed_parts(node.inputs[operand], at)
            if parts is None:
                continue
            weight = node.inputs[1 - operand]
            weight_rank = at.fact(weight).rank
            if weight_rank is None or weight_rank < 2 or parts.rank < 2:
                continue
            summed = _summed_axis(node, operand, parts.rank)
            if parts.axis != summed:
                continue
            if not _is_matrix_once(weight, at):
                return Refusal("the other operand differs from candidate to candidate")
            if is_left_to_runtime(node, weight, at):
                return Refusal("its weight is quantized, and ONNX Runtime rounds rows to integers, block by block")
            return Product(parts, operand, _summed_axis(node, 1 - operand, weight_rank))
        return None

    def rewrite(self, node: Node, found: Product, at: Workspace) -> Sequence[str]:
        return [halves_added(node, _half(node, found, True, at), _half(node, found, False, at), at)]


def _is_matrix_once(weight: str, at: Workspace) -> bool:
    """Whether a weight is computed once, and neither its rows nor its columns are the candidates."""
    fact = at.fact(weight)
    return at.is_once(weight) and (fact.axis is None or fact.axis.index < (fact.rank or 0) - 2)


def _summed_axis(node: Node, operand: int, rank: int) -> int:
    if node.op == "Gemm":
        flipped = bool(node.attrs.get("transA" if operand == 0 else "transB", 0))
        return int(flipped == (operand == 1))
    return rank - 1 if operand == 0 else rank - 2


def _half(node: Node, found: Product, once: bool, at: Workspace) -> list[str]:
    """Operands of the product over the parts that are computed once, or over the others."""
    value, pieces = side_of(found.parts, once, at)
    weight = pieces_of(node.inputs[1 - found.operand], found.weight_axis, pieces, at)
    return [value, weight] if found.operand == 0 else [weight, value]


def halves_added(node: Node, user: Sequence[str], item: Sequence[str], at: Workspace) -> str:
    """The sum of two products, given by their operands, with what else a MatMul or Gemm does."""
    if node.op == "Gemm":
        return _gemm(node, user, item, at)
    product = at.emit("MatMul", user)
    if at.fact(node.output).rank == 2 and at.fact(node.output).dtype in WITH_ROOM:
        return at.emit("Gemm", [*item, one_row(product, at)])
    return at.emit("Add", [at.emit("MatMul", item), one_row(product, at)])


def _gemm(node: Node, user: Sequence[str], item: Sequence[str], at: Workspace) -> str:
    """The user half takes the bias along where that is computed once as well."""
    attrs = dict(node.attrs)
    scale = {k: v for k, v in attrs.items() if k in ("alpha", "transA", "transB")}
    bias = [node.inputs[2]] if node.has_input(2) else []
    if not bias or at.is_once(bias[0]):
        half = at.emit("Gemm", [*user, *bias], **(attrs if bias else scale))
        return at.emit("Gemm", [*item, one_row(half, at)], **scale)
    half = at.emit("Gemm", user, **scale)
    return at.emit("Add", [at.emit("Gemm", [*item, *bias], **attrs), one_row(half, at)])
