"""A piece of a value, built from pieces of what the value is made of::

    f(x, y)[box]  =  f( x[box], y[box] )          (A B)[rows, columns]  =  A[rows] B[columns]

Down to the parts of a Concat, to weights, and to what is computed once. So a piece that needs only the user's parts
of everything is computed once, wherever they were mixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.layouts import kept_entries
from mari_onnx.errors import RuleError
from mari_onnx.ir import Node
from mari_onnx.ir.orders import axis_of
from mari_onnx.patterns._cuts import cuts_of
from mari_onnx.patterns._entries import mask_of
from mari_onnx.patterns._knowledge import Knowledge
from mari_onnx.patterns._labels import labels_of
from mari_onnx.patterns._parts import cut, joined, parts_of
from mari_onnx.patterns._positive import is_not_below_zero
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

Box = Mapping[int, tuple[int, int]]
"""By axis, where the piece starts and its size; all of every other axis."""

MAX_DEPTH = 60
"""What lies further up is cut as it is."""

APART = frozenset({*UNARY, *BROADCASTING, *VIEWS, "MatMul", "Transpose", "Slice", "Split"})
"""Operators that make entries of a result of pieces of what they read."""

DIFFERENT = "what should be computed once differs from candidate to candidate"

SUMS = frozenset({"ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"})
"""Reductions that zeros change nothing of."""


class Pieces:
    """Builds pieces of values.

    Args:
        at: Where they go.
        knowledge: What is known of the values; the piece of a Softmax takes what is left out to be 0.
    """

    def __init__(self, at: Workspace, knowledge: Knowledge) -> None:
        self._at = at
        self._knowledge = knowledge
        self._memo: dict[tuple[str, tuple[tuple[int, tuple[int, int]], ...]], str] = {}

    def of(self, value: str, box: Box, depth: int = 0) -> str:
        """The piece of a value that lies in a box, by the axes of the value."""
        shape = self._at.fact(value).shape
        assert shape is not None
        box = {axis: piece for axis, piece in sorted(box.items()) if piece != (0, shape[axis])}
        if not box:
            return value
        key = (value, tuple(box.items()))
        if key not in self._memo:
            self._memo[key] = self._built(value, box, depth)
        return self._memo[key]

    def _built(self, value: str, box: Box, depth: int) -> str:
        at = self._at
        node = at.graph.producer(value)
        made = None
        if node is not None and not node.domain and not at.is_once(value) and depth < MAX_DEPTH:
            made = self._looked_through(node, value, box, depth + 1)
        return made if made is not None else self._cut(value, box)

    def _cut(self, value: str, box: Box) -> str:
        """The piece of what is not looked through."""
        for axis, (start, size) in box.items():
            value = cut(value, axis, start, size, self._at)
        return value

    def _looked_through(self, node: Node, value: str, box: Box, depth: int) -> str | None:
        if node.op == "Concat":
            return self._of_concat(value, box, depth)
        if node.op == "Slice" and (made := self._of_slice(node, box, depth)) is not None:
            return made
        if node.op in APART:
            return self._apart(node, value, box, depth)
        if node.op in ("Softmax", "LayerNormalization"):
            return self._along_last(node, box, depth)
        if node.op in SUMS or node.op == "ReduceMax":
            return self._reduced(node, box, depth)
        return self._lookup(node, box, depth) if node.op == "Gather" else None

    def _lookup(self, node: Node, box: Box, depth: int) -> str | None:
        """What is looked up by a piece of the indices."""
        table, indices = (self._at.fact(v).rank for v in node.inputs)
        if table is None or indices is None:
            return None
        first = int(node.attrs.get("axis", 0)) % table
        inner = {axis - first: piece for axis, piece in box.items() if first <= axis < first + indices}
        if len(inner) < len(box):
            return None
        return self._at.emit("Gather", [node.inputs[0], self.of(node.inputs[1], inner, depth)], axis=first)

    def _of_concat(self, value: str, box: Box, depth: int) -> str | None:
        parts = parts_of(value, self._at)
        if parts is None:
            return None
        first, length = box.get(parts.axis, (0, parts.total))
        pieces = []
        for part, offset, size in parts:
            start, end = max(first, offset), min(first + length, offset + size)
            if start < end:
                pieces.append(self.of(part, {**box, parts.axis: (start - offset, end - start)}, depth))
        return joined(pieces, parts.axis, self._at)

    def _apart(self, node: Node, value: str, box: Box, depth: int) -> str | None:
        """What makes each entry of one entry of each operand, or of a row and a column."""
        at, labels, shape = self._at, labels_of(node, self._at), self._at.fact(value).shape
        boxes = labels.apart(box) if labels is not None else None
        if boxes is None or shape is None:
            return None
        inputs = [self.of(v, b, depth) if b else v for v, b in zip(node.inputs, boxes, strict=True)]
        if node.op in VIEWS:
            return at.reshape(inputs[0], [box[axis][1] if axis in box else d for axis, d in enumerate(shape)])
        made = at.emit_many(node.op, inputs, len(node.outputs), **dict(node.attrs))
        return made[node.outputs.index(value)]

    def _along_last(self, node: Node, box: Box, depth: int) -> str | None:
        """Rows as they are; columns of a Softmax where it is 0 in all others."""
        at, rank = self._at, self._at.fact(node.output).rank or 0
        if axis_of(node, rank, at.opset) != rank - 1 or len(node.outputs) != 1:
            return None
        parameters = [at.fact(v).rank for v in node.inputs[1:] if v]
        if any(r is None or r > 1 for r in parameters):
            return None
        rows = {axis: piece for axis, piece in box.items() if axis != rank - 1}
        if rank - 1 not in box:
            return at.emit(node.op, [self.of(node.inputs[0], rows, depth), *node.inputs[1:]], **dict(node.attrs))
        start, size = box[rank - 1]
        width = (at.fact(node.output).shape or (0,))[-1]
        runs = self._needed_columns(node.output, box, rank) if node.op == "Softmax" else [(0, width)]
        columns = [self.of(node.inputs[0], {**rows, rank - 1: run}, depth) for run in runs]
        whole = at.emit(node.op, [joined(columns, rank - 1, at), *node.inputs[1:]], **dict(node.attrs))
        # What is asked for lies in one of the runs, behind those in front of it.
        before = sum(max(0, min(start, first + count) - first) for first, count in runs)
        return cut(whole, rank - 1, before, size, at)

    def _reduced(self, node: Node, box: Box, depth: int) -> str | None:
        """Sums and maxima over the last axis, without the columns that change nothing in any row of the box."""
        shape, axes = self._at.fact(node.inputs[0]).shape or (), self._at.axes(node)
        last = len(shape) - 1
        if not axes or [int(a) % len(shape) for a in axes] != [last] or last in box:
            return None
        idle = self._idle(node, box)
        needed = np.asarray(~idle.all(axis=tuple(range(last))))
        runs = _runs(needed) if idle.shape[last] > 1 and needed.any() else [(0, shape[last])]
        columns = [self.of(node.inputs[0], {**box, last: run}, depth) for run in runs]
        return self._at.emit(node.op, [joined(columns, last, self._at), *node.inputs[1:]], **dict(node.attrs))

    def _idle(self, node: Node, box: Box) -> np.ndarray:
        """Which entries of the rows of a box change nothing.

        Zeros in a sum, and next to what is not below 0, as truths are; what is masked next to what is not.
        """
        if node.op in SUMS or is_not_below_zero(node.inputs[0], self._at):
            return _in_rows(self._knowledge.zeros(node.inputs[0]), box)
        known = self._knowledge.of(node.inputs[0]).map(lambda entries: _in_rows(entries, box))
        masked = known.masked(mask_of(self._at.fact(node.output).dtype))
        return masked & known.quiet.any(-1, keepdims=True).all()

    def _needed_columns(self, value: str, box: Box, rank: int) -> list[tuple[int, int]]:
        """The columns of a Softmax that are asked for, and those that are not 0 in all rows of the box: a sink's."""
        zeros, width = _in_rows(self._knowledge.of(value).zeros, box), (self._at.fact(value).shape or (0,))[-1]
        if zeros.shape[-1] == 1:
            return [(0, width)]
        start, size = box[rank - 1]
        needed = np.asarray(~zeros.all(axis=tuple(range(rank - 1))))
        needed[start : start + size] = True
        return _runs(needed)

    def _of_slice(self, node: Node, box: Box, depth: int) -> str | None:
        """A piece along the one axis of a Slice is a piece of what it cuts."""
        shape = self._at.fact(node.inputs[0]).shape or ()
        cuts = cuts_of(node, len(shape), self._at)
        if cuts is None or len(cuts) != 1:
            return None
        ((axis, (first, last, step)),) = cuts.items()
        if axis not in box or not isinstance(shape[axis], int):
            return None
        kept = kept_entries(shape[axis], first, last, step)
        if kept is None or kept.step != 1:
            return None
        return self.of(node.inputs[0], {**box, axis: (kept.start + box[axis][0], box[axis][1])}, depth)


