"""Pieces of a Concat that are one side's alone, cut out of what they came from::

    X = [u1, i1, u2]
    X[:, 0:1], Cast(X)[:, 0:1]   become   u1, Cast(u1)

A model that takes all of its features as one matrix looks each of them up in a column of it. What it makes of a column
of the user's is the same for all candidates, though the matrix is not; the hoist can only move it where it does not
read the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from mari_onnx.analysis import Analysis, Side
from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.layouts import FAR
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.positions import sizes
from mari_onnx.replacement import Replacement, with_replacements

Entries = tuple[int, ...]
OWN = frozenset({Side.USER, Side.ITEM})


def plain_pieces(graph: Graph, analysis: Analysis) -> Graph:
    """Cuts every such piece out of the parts it lies in.

    Returns:
        The graph itself where there is none.
    """
    return with_replacements(graph, lambda made, node: _plain(graph, analysis, made, node))


@dataclass(frozen=True)
class _Cut:
    """The entries along an axis that each output of a node is, and whether the axis goes."""

    axis: int
    entries: tuple[Entries, ...]
    drop: bool = False


@dataclass(frozen=True)
class _Run:
    """Neighbours in one part of a Concat."""

    part: str
    start: int
    size: int


def _plain(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    if node.kind not in CUTS:
        return []
    whole, casts = _behind_casts(graph, node.inputs[0])
    joined = graph.producer(whole)
    shape = sizes(analysis, whole)
    if joined is None or joined.kind != "Concat" or not shape or analysis.facts[whole].side is not Side.CROSS:
        return []
    cut = CUTS[node.kind](node, shape, analysis)
    if cut is None or cut.axis != int(joined.attrs["axis"]) % len(shape) or not all(cut.entries):
        return []
    found = [_runs(joined, cut, entries, analysis) for entries in cut.entries]
    if not any(found):
        return []
    pieces = [
        _cast(made, _taken(made, runs, cut), casts) if runs else _as_it_was(made, node.inputs[0], entries, cut)
        for runs, entries in zip(found, cut.entries, strict=True)
    ]
    return made.ended_as(pieces)


def _behind_casts(graph: Graph, value: str) -> tuple[str, list[Node]]:
    """What was cast to a value, and how, the last cast first."""
    casts: list[Node] = []
    node = graph.producer(value)
    while node is not None and node.kind == "Cast":
        casts.append(node)
        value = node.inputs[0]
        node = graph.producer(value)
    return value, casts


def _runs(joined: Node, cut: _Cut, entries: Entries, analysis: Analysis) -> list[_Run]:
    """The runs of neighbours that a piece consists of; none where it is not one side's alone."""
    places: list[tuple[str, int]] = []
    for part in joined.inputs:
        shape, fact = sizes(analysis, part), analysis.facts[part]
        size = shape[cut.axis] if shape else None
        if not isinstance(size, int) or (fact.axis is not None and fact.axis.index == cut.axis):
            return []
        places += [(part, k) for k in range(size)]
    chosen = [places[k] for k in entries]
    sides = {analysis.facts[part].side for part, _ in chosen}
    if len(sides) > 1 or not sides <= OWN:
        return []
    return list(_neighbours(chosen))


def _neighbours(chosen: Sequence[tuple[str, int]]) -> Iterator[_Run]:
    """Entries as runs of those that follow each other in one part."""
    numbered = enumerate(chosen)
    for (part, _), group in groupby(numbered, key=lambda pair: (pair[1][0], pair[1][1] - pair[0])):
        run = [place for _, (_, place) in group]
        yield _Run(part, run[0], len(run))


def _taken(made: Replacement, runs: Sequence[_Run], cut: _Cut) -> str:
    """Runs next to each other, as one value."""
    if cut.drop:
        (run,) = runs
        return made.call("Gather", [run.part, made.integers(run.start)], axis=cut.axis)
    values = [_slice(made, run.part, run.start, run.start + run.size, cut.axis) for run in runs]
    return values[0] if len(values) == 1 else made.call("Concat", values, axis=cut.axis)


def _as_it_was(made: Replacement, value: str, entries: Entries, cut: _Cut) -> str:
    """A piece of both sides: of the nodes that cut out several, all pieces are neighbours."""
    return _slice(made, value, entries[0], entries[-1] + 1, cut.axis)


def _slice(made: Replacement, value: str, start: int, end: int, axis: int) -> str:
    return made.call("Slice", [value, made.integers([start]), made.integers([end]), made.integers([axis])])


def _cast(made: Replacement, value: str, casts: Sequence[Node]) -> str:
    for cast in reversed(casts):
        value = made.call("Cast", [value], **cast.attrs)
    return value


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
    partial = [a for a, cut in cuts.items() if cut.start != 0 or cut.stop < FAR or cut.step != 1]
    if len(partial) != 1:
        return None
    (axis,) = partial
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


CUTS = {"Slice": _sliced, "Gather": _gathered, "Split": _split}
