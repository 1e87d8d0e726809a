"""Equations of Einsum that can be taken apart letter by letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.transfer.products import einsum_terms
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.rewrite.workspace import Workspace


def plain_terms(node: Node) -> tuple[list[str], str] | None:
    """The letters of each operand and of the result, where they are spelled out and no operand has one twice."""
    left, arrow, result = str(node.attrs.get("equation", "")).replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or "." in left or len(terms) != len(node.inputs) or any(len(set(t)) < len(t) for t in terms):
        return None
    return terms, result


def spelled_terms(node: Node, at: Workspace) -> tuple[list[str], str] | None:
    """The letters of each operand and of the result, also where an ellipsis or nothing stands for some of them."""
    ranks = [at.fact(v).rank for v in node.inputs]
    known = [rank for rank in ranks if rank is not None]
    return einsum_terms(str(node.attrs.get("equation", "")), known) if len(known) == len(ranks) else None


@dataclass(frozen=True, slots=True)
class MatrixProduct:
    """An equation of two operands as products of matrices, one for each entry of what both have and is kept.

    Attributes:
        operands: The letters of the operands, of which the first has the rows of the result.
        swapped: Whether the first is the second of the equation.
        batch: Letters that both have and the result as well, in its order.
        row: The letter that the first operand has alone.
        summed: The one that both have and the result has not.
        column: The one that the second operand has alone.
        result: The letters of the result.
    """

    operands: tuple[str, str]
    swapped: bool
    batch: str
    row: str
    summed: str
    column: str
    result: str


def matrix_product(terms: Sequence[str], result: str) -> MatrixProduct | None:
    """An equation of two operands as products of matrices; the last letter of the result is that of the columns."""
    if len(terms) != 2 or not result:
        return None
    swapped = result[-1] in terms[0] and result[-1] not in terms[1]
    first, second = (terms[1], terms[0]) if swapped else (terms[0], terms[1])
    batch = "".join(x for x in result if x in first and x in second)
    rows, columns = ({*one} - {*other} for one, other in ((first, second), (second, first)))
    summed = {*first} & {*second} - {*result}
    if not len(rows) == len(columns) == len(summed) == 1 or rows | columns | {*batch} != {*result}:
        return None
    if len(result) != len(batch) + 2:
        return None
    return MatrixProduct((first, second), swapped, batch, rows.pop(), summed.pop(), columns.pop(), result)


def multiplied(operands: Sequence[str], found: MatrixProduct, at: Workspace) -> str:
    """The product of two values with the letters of the equation, in its order."""
    left, right = operands[::-1] if found.swapped else operands
    left = _ordered(left, found.operands[0], found.batch + found.row + found.summed, at)
    right = _ordered(right, found.operands[1], found.batch + found.summed + found.column, at)
    made = at.emit("MatMul", [left, right])
    return _ordered(made, found.batch + found.row + found.column, found.result, at)


def agree(operands: Sequence[str], terms: Sequence[str], at: Workspace) -> bool:
    """Whether values have the same size wherever they have the same letter: Einsum repeats those of size 1."""
    sizes: dict[str, object] = {}
    for value, term in zip(operands, terms, strict=True):
        shape = at.fact(value).shape
        if shape is None or len(shape) != len(term):
            return False
        if any(not same(sizes.setdefault(letter, size), size) for letter, size in zip(term, shape, strict=True)):
            return False
    return True


def _ordered(value: str, letters: str, wanted: str, at: Workspace) -> str:
    order = [letters.index(letter) for letter in wanted]
    return value if order == sorted(order) else at.emit("Transpose", [value], perm=order)
