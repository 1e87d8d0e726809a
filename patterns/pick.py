"""Cutting a piece out of a Concat::

    Slice / Split / Gather( Concat(a, b, c) )   ->   the parts that are asked for

    piece([a, b, c]) = b

A model that stacks all features into one matrix and cuts them out again never builds the matrix. Where sizes are open,
as those of candidates and of all that they were shown beside are, pieces have to end where parts do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.transfer.layouts import FAR
from mari_onnx.ir import Node
from mari_onnx.patterns._cuts import cuts_of
from mari_onnx.patterns._end_to_end import WholeParts, leading_parts, whole_parts
from mari_onnx.patterns._parts import Parts, cut, joined, parts_of, taken
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces of a Concat, each a range of its axis; ``drop`` if the axis goes (a Gather of one index)."""

    parts: Parts
    ranges: tuple[tuple[int, int], ...]
    drop: bool = False


class Pick(Rule[Pieces | WholeParts]):
    """Takes parts instead of pieces of their Concat."""

    name = "pick"
    algebra = "piece([a, b, c]) = b"
    exactness = Exactness.EXACT
    phases = Phase.CLEARING | Phase.EARLY | Phase.MAIN
    ops = frozenset({"Slice", "Split", "Gather"})

    def match(self, node: Node, at: Workspace) -> Pieces | WholeParts | None:
        parts = parts_of(node.inputs[0], at)
        if parts is None and node.op != "Gather":
            return whole_parts(node, at)
        if parts is None:
            parts = leading_parts(node.inputs[0], at)
            indices = at.integers(node.inputs[1])
            if parts is None or indices is None or not all(0 <= i < parts.total for i in indices):
                return None
        ranges = {"Slice": _sliced, "Split": _split, "Gather": _gathered}[node.op](node, parts, at)
        drop = node.op == "Gather" and at.fact(node.inputs[1]).shape == ()
        return None if ranges is None else Pieces(parts, tuple(ranges), drop)

    def rewrite(self, node: Node, found: Pieces | WholeParts, at: Workspace) -> Sequence[str]:
        if isinstance(found, WholeParts):
            return [joined(values, found.axis, at) for values in found.pieces]
        if node.op != "Gather":
            return [_range(found.parts, start, size, at) for start, size in found.ranges]
        if found.drop:
            return [_entry(found.parts, found.ranges[0][0], at)]
        return [joined([taken(found.parts, start, size, at) for start, size in found.ranges], found.parts.axis, at)]


def _range(parts: Parts, start: int, size: int, at: Workspace) -> str:
    return taken(parts, start, size, at) if size else cut(parts.values[0], parts.axis, 0, 0, at)


def _entry(parts: Parts, index: int, at: Workspace) -> str:
    """One entry, its axis gone."""
    value, offset, size = next(p for p in parts if p[1] <= index < p[1] + p[2])
    if size == 1:
        return at.squeeze(value, [parts.axis])
    return at.emit("Gather", [value, at.weight(np.array(index - offset, np.int64))], axis=parts.axis)


def _sliced(node: Node, parts: Parts, at: Workspace) -> list[tuple[int, int]] | None:
    cuts = cuts_of(node, parts.rank, at)
    if cuts is None or any(cut.step != 1 for cut in cuts.values()):
        return None
    start, end, _ = cuts.pop(parts.axis, (0, FAR, 1))
    # TensorFlow cuts all axes up to the last one that it means.
    if any(cut.start != 0 or cut.end < FAR for cut in cuts.values()):
        return None
    first, last, _ = slice(start, end).indices(parts.total)
    return [(first, last - first)] if last > first else None


def _split(node: Node, parts: Parts, at: Workspace) -> list[tuple[int, int]] | None:
    if int(node.attrs.get("axis", 0)) % parts.rank != parts.axis:
        return None
    shapes = [at.fact(v).shape if v else None for v in node.outputs]
    sizes = [s[parts.axis] for s in shapes if s is not None]
    if len(sizes) != len(shapes) or not all(isinstance(s, int) for s in sizes):
        return None
    starts = np.cumsum([0, *sizes])[:-1].tolist()
    return list(zip(starts, sizes, strict=True))


def _gathered(node: Node, parts: Parts, at: Workspace) -> list[tuple[int, int]] | None:
    """Indices as ranges: neighbours that follow each other go together."""
    indices = at.integers(node.inputs[1])
    rank = at.fact(node.inputs[1]).rank
    if int(node.attrs.get("axis", 0)) % parts.rank != parts.axis or indices is None or rank is None or rank > 1:
        return None
    ranges: list[tuple[int, int]] = []
    for index in (i % parts.total for i in indices):
        if ranges and sum(ranges[-1]) == index:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
        else:
            ranges.append((index, 1))
    return ranges if 0 < len(ranges) <= 2 * len(parts.values) else None
