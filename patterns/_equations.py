"""Equations of Einsum that can be taken apart letter by letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.transfer.products import einsum_terms
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, same
from mari_onnx.patterns._floats import FLOATS
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
    """An equation of two operands as products of matrices, one for each entry of what else is kept.

    Attributes:
        operands: The letters of the operands, of which the first has the rows of the result.
        swapped: Whether the first is the second of the equation.
        batch: Letters of the result but for those of rows and columns, in its order; one operand may lack some, whose
            matrices then serve for all of their entries, as one set of keys serves for all heads.
        row: The last letter of the result that the first operand has alone.
        summed: The one that both have and the result has not.
        column: The last letter of the result that one operand has alone, which is the second.
        result: The letters of the result.
    """

    operands: tuple[str, str]
    swapped: bool
    batch: str
    row: str
    summed: str
    column: str
    result: str

    @property
    def shared(self) -> str:
        """Letters of the batch that both operands have."""
        return "".join(letter for letter in self.batch if all(letter in term for term in self.operands))


def matrix_product(terms: Sequence[str], result: str) -> MatrixProduct | None:
    """An equation of two operands as products of matrices; columns are the last letter that one of them has alone."""
    alone = [letter for letter in result if sum(letter in term for term in terms) == 1]
    if len(terms) != 2 or not alone:
        return None
    column, swapped = alone[-1], alone[-1] in terms[0]
    first, second = (terms[1], terms[0]) if swapped else (terms[0], terms[1])
    rows = [letter for letter in alone if letter in first]
    summed = {*first} & {*second} - {*result}
    if not rows or len(summed) != 1 or {*first, *second} != {*result} | summed:
        return None
    batch = "".join(letter for letter in result if letter not in (rows[-1], column))
    return MatrixProduct((first, second), swapped, batch, rows[-1], summed.pop(), column, result)


def computed_product(node: Node, at: Workspace) -> MatrixProduct | None:
    """An Einsum of two computed operands that differ from candidate to candidate, as products of matrices."""
    equation = plain_terms(node)
    if equation is None or at.is_once(node.output) or any(map(at.is_weight, node.inputs)):
        return None
    found = matrix_product(*equation)
    if found is None or not found.shared or at.fact(node.output).dtype not in FLOATS:
        return None
    return found if agree(node.inputs, equation[0], at) else None


def size_of(letter: str, operands: Sequence[str], found: MatrixProduct, at: Workspace) -> Dim:
    """The size of a letter in the operands of an equation, which agree."""
    terms = zip(operands[::-1] if found.swapped else operands, found.operands, strict=True)
    value, term = next((value, term) for value, term in terms if letter in term)
    return (at.fact(value).shape or ())[term.index(letter)]


def multiplied(operands: Sequence[str], found: MatrixProduct, at: Workspace) -> str:
    """The product of two values with the letters of the equation, in its order."""
    left, right = operands[::-1] if found.swapped else operands
    left = _matrices(left, found.operands[0], found.batch, found.row + found.summed, at)
    right = _matrices(right, found.operands[1], found.batch, found.summed + found.column, at)
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


def _matrices(value: str, letters: str, batch: str, matrix: str, at: Workspace) -> str:
    """A value with its matrices last, and in front of them the batch, of size 1 where it does not have it."""
    own = "".join(letter for letter in batch if letter in letters)
    lacking = [place for place, letter in enumerate(batch) if letter not in letters]
    value = _ordered(value, letters, own + matrix, at)
    if not lacking:
        return value
    if at.opset < 13:
        return at.emit("Unsqueeze", [value], axes=lacking)
    return at.emit("Unsqueeze", [value, at.weight(np.array(lacking, np.int64))])


def _ordered(value: str, letters: str, wanted: str, at: Workspace) -> str:
    order = [letters.index(letter) for letter in wanted]
    return value if order == sorted(order) else at.emit("Transpose", [value], perm=order)
