"""A product with a matrix whose columns were multiplied with numbers of the candidate's own::

    MatMul( p, x * s )   ->   MatMul( p, x ) * s      p: [.., m, n], x: [.., n, d], s: [.., 1, d]

    p (x s) = (p x) s

Steps of a history that are multiplied with the candidate before their weighted sum is taken, as target-aware models
do, are added up first: nothing is multiplied for each pair of a step and a candidate, and the user's steps stay the
same for all candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import may_be_zero, same
from mari_onnx.patterns._finite import moves_through_sum
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Columns:
    """The matrix, and what its columns were multiplied with or divided by."""

    matrix: str
    op: str
    factor: str


class ColumnScale(Rule[Columns]):
    """Multiplies with a matrix first, and scales the columns of the result."""

    name = "column-scale"
    algebra = "p (x s) = (p x) s"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Columns | None:
        left, right = at.fact(node.inputs[0]), at.fact(node.inputs[1])
        scaling = at.graph.producer(node.inputs[1])
        if scaling is None or scaling.domain or scaling.op not in ("Mul", "Div") or at.is_once(node.inputs[1]):
            return None
        if left.shape is None or right.shape is None or min(len(left.shape), len(right.shape)) < 2:
            return None
        # A sum over nothing is 0, whatever it is multiplied with.
        if right.dtype not in PRECISE or may_be_zero(right.shape[-2]) or same(right.shape[-2], 1):
            return None
        operands = (scaling.inputs, scaling.inputs[::-1]) if scaling.op == "Mul" else (scaling.inputs,)
        for matrix, factor in operands:
            fits = _is_matrix(matrix, node.inputs[1], at) and _is_row(factor, at)
            if fits and moves_through_sum(scaling.op, factor, at):
                return Columns(matrix, scaling.op, factor)
        return None

    def rewrite(self, node: Node, found: Columns, at: Workspace) -> Sequence[str]:
        return [at.emit(found.op, [at.emit("MatMul", [node.inputs[0], found.matrix]), found.factor])]


def _is_matrix(value: str, scaled: str, at: Workspace) -> bool:
    """Whether the scaling does not make the matrices wider, though there may be more of them."""
    own, shape = at.fact(value).shape, at.fact(scaled).shape
    if own is None or shape is None or len(own) < 2:
        return False
    return same(own[-2], shape[-2]) and same(own[-1], shape[-1])


def _is_row(value: str, at: Workspace) -> bool:
    """Whether a value has one number for each column, or for each matrix."""
    shape = at.fact(value).shape
    return shape is not None and (len(shape) < 2 or same(shape[-2], 1))
