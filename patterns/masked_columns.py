"""Columns of user and item, with a mask that cuts the items' off in some rows::

    Mul( Concat(u, i; axis a), m )   ->   Concat( Pad( u_1 m_11 ), Concat(u_2 m_21, i_2 m_22; axis a); axis b )
                                          where m = [[m_11, 0], [m_21, m_22]], rows on axis b

    [u_1, i_1] [m, 0] = [u_1 m, 0]

Token mixing of a ranker with user-group separation: what it brings from items into the user's tokens is multiplied by
constant zeros, so these tokens belong to the user still. A Where that puts zeros in is the same. The zeros are proven
from constants alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._knowledge import Knowledge
from mari_onnx.patterns._parts import Parts, Run, joined, mixed_parts, runs_of
from mari_onnx.patterns._pieces import Pieces
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace

MAX_GROUPS = 4


@dataclass(frozen=True, slots=True)
class Columns:
    """A masked value.

    Attributes:
        axis: The axis on which user and item are joined.
        runs: The user's and the items' columns in turn.
        rows: The axis of the rows.
        groups: Neighbouring rows that need the items' columns, or do not: start, size, and whether they do.
    """

    axis: int
    runs: tuple[Run, ...]
    rows: int
    groups: tuple[tuple[int, int, bool], ...]


class MaskedColumns(Rule[Columns]):
    """Joins by row what is joined by column, where a mask leaves nothing of the items in some rows."""

    name = "masked-columns"
    algebra = "[u_1, i_1] [m, 0] = [u_1 m, 0]"
    exactness = Exactness.EXACT
    ops = frozenset({"Mul", "Where"})

    def match(self, node: Node, at: Workspace) -> Columns | Refusal | None:
        fact = at.fact(node.output)
        parts = next((p for p in (mixed_parts(v, at) for v in node.inputs) if p is not None), None)
        if parts is None or fact.shape is None or fact.dtype not in FLOATS or len(fact.shape) != parts.rank:
            return None
        if fact.shape[parts.axis] != parts.total:
            return None
        zeros = Knowledge(at).zeros(node.output)
        if not zeros.any():
            return None
        each = np.concatenate([np.full(size, not at.is_once(v)) for v, _, size in parts])
        for axis, size in enumerate(fact.shape):
            if axis == parts.axis or not isinstance(size, int) or zeros.shape[axis] != size or size == 1:
                continue
            groups = _grouped(_needed(zeros, axis, parts, each))
            if len(groups) > MAX_GROUPS:
                return Refusal("the rows that the mask cuts off are scattered")
            if not all(needed for _, _, needed in groups):
                return Columns(parts.axis, tuple(runs_of(parts, at)), axis, groups)
        return None

    def rewrite(self, node: Node, found: Columns, at: Workspace) -> Sequence[str]:
        pieces, blocks = Pieces(at, Knowledge(at)), []
        for start, size, needed in found.groups:
            made = []
            for run, once in zip(found.runs, (at.is_once(r.values[0]) for r in found.runs), strict=True):
                if once or needed:
                    box = {found.axis: (run.start, run.size), found.rows: (start, size)}
                    made.append((pieces.of(node.output, box), run.start, run.size))
            total = sum(run.size for run in found.runs)
            blocks.append(_filled(made, found.axis, total, at))
        return [joined(blocks, found.rows, at)]


def _needed(zeros: np.ndarray, axis: int, parts: Parts, each: np.ndarray) -> list[bool]:
    """For each row, whether the mask leaves anything of the columns that differ from candidate to candidate."""
    table = np.moveaxis(zeros, (axis, parts.axis), (0, -1))
    table = np.broadcast_to(table, (*table.shape[:-1], parts.total))[..., each]
    return [not bool(row.all()) for row in table]


def _grouped(needed: Sequence[bool]) -> tuple[tuple[int, int, bool], ...]:
    groups, start = [], 0
    for need, members in groupby(needed):
        size = len(list(members))
        groups.append((start, size, need))
        start += size
    return tuple(groups)


def _filled(made: Sequence[tuple[str, int, int]], axis: int, total: int, at: Workspace) -> str:
    """Columns where they belong, and zeros between them."""
    ends = [start for _, start, _ in made[1:]] + [total]
    values = []
    for index, ((value, start, size), end) in enumerate(zip(made, ends, strict=True)):
        before, after = start if index == 0 else 0, end - start - size
        values.append(_padded(value, axis, before, after, at) if before or after else value)
    return joined(values, axis, at)


def _padded(value: str, axis: int, before: int, after: int, at: Workspace) -> str:
    rank = at.fact(value).rank or 0
    pads = np.zeros(2 * rank, np.int64)
    pads[axis], pads[rank + axis] = before, after
    if at.opset < 11:
        return at.emit("Pad", [value], pads=pads.tolist())
    return at.emit("Pad", [value, at.weight(pads)])
