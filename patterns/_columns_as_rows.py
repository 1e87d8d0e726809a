"""Columns of a matrix, as rows of what they were before they were laid out flat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._gated_rows import has_candidates_first
from mari_onnx.patterns._linear import is_linear_layer
from mari_onnx.patterns._parts import cut, joined, parts_of, weight_rows
from mari_onnx.patterns._row_sources import READERS
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.memory import kept
from mari_onnx.rewrite.workspace import Workspace

FOLLOWED = {"MatMul", "Gemm", *READERS}
"""Behind these, rows are found again that were multiplied in front of them."""
MAX_ROWS = 8192


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

    def row(self, number: int) -> Piece:
        """One of the rows."""
        return Piece(self.value, self.first + number, 1, self.width, self.start + number * self.width)


def multiplied_rows(node: Node, at: Workspace) -> list[Piece] | None:
    """The rows, one by one, whose columns a product with a weight adds up for each candidate.

    Returns:
        ``None`` where it is no such product, does more than that, or has too many of them; or where none of them is
        the product of others, each candidate's own, as there is nothing to take out of them then.
    """
    output = at.fact(node.output)
    if output.rank != 2 or output.dtype not in PRECISE or not is_linear_layer(node, at):
        return None
    if float(node.attrs.get("alpha", 1.0)) != 1.0 or not has_candidates_first(node.inputs[0], at):
        return None
    if not _has_products(node.inputs[0], at):
        return None
    pieces = list(_pieces_of(node.inputs[0], at))
    if sum(p.rows for p in pieces) > MAX_ROWS:
        return None
    return [piece.row(number) for piece in pieces for number in range(piece.rows)]


@kept
def _has_products(value: str, at: Workspace) -> bool:
    """Whether a value has parts that each candidate has products in; a layer for each of many experts may ask."""
    waiting, seen = [value], {value}
    while waiting:
        last = waiting.pop()
        node = None if at.is_once(last) else at.graph.producer(last)
        if node is None or node.domain:
            continue
        if node.op == "Mul":
            return True
        if node.op in FOLLOWED:
            new = [v for v in node.inputs[: None if node.op == "Concat" else 1] if v not in seen]
            waiting += new
            seen.update(new)
    return False


def rest_multiplied(node: Node, rest: Sequence[Piece], at: Workspace) -> list[str]:
    """What a product makes of some of its columns, and adds to that; nothing where it would add up nothing."""
    bias = [node.inputs[2]] if node.has_input(2) else []
    if not rest:
        return bias
    pieces = list(_runs(rest))
    turned = int(bool(node.attrs.get("transB", 0)))
    weight = weight_rows(node.inputs[1], turned, [piece.columns for piece in pieces], at)
    return [at.emit(node.op, [_side_by_side(pieces, at), weight, *bias], **dict(node.attrs))]


def with_more(made: Sequence[str], rows: str, weight: str, at: Workspace) -> list[str]:
    """What was made, if anything, and another product."""
    return [at.emit("Gemm", [rows, weight, *made]) if made else at.emit("MatMul", [rows, weight])]


def weight_blocks(node: Node, width: int, starts: Sequence[int], order: Sequence[int], at: Workspace) -> str:
    """The rows of a weight that meet rows of one width: ``[rows, width, n]`` with its axes in some order."""
    turned, key = bool(node.attrs.get("transB", 0)), (tuple(starts), tuple(order))

    def blocks() -> np.ndarray:
        array = at.constant(node.inputs[1])
        assert array is not None
        columns = np.asarray(starts)[:, None] + np.arange(width)
        return np.ascontiguousarray((array.T if turned else array)[columns].transpose(order))

    return at.cached_weight(("blocks", node.inputs[1], turned, width, *key), blocks, f"{node.inputs[1]}/blocks")


def _pieces_of(value: str, at: Workspace) -> Iterator[Piece]:
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


def _side_by_side(pieces: Sequence[Piece], at: Workspace) -> str:
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