class PiecesOnce(Pieces):
    """Builds pieces that are computed once, and gives up at the first cut of what differs between candidates.

    All that a piece is made of would be built in vain otherwise: in a deep model, again and again.
    """

    def _cut(self, value: str, box: Box) -> str:
        piece = super()._cut(value, box)
        if not self._at.is_once(piece):
            raise RuleError(DIFFERENT)
        return piece

    def others(self) -> Pieces:
        """Builds any piece, of those that there are already."""
        found = Pieces(self._at, self._knowledge)
        found._memo = self._memo
        return found


def _runs(needed: np.ndarray) -> list[tuple[int, int]]:
    """Where neighbours that are needed start, and how many there are."""
    edges = np.flatnonzero(np.diff(np.r_[False, needed, False]))
    return [(int(first), int(end - first)) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _in_rows(entries: np.ndarray, box: Box) -> np.ndarray:
    """What is known of the rows of a box, in all of their columns."""
    for axis, (start, size) in box.items():
        if axis != entries.ndim - 1 and entries.shape[axis] > 1:
            entries = entries.take(range(start, start + size), axis)
    return entries


def neighbours(chosen: Sequence[tuple[str, int, int]]) -> list[tuple[int, int]]:
    """Where neighbouring parts lie together."""
    runs: list[tuple[int, int]] = []
    for _, start, size in chosen:
        if runs and sum(runs[-1]) == start:
            runs[-1] = (runs[-1][0], runs[-1][1] + size)
        else:
            runs.append((start, size))
    return runs
