"""Pieces of a Concat that are one side's alone, cut out of what is that side's in it::

    X = [u1, i1, u2]
    X[:, 0:1], Cast(X)[:, 2:3]   become   [u1, u2][:, 0:1], Cast([u1, u2])[:, 1:2]

Operators in between that work on each column by itself are called once for each side.

A model that takes all of its features as one matrix looks each of them up in a column of it. What it makes of a column
of the user's is the same for all candidates, though the matrix is not; the hoist can only move it where it does not
read the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from mari_onnx.analysis import Analysis, Side
from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.layouts import FAR
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.positions import sizes
from mari_onnx.replacement import Replacement, with_replacements

Entries = tuple[int, ...]
Attributes = dict[str, Any]
OWN = frozenset({Side.USER, Side.ITEM})


def plain_pieces(graph: Graph, analysis: Analysis) -> Graph:
    """Cuts every such piece out of the parts of its side.

    Returns:
        The graph itself where there is none.
    """
    return with_replacements(graph, _Pieces(graph, analysis).plain)


@dataclass(frozen=True)
class _Cut:
    """The entries along an axis that each output of a node is, and whether the axis goes."""

    axis: int
    entries: tuple[Entries, ...]
    drop: bool = False


@dataclass(frozen=True)
class _Apart:
    """A Concat of both sides.

    Attributes:
        axis: That of the Concat.
        rank: How many axes there are.
        parts: What it joins, by side.
        places: For each entry along the axis, its side and where it is among those of that side.
    """

    axis: int
    rank: int
    parts: dict[Side, list[str]]
    places: tuple[tuple[Side, int], ...]

    def own(self, entries: Entries) -> tuple[Side, Entries] | None:
        """The side of some entries, and where they are in it; ``None`` where they are not one side's alone."""
        chosen = [self.places[k] for k in entries]
        sides = {side for side, _ in chosen}
        return (sides.pop(), tuple(k for _, k in chosen)) if len(sides) == 1 and sides <= OWN else None


class _Pieces:
    """Takes Concats apart, each of them once for all pieces that are cut out of it."""

    def __init__(self, graph: Graph, analysis: Analysis) -> None:
        self._graph = graph
        self._analysis = analysis
        self._apart: dict[str, _Apart | None] = {}
        self._halves: dict[tuple[str, Side], str] = {}

    def plain(self, made: Replacement, node: Node) -> list[Node]:
        """What cuts the same out of halves; nothing where no output of the node is one side's alone."""
        if node.kind not in CUTS:
            return []
        whole, between = _behind(self._graph, node.inputs[0])
        apart, shape = self._taken_apart(whole), sizes(self._analysis, whole)
        cut = CUTS[node.kind](node, shape, self._analysis) if apart is not None and shape else None
        if apart is None or cut is None or cut.axis != apart.axis or not all(cut.entries):
            return []
        if any(COLUMNWISE[one.kind](one, apart, OWN) is None for one in between):
            return []
        found = [apart.own(entries) for entries in cut.entries]
        if not any(found):
            return []
        half = partial(self._half, made, apart, whole, between)
        owned = [own for own in found if own is not None]
        if node.kind == "Split" and len(owned) == len(found):
            return made.ended_as(_split_again(made, owned, cut.axis, half))
        pieces = [
            _piece(made, node.inputs[0], entries, cut) if own is None else _piece(made, half(own[0]), own[1], cut)
            for own, entries in zip(found, cut.entries, strict=True)
        ]
        return made.ended_as(pieces)

    def _taken_apart(self, whole: str) -> _Apart | None:
        if whole not in self._apart:
            joined = self._graph.producer(whole)
            both = joined is not None and joined.kind == "Concat" and self._analysis.facts[whole].side is Side.CROSS
            self._apart[whole] = _sorted_out(joined, self._analysis) if joined is not None and both else None
        return self._apart[whole]

    def _half(self, made: Replacement, apart: _Apart, whole: str, between: Sequence[Node], side: Side) -> str:
        """What is one side's in a Concat, behind the operators in between; made where the first piece of it is."""
        if (whole, side) not in self._halves:
            parts = apart.parts[side]
            self._halves[whole, side] = made.call("Concat", parts, axis=apart.axis) if len(parts) > 1 else parts[0]
        found = self._halves[whole, side]
        for node in reversed(between):
            if (node.output, side) not in self._halves:
                attrs = COLUMNWISE[node.kind](node, apart, {side})
                self._halves[node.output, side] = made.again(node, [found], {**node.attrs, **(attrs or {})})
            found = self._halves[node.output, side]
        return found


def _split_again(
    made: Replacement, owned: Sequence[tuple[Side, Entries]], axis: int, half: Callable[[Side], str]
) -> list[str]:
    """The pieces of a Split, each one side's alone: together those of a side are all of its half, in order."""
    pieces: dict[int, str] = {}
    for side in dict.fromkeys(side for side, _ in owned):
        mine = [index for index, (other, _) in enumerate(owned) if other is side]
        sizes_of_mine = [len(owned[index][1]) for index in mine]
        pieces |= zip(mine, made.split(half(side), axis, sizes_of_mine), strict=True)
    return [pieces[index] for index in range(len(owned))]


