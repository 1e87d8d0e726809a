"""A product over fields of the user that are weighed by the candidate::

    MatMul( Flatten( u: [1, F, d] * g: [B, F, 1] ), W: [F*d, n] )   ->   MatMul( g: [B, F], v: [F, n] ),  v_f = u_f W_f

    sum_f (g_f u_f) W_f = sum_f g_f (u_f W_f)

A squeeze-and-excitation gate, whose numbers depend on all fields, makes every field of the user one of the candidate's.
But the numbers are few: the user's fields are multiplied with the weight once, and weighed behind that. So are products
of two such fields, and what a linear layer makes of one: FiBiNET multiplies all pairs of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from mari_onnx.ir import Node
from mari_onnx.patterns._columns_as_rows import Piece, multiplied_rows, rest_multiplied, weight_blocks, with_more
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._gated_rows import Gated, GatedRows
from mari_onnx.patterns._rows_built import numbers_built, rows_built
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

LEAST_WIDTH = 2
"""Narrower fields are no wider than the numbers that they are weighed with."""


@dataclass(frozen=True, slots=True)
class GatedRow:
    """A row of the user times numbers of the candidate, and the first of its columns."""

    gated: Gated
    start: int


@dataclass(frozen=True, slots=True)
class Fields:
    """What is weighed, by the width of rows and how many numbers each is weighed with, and the rest."""

    groups: tuple[tuple[int, tuple[GatedRow, ...]], ...]
    rest: tuple[Piece, ...]


class GatedFields(Rule[Fields]):
    """Multiplies fields of the user with the weight first, and weighs them then."""

    name = "gated-fields"
    algebra = "sum_f (g_f u_f) W_f = sum_f g_f (u_f W_f)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Fields | None:
        rows = multiplied_rows(node, at)
        if rows is None:
            return None
        groups: dict[tuple[int, int], list[GatedRow]] = {}
        rest: list[Piece] = []
        known = GatedRows(at)
        for row in rows:
            found = known.of(row.value, row.first) if row.width >= LEAST_WIDTH else None
            if found is None or not found.numbers:
                rest.append(row)
            else:
                groups.setdefault((row.width, len(found.numbers)), []).append(GatedRow(found, row.start))
        sources = {n.source for group in groups.values() for row in group for n in row.gated.numbers}
        if not groups or not all(never_infinite(source, at) for source in sources):
            return None
        return Fields(tuple((width, tuple(group)) for (width, _), group in groups.items()), tuple(rest))

    def rewrite(self, node: Node, found: Fields, at: Workspace) -> Sequence[str]:
        made = rest_multiplied(node, found.rest, at)
        for width, rows in found.groups:
            made = with_more(made, _numbers(rows, at), _multiplied(node, width, rows, at), at)
        return made


def _numbers(rows: Sequence[GatedRow], at: Workspace) -> str:
    """What each row is weighed with: ``[B, rows]``."""
    factors = zip(*(row.gated.numbers for row in rows), strict=True)
    return reduce(lambda a, b: at.emit("Mul", [a, b]), [numbers_built(factor, at) for factor in factors])


def _multiplied(node: Node, width: int, rows: Sequence[GatedRow], at: Workspace) -> str:
    """Each row of the user times its part of the weight: ``[rows, n]``.

    ONNX Runtime multiplies matrices with columns twice as fast as rows with matrices.
    """
    weight = weight_blocks(node, width, [row.start for row in rows], (0, 2, 1), at)
    fields = at.reshape(rows_built([row.gated.row for row in rows], at), (len(rows), width, 1))
    made = at.emit("MatMul", [weight, fields])
    return at.reshape(made, (at.fact(made).shape or ())[:2])
