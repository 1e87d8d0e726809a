"""A product over fields of the user that are weighed by the candidate::

    MatMul( Flatten( u: [1, F, d] * g: [B, F, 1] ), W: [F*d, n] )   ->   MatMul( g: [B, F], v: [F, n] ),  v_f = u_f W_f

    sum_f (g_f u_f) W_f = sum_f g_f (u_f W_f)

A squeeze-and-excitation gate, whose numbers depend on all fields, makes every field of the user one of the candidate's.
But the numbers are few: the user's fields are multiplied with the weight once, and weighed behind that. So are products
of two such fields, and what a linear layer makes of one: FiBiNET multiplies all pairs of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._gated_rows import Gated, GatedRows, has_candidates_first
from mari_onnx.patterns._linear import is_linear_layer
from mari_onnx.patterns._parts import cut, joined, parts_of, weight_rows
from mari_onnx.patterns._rows_built import numbers_built, rows_built
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

MAX_ROWS = 8192
LEAST_WIDTH = 2
"""Narrower fields are no wider than the numbers that they are weighed with."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one width that follow each other among the columns of the operand.

    Attributes:
        value: Where they are: ``[B, n]`` for one row, or ``[B, rows, width]``.
        first: The first of them.
        rows: How many.
        width: Columns of each.
        start: The first column of the first one.
    """

    value: str
    first: int
    rows: int
    width: int
    start: int

    @property
    def columns(self) -> tuple[int, int]:
        """Where the columns start, and their number."""
        return self.start, self.rows * self.width


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
        output = at.fact(node.output)
        if output.rank != 2 or output.dtype not in PRECISE or not is_linear_layer(node, at):
            return None
        if float(node.attrs.get("alpha", 1.0)) != 1.0 or not has_candidates_first(node.inputs[0], at):
            return None
        pieces = list(_pieces(node.inputs[0], at))
        if at.is_once(node.inputs[0]) or sum(p.rows for p in pieces) > MAX_ROWS:
            return None
        groups: dict[tuple[int, int], list[GatedRow]] = {}
        rest: list[Piece] = []
        known = GatedRows(at)
        for piece in pieces:
            for row in range(piece.rows):
                one = Piece(piece.value, piece.first + row, 1, piece.width, piece.start + row * piece.width)
                found = known.of(piece.value, one.first) if piece.width >= LEAST_WIDTH else None
                if found is None or not found.numbers:
                    rest.append(one)
                else:
                    groups.setdefault((piece.width, len(found.numbers)), []).append(GatedRow(found, one.start))
        sources = {n.source for rows in groups.values() for row in rows for n in row.gated.numbers}
        if not groups or not all(never_infinite(source, at) for source in sources):
            return None
        return Fields(tuple((width, tuple(rows)) for (width, _), rows in groups.items()), tuple(_runs(rest)))

    def rewrite(self, node: Node, found: Fields, at: Workspace) -> Sequence[str]:
        bias = [node.inputs[2]] if node.has_input(2) else []
        turned = int(bool(node.attrs.get("transB", 0)))
        made = bias
        if found.rest:
            weight = weight_rows(node.inputs[1], turned, [piece.columns for piece in found.rest], at)
            made = [at.emit(node.op, [_flat(found.rest, at), weight, *bias], **dict(node.attrs))]
        for width, rows in found.groups:
            weighed = [_numbers(rows, at), _multiplied(node, width, rows, at)]
            made = [at.emit("Gemm", [*weighed, *made]) if made else at.emit("MatMul", weighed)]
        return made


def _pieces(value: str, at: Workspace) -> Iterator[Piece]:
    """The columns of a matrix, as rows of what they were before they were laid out."""
    parts = parts_of(value, at)
    shape = at.fact(value).shape or ()
    columns = list(parts) if parts is not None and parts.axis == 1 else [(value, 0, shape[-1])]
    for part, start, size in columns:
        if isinstance(size, int) and size:
            yield from _rows_of(part, start, size, at)


def _rows_of(value: str, start: int, size: int, at: Workspace) -> Iterator[Piece]:
    node = at.graph.producer(value)
    before = at.fact(node.inputs[0]).shape if node is not None and node.op in VIEWS and not node.domain else None
    if node is None or before is None or len(before) != 3 or not has_candidates_first(node.inputs[0], at):
        yield Piece(value, 0, 1, size, start)
        return
    _, rows, width = before
    assert isinstance(rows, int)
    assert isinstance(width, int)
    parts = parts_of(node.inputs[0], at)
    if parts is not None and parts.axis == 2 and rows == 1:
        yield from (Piece(part, 0, 1, own, start + first) for part, first, own in parts if own)
        return
    inner = list(parts) if parts is not None and parts.axis == 1 else [(node.inputs[0], 0, rows)]
    yield from (Piece(part, 0, count, width, start + first * width) for part, first, count in inner if count)


def _runs(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Rows of one value that follow each other, as one piece."""
    held: Piece | None = None
    for piece in pieces:
        if held is not None and (piece.value, piece.first, piece.start) == (
            held.value,
            held.first + held.rows,
            held.start + held.rows * held.width,
        ):
            held = Piece(held.value, held.first, held.rows + 1, held.width, held.start)
            continue
        if held is not None:
            yield held
        held = piece
    if held is not None:
        yield held


def _flat(pieces: Sequence[Piece], at: Workspace) -> str:
    """The columns that are left, side by side."""
    made = []
    for width, group in groupby(pieces, key=lambda p: p.width if at.fact(p.value).rank == 3 else 0):
        members = list(group)
        if not width:
            made += [piece.value for piece in members]
            continue
        rows = joined([cut(p.value, 1, p.first, p.rows, at) for p in members], 1, at)
        lead, count, _ = at.fact(rows).shape or ()
        assert isinstance(count, int)
        made.append(at.reshape(rows, (lead, count * width)))
    return joined(made, 1, at)


def _numbers(rows: Sequence[GatedRow], at: Workspace) -> str:
    """What each row is weighed with: ``[B, rows]``."""
    factors = zip(*(row.gated.numbers for row in rows), strict=True)
    return reduce(lambda a, b: at.emit("Mul", [a, b]), [numbers_built(factor, at) for factor in factors])


def _multiplied(node: Node, width: int, rows: Sequence[GatedRow], at: Workspace) -> str:
    """Each row of the user times its part of the weight: ``[rows, n]``.

    ONNX Runtime multiplies matrices with columns twice as fast as rows with matrices.
    """
    turned, starts = bool(node.attrs.get("transB", 0)), tuple(row.start for row in rows)

    def blocks() -> np.ndarray:
        array = at.constant(node.inputs[1])
        assert array is not None
        columns = np.asarray(starts)[:, None] + np.arange(width)
        return np.ascontiguousarray((array.T if turned else array)[columns].transpose(0, 2, 1))

    weight = at.cached_weight(("blocks", node.inputs[1], turned, width, starts), blocks, f"{node.inputs[1]}/blocks")
    fields = at.reshape(rows_built([row.gated.row for row in rows], at), (len(rows), width, 1))
    made = at.emit("MatMul", [weight, fields])
    return at.reshape(made, (at.fact(made).shape or ())[:2])
