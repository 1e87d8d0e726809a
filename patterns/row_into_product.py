"""A row of each candidate, added to all rows that a product makes::

    MatMul(x, A) + r   ->   MatMul( [x, 1], Concat(A, r; rows) )

    x A + r = [x, 1] [A; r]

``x`` are rows of the user, ``A`` weights of a candidate, and ``r`` its one row. The product adds it along the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._parts import one_row
from mari_onnx.patterns._sums import added, is_summand, terms_of, without
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Row:
    """The product, the row of each candidate with other rows to add to it, and what else is added."""

    made: Node
    rows: tuple[str, ...]
    others: tuple[str, ...]


class RowIntoProduct(Rule[Row]):
    """Makes a row that is added to a product one more row of its weights."""

    name = "row-into-product"
    algebra = "x A + r = [x, 1] [A; r]"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Add"})

    def match(self, node: Node, at: Workspace) -> Row | None:
        # Pad takes all types from operator set 13 on. Sums are looked at as a whole, from the outermost.
        if at.opset < 13 or is_summand(node.output, at):
            return None
        terms = list(terms_of(node, at))
        for value in terms:
            made = at.graph.producer(value)
            if made is None or made.op != "MatMul" or made.domain or not at.graph.is_private(value):
                continue
            if terms.count(value) > 1:
                continue
            others = without(terms, value)
            row = next((v for v in others if at.is_once(made.inputs[0]) and _is_row_of(v, made, at)), None)
            if row is not None and alike(at.fact(value).shape, at.fact(node.output).shape):
                others = without(others, row)
                rows = [v for v in others if _is_one_row(v, at)]
                return Row(made, (row, *rows), tuple(v for v in others if v not in rows))
        return None

    def rewrite(self, node: Node, found: Row, at: Workspace) -> Sequence[str]:
        rows, weight = one_row(found.made.inputs[0], at), found.made.inputs[1]
        rank = at.fact(rows).rank or 0
        ends = at.weight(np.array([0] * (2 * rank - 1) + [1], np.int64))
        dtype = onnx.helper.tensor_dtype_to_np_dtype(at.fact(rows).dtype)
        wider = at.emit("Pad", [rows, ends, at.weight(np.array(1, dtype))])
        weights = at.emit(
            "Concat", [weight, added(found.rows[0], found.rows[1:], at)], axis=(at.fact(weight).rank or 0) - 2
        )
        return [added(at.emit("MatMul", [wider, weights]), found.others, at)]


def _is_one_row(value: str, at: Workspace) -> bool:
    """Whether a value is the same for all rows, and no larger than the row of a candidate."""
    shape = at.fact(value).shape
    return shape is not None and at.is_once(value) and all(same(d, 1) for d in shape[:-1])


def _is_row_of(row: str, made: Node, at: Workspace) -> bool:
    """Whether a value has one row for each matrix of weights, which differ from candidate to candidate."""
    weight = made.inputs[1]
    shape, own = at.fact(weight).shape, at.fact(row).shape
    if at.is_once(weight) or at.is_once(row) or shape is None or own is None or len(shape) < 3:
        return False
    fits = alike((*shape[:-2], 1, shape[-1]), own)
    whole = at.fact(made.output).shape or ()
    return fits and len(whole) == len(shape) and at.fact(weight).dtype in FLOATS
