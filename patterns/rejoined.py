"""Pieces of a value, put together again::

Concat( Split(x) )                         ->   x
Concat( y, x[:, 2:4], x[:, 4:6] )          ->   Concat( y, x[:, 2:6] )
Concat( x[:, 2], x[:, 3] ), x: [B, n, d]   ->   Reshape(x)[:, 2 d : 4 d]

[x_1, x_2] = x
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._cuts import cuts_of
from mari_onnx.patterns._parts import Parts, cut, joined, parts_of
from mari_onnx.patterns._selected import Stretch, laid_flat, stretches
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


class Rejoined(Rule[Parts]):
    """Takes the whole instead of all of its pieces, or a piece of neighbouring entries."""

    name = "rejoined"
    algebra = "[x_1, x_2] = x"
    exactness = Exactness.EXACT
    phases = Phase.EARLY | Phase.MAIN
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> Parts | None:
        parts = parts_of(node.output, at)
        if parts is None:
            return None
        fewest = min(len(list(_runs(parts, at))), len(list(stretches(parts.values, parts.axis, at))))
        return parts if fewest < len(parts.values) else None

    def rewrite(self, node: Node, found: Parts, at: Workspace) -> Sequence[str]:
        runs = list(_runs(found, at))
        if len(runs) < len(found.values):
            return [joined([_whole(run, found.axis, at) for run in runs], found.axis, at)]
        pieces = [_piece(stretch, found.axis, at) for stretch in stretches(found.values, found.axis, at)]
        return [joined(pieces, found.axis, at)]


@dataclass(frozen=True, slots=True)
class Range:
    """Neighbouring entries of a value along an axis; the whole of what is no piece of anything."""

    source: str
    start: int
    size: int
    piece: bool = True


def _runs(parts: Parts, at: Workspace) -> Iterator[Range]:
    """What the parts are pieces of, those together that follow each other there."""
    held: Range | None = None
    for value, _, size in parts:
        found = _range_of(value, parts.axis, at) or Range(value, 0, size, piece=False)
        if held is not None and held.piece and (found.source, found.start) == (held.source, held.start + held.size):
            held = Range(held.source, held.start, held.size + found.size)
            continue
        if held is not None:
            yield held
        held = found
    if held is not None:
        yield held


def _range_of(value: str, axis: int, at: Workspace) -> Range | None:
    """Where a value was cut out of another along an axis, and of no other axis."""
    node = at.graph.producer(value)
    shape = at.fact(node.inputs[0]).shape if node is not None and node.kind in ("Slice", "Split") else None
    size = shape[axis] if shape is not None else None
    if node is None or shape is None or not isinstance(size, int):
        return None
    if node.kind == "Slice":
        cuts = cuts_of(node, len(shape), at)
        if cuts is None or set(cuts) != {axis} or cuts[axis].step != 1:
            return None
        start, end, _ = slice(*cuts[axis]).indices(size)
        return Range(node.inputs[0], start, end - start) if start < end else None
    widths = [(at.fact(v).shape or shape)[axis] for v in node.outputs]
    if int(node.attrs.get("axis", 0)) % len(shape) != axis or not all(isinstance(w, int) for w in widths):
        return None
    index = node.outputs.index(value)
    return Range(node.inputs[0], sum(int(w) for w in widths[:index]), int(widths[index]))


def _whole(run: Range, axis: int, at: Workspace) -> str:
    return cut(run.source, axis, run.start, run.size, at) if run.piece else run.source


def _piece(stretch: Stretch, axis: int, at: Workspace) -> str:
    first, count = stretch.first, len(stretch.values)
    if first is None or count == 1:
        return stretch.values[0]
    size = (at.fact(stretch.values[0]).shape or ())[axis]
    assert isinstance(size, int)
    return cut(laid_flat(first.source, axis, at), axis, first.index * size, count * size, at)
