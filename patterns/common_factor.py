"""A product over columns in which the same row of a candidate occurs several times, multiplied with the user's::

    MatMul( Concat( y, y * u ), [V; W] )             ->   MatMul( y, V + diag(u) W )        y: [B, d], u: [1, d]
    MatMul( Concat( y * u_1, y * u_2 ), [V; W] )     ->   MatMul( y, diag(u_1) V + diag(u_2) W )

    sum_p (y u_p) W_p = y (sum_p diag(u_p) W_p)

Interactions of a candidate with the user, entry by entry, beside the candidate itself or with several of the user's
fields. The weights are added up once, as many as there are, and each candidate is multiplied with one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from mari_onnx.ir import Node
from mari_onnx.patterns._columns_as_rows import Piece, multiplied_rows, rest_multiplied, weight_blocks, with_more
from mari_onnx.patterns._common_rows import CommonRows, leaves_of
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._gated_rows import Leaf, Row
from mari_onnx.patterns._parts import cut, joined
from mari_onnx.patterns._rows_built import rows_built
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

LEAST_WIDTH = 2


@dataclass(frozen=True, slots=True)
class Factor:
    """A row of the candidate, and where it meets the weight: alone, and with which rows of the user.

    Attributes:
        own: The row.
        width: Its columns.
        alone: First columns where it is not multiplied with anything.
        rows: The user's rows.
        starts: First columns of the products with them.
    """

    own: Leaf
    width: int
    alone: tuple[int, ...]
    rows: tuple[Row, ...]
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Factors:
    """Rows that occur several times, and the other columns."""

    factors: tuple[Factor, ...]
    rest: tuple[Piece, ...]


class CommonFactor(Rule[Factors]):
    """Adds up the weights that the same row meets."""

    name = "common-factor"
    algebra = "sum_p (y u_p) W_p = y (sum_p diag(u_p) W_p)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Factors | None:
        rows = multiplied_rows(node, at)
        if rows is None or len(rows) < 2:
            return None
        known = CommonRows(at)
        found = [known.of(row.value, row.first) for row in rows]
        places: dict[tuple[Leaf, int], list[int]] = {}
        for place, (row, one) in enumerate(zip(rows, found, strict=True)):
            if one.own is not None and row.width >= LEAST_WIDTH:
                places.setdefault((one.own, row.width), []).append(place)
        factors, taken = [], set()
        for (own, width), members in places.items():
            users = [(user, rows[k].start) for k in members if (user := found[k].user) is not None]
            values = {own.value}.union(*(leaves_of(user) for user, _ in users))
            # What is infinite times numbers of either sign adds up to no number, times their sum it is infinite.
            if len(members) < 2 or not users or not all(never_infinite(v, at) for v in values):
                continue
            alone = tuple(rows[k].start for k in members if found[k].user is None)
            factors.append(Factor(own, width, alone, *(tuple(x) for x in zip(*users, strict=True))))
            taken |= set(members)
        rest = tuple(row for place, row in enumerate(rows) if place not in taken)
        return Factors(tuple(factors), rest) if factors else None

    def rewrite(self, node: Node, found: Factors, at: Workspace) -> Sequence[str]:
        made = rest_multiplied(node, found.rest, at)
        rows = joined([_row(factor, at) for factor in found.factors], 1, at)
        weights = joined([_weight(node, factor, at) for factor in found.factors], 0, at)
        return with_more(made, rows, weights, at)


def _row(factor: Factor, at: Workspace) -> str:
    """The row of the candidates: ``[B, width]``."""
    shape = at.fact(factor.own.value).shape or ()
    if len(shape) == 2:
        return factor.own.value
    return at.reshape(cut(factor.own.value, 1, factor.own.row, 1, at), (shape[0], factor.width))


def _weight(node: Node, factor: Factor, at: Workspace) -> str:
    """What it is multiplied with: ``[width, n]``."""
    alone = [weight_blocks(node, factor.width, [start], (0, 1, 2), at) for start in factor.alone]
    made = reduce(lambda a, b: at.emit("Add", [a, b]), [_scaled(node, factor, at), *alone])
    return at.reshape(made, (at.fact(made).shape or ())[1:])


def _scaled(node: Node, factor: Factor, at: Workspace) -> str:
    """The weights that the user's rows meet, scaled by them and added up: ``[1, width, n]``."""
    rows, width = rows_built(factor.rows, at), factor.width
    if len(factor.rows) == 1:
        weight = weight_blocks(node, width, factor.starts, (0, 1, 2), at)
        return at.emit("Mul", [weight, at.reshape(rows, (1, width, 1))])
    weight = weight_blocks(node, width, factor.starts, (1, 2, 0), at)
    made = at.emit("MatMul", [weight, at.emit("Transpose", [rows], perm=[2, 1, 0])])
    return at.reshape(made, (1, *(at.fact(made).shape or ())[:2]))