def _behind(graph: Graph, value: str) -> tuple[str, list[Node]]:
    """What operators that work on each column by itself make a value of, and these, the last one first."""
    between: list[Node] = []
    node = graph.producer(value)
    while node is not None and node.kind in COLUMNWISE:
        between.append(node)
        value = node.inputs[0]
        node = graph.producer(value)
    return value, between


def _as_it_is(node: Node, apart: _Apart, sides: Set[Side]) -> Attributes | None:
    return {}


def _of_columns(node: Node, apart: _Apart, sides: Set[Side]) -> Attributes | None:
    """Numbers for each column, those of some sides; one number is for all columns."""
    if apart.axis != apart.rank - 1:
        return None
    found = {name: [*node.attrs.get(name, ())] for name in ("offset", "scale")}
    if any(len(numbers) not in (0, 1, len(apart.places)) for numbers in found.values()):
        return None
    return {
        name: [n for n, (side, _) in zip(numbers, apart.places, strict=True) if side in sides]
        for name, numbers in found.items()
        if len(numbers) > 1
    }


def _sorted_out(joined: Node, analysis: Analysis) -> _Apart | None:
    """What a Concat joins, where all sizes along its axis are known and none is the candidates'."""
    parts: dict[Side, list[str]] = {}
    counts: dict[Side, int] = {}
    places: list[tuple[Side, int]] = []
    axis, rank = int(joined.attrs["axis"]), 0
    for part in joined.inputs:
        shape, fact = sizes(analysis, part), analysis.facts[part]
        rank = len(shape or ())
        axis = axis % rank if rank else axis
        size = shape[axis] if shape else None
        if not isinstance(size, int) or (fact.axis is not None and fact.axis.index == axis):
            return None
        start = counts.get(fact.side, 0)
        counts[fact.side] = start + size
        parts.setdefault(fact.side, []).append(part)
        places += [(fact.side, start + k) for k in range(size)]
    return _Apart(axis, rank, parts, tuple(places))


def _piece(made: Replacement, value: str, entries: Entries, cut: _Cut) -> str:
    """Some entries of a value along an axis."""
    if cut.drop:
        return made.call("Gather", [value, made.integers(entries[0])], axis=cut.axis)
    if any(after != before + 1 for before, after in pairwise(entries)):
        return made.call("Gather", [value, made.integers(entries)], axis=cut.axis)
    bounds = [made.integers([k]) for k in (entries[0], entries[-1] + 1, cut.axis)]
    return made.call("Slice", [value, *bounds])


def _sliced(node: Node, shape: Shape, analysis: Analysis) -> _Cut | None:
    """One axis that is cut, and others that stay whole, which TensorFlow cuts as well."""
    if len(node.inputs) < 3:  # as operator sets below 10 have it, in attributes
        return None
    given = [analysis.facts[v].integers if v else None for v in node.inputs[1:]]
    starts, ends = given[:2]
    if starts is None or ends is None:
        return None
    axes = given[2] if node.has_input(3) else tuple(range(len(starts)))
    steps = given[3] if node.has_input(4) else (1,) * len(starts)
    if axes is None or steps is None or 0 in steps:
        return None
    cuts = {a % len(shape): slice(*bounds) for a, *bounds in zip(axes, starts, ends, steps, strict=True)}
    narrowed = [a for a, cut in cuts.items() if cut.start != 0 or cut.stop < FAR or cut.step != 1]
    if len(narrowed) != 1:
        return None
    (axis,) = narrowed
    size, cut = shape[axis], cuts[axis]
    if not isinstance(size, int):
        return None
    # What counts backwards may end in front of the first entry, which a slice of Python says in another way.
    return _Cut(axis, (tuple(range(size)[cut]),)) if cut.step > 0 else None


def _gathered(node: Node, shape: Shape, analysis: Analysis) -> _Cut | None:
    index, axis = analysis.facts[node.inputs[1]], int(node.attrs.get("axis", 0)) % len(shape)
    size, rank = shape[axis], index.rank
    if index.integers is None or rank is None or rank > 1 or not isinstance(size, int):
        return None
    if not all(-size <= k < size for k in index.integers):
        return None
    return _Cut(axis, (tuple(k % size for k in index.integers),), drop=rank == 0)


def _split(node: Node, shape: Shape, analysis: Analysis) -> _Cut | None:
    axis = int(node.attrs.get("axis", 0)) % len(shape)
    found = [sizes(analysis, v) if v else None for v in node.outputs]
    widths = [s[axis] for s in found if s is not None]
    if len(widths) < len(found) or not all(isinstance(w, int) for w in widths):
        return None
    ends = np.cumsum([0, *widths]).tolist()
    return _Cut(axis, tuple(tuple(range(start, end)) for start, end in pairwise(ends)))


COLUMNWISE: Mapping[str, Callable[[Node, _Apart, Set[Side]], Attributes | None]] = {
    "Cast": _as_it_is,
    "ai.onnx.ml.Scaler": _of_columns,
}
"""What to call such an operator with for the columns of some sides; ``None`` where it is called in another way."""

CUTS = {"Slice": _sliced, "Gather": _gathered, "Split": _split}
