"""Chosen entries of a value along some axes, built from chosen entries of what the value is made of::

    f(x, y)[I]  =  f( x[I], y[I] )          Concat(x, y)[I]  =  Concat( x[I_x], y[I_y] )

As `Pieces` builds boxes: down to the parts of a Concat, to weights, and to what is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, regrouped, same
from mari_onnx.patterns._colours import Colours
from mari_onnx.patterns._labels import labels_of
from mari_onnx.patterns._parts import Parts, joined, parts_of
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

Choice = Mapping[int, tuple[int, ...]]
"""By axis, the entries that are chosen, in order; all of every other axis."""

MAX_DEPTH = 60
MAX_RUNS = 24
"""A Concat is taken apart for so many runs of entries from one part."""
APART = frozenset({*UNARY, *BROADCASTING, *REDUCTIONS, "Einsum", "MatMul", "Transpose"})
"""Operators that make entries of a result of chosen entries of what they read."""


class Chosen:
    """Builds chosen entries of values."""

    def __init__(self, at: Workspace) -> None:
        self._at = at
        self._colours = Colours(at)
        self._memo: dict[tuple[str, tuple[tuple[int, tuple[int, ...]], ...]], str] = {}

    def of(self, value: str, choice: Choice, depth: int = 0) -> str:
        """The entries of a value that a choice names, by the axes of the value."""
        shape = self._at.fact(value).shape or ()
        choice = {a: c for a, c in sorted(choice.items()) if not _is_all(c, shape[a])}
        if not choice:
            return value
        key = (value, tuple(choice.items()))
        if key not in self._memo:
            self._memo[key] = self._built(value, choice, depth)
        return self._memo[key]

    def _built(self, value: str, choice: Choice, depth: int) -> str:
        at = self._at
        node = at.graph.producer(value)
        if node is not None and not node.domain and not at.is_once(value) and depth < MAX_DEPTH:
            # An entry that is chosen several times is computed once, and chosen from what was computed.
            distinct = {a: tuple(sorted(set(c))) for a, c in choice.items()}
            made = self._looked_through(node, value, distinct, depth + 1)
            if made is not None:
                places = {a: tuple(distinct[a].index(i) for i in c) for a, c in choice.items()}
                return self._picked(made, {a: p for a, p in places.items() if p != tuple(range(len(distinct[a])))})
        return self._picked(value, choice)

    def _picked(self, value: str, choice: Choice) -> str:
        at = self._at
        for axis, entries in choice.items():
            if at.is_weight(value):
                value = _rows(value, axis, entries, at)
            elif entries == tuple(range(entries[0], entries[0] + len(entries))):
                bounds = [at.weight(np.array([b], np.int64)) for b in (entries[0], entries[-1] + 1, axis)]
                value = at.emit("Slice", [value, *bounds])
            else:
                value = at.emit("Gather", [value, at.weight(np.array(entries, np.int64))], axis=axis)
        return value

    def _looked_through(self, node: Node, value: str, choice: Choice, depth: int) -> str | None:
        if node.op == "Concat":
            return self._of_concat(value, choice, depth)
        if node.op in APART:
            return self._apart(node, choice, depth)
        if node.op == "Gather":
            return self._gathered(node, choice, depth)
        if node.op in VIEWS:
            return self._view(node, choice, depth)
        return None

    def _of_concat(self, value: str, choice: Choice, depth: int) -> str | None:
        parts = parts_of(value, self._at)
        if parts is None:
            return None
        if parts.axis not in choice:
            made = [self.of(v, choice, depth) for v in parts.values]
            return joined(made, parts.axis, self._at)
        owner = np.repeat(np.arange(len(parts.sizes)), parts.sizes)
        runs = [(part, list(run)) for part, run in groupby(choice[parts.axis], key=lambda i: int(owner[i]))]
        offsets = parts.offsets
        if len(runs) > MAX_RUNS:
            return self._of_touched(parts, choice, sorted({p for p, _ in runs}), depth)
        made = [
            self.of(parts.values[p], {**choice, parts.axis: tuple(i - offsets[p] for i in run)}, depth)
            for p, run in runs
        ]
        return joined(made, parts.axis, self._at)

    def _of_touched(self, parts: Parts, choice: Choice, touched: list[int], depth: int) -> str:
        """Entries that jump back and forth between the parts: picked from those that any of them lies in."""
        others = {axis: entries for axis, entries in choice.items() if axis != parts.axis}
        whole = joined([self.of(parts.values[p], others, depth) for p in touched], parts.axis, self._at)
        kept = [i for p in touched for i in range(parts.offsets[p], parts.offsets[p] + parts.sizes[p])]
        place = {entry: index for index, entry in enumerate(kept)}
        return self._picked(whole, {parts.axis: tuple(place[i] for i in choice[parts.axis])})

    def _apart(self, node: Node, choice: Choice, depth: int) -> str | None:
        """What makes each entry of entries of the same numbers."""
        labels = labels_of(node, self._at)
        choices = labels.apart(choice) if labels is not None else None
        if choices is None:
            return None
        inputs = [self.of(v, c, depth) if c else v for v, c in zip(node.inputs, choices, strict=True)]
        return self._at.emit(node.op, inputs, **dict(node.attrs))

    def _gathered(self, node: Node, choice: Choice, depth: int) -> str | None:
        """Chosen entries of chosen entries."""
        data, indices = node.inputs[0], self._colours.integers(node.inputs[1])
        axis = int(node.attrs.get("axis", 0)) % (self._at.fact(data).rank or 1)
        if indices is None or indices.ndim > 1 or self._colours.is_candidates(data, axis):
            return None
        size = (self._at.fact(data).shape or ())[axis]
        if indices.ndim == 0:
            inner = {a + (a >= axis): entries for a, entries in choice.items()}
            return self._at.emit("Gather", [self.of(data, inner, depth), node.inputs[1]], axis=axis)
        if not isinstance(size, int):
            return None
        own = choice.get(axis, tuple(range(len(indices))))
        return self.of(data, {**choice, axis: tuple(int(indices[i]) % size for i in own)}, depth)

    def _view(self, node: Node, choice: Choice, depth: int) -> str | None:
        before, after = self._at.fact(node.inputs[0]).shape, self._at.fact(node.output).shape
        if before is None or after is None:
            return None
        inner: dict[int, tuple[int, ...]] = {}
        shape = list(after)
        for axis, entries in choice.items():
            group = _source(axis, after, before)
            if group is None or group[0] in inner:
                return None
            own, first, sizes = group
            along = [entries if first + k == axis else range(size) for k, size in enumerate(sizes)]
            grid = np.meshgrid(*along, indexing="ij")
            inner[own] = tuple(np.ravel_multi_index(grid, sizes).ravel().tolist()) if len(sizes) > 1 else entries
            shape[axis] = len(entries)
        return self._at.reshape(self.of(node.inputs[0], inner, depth), shape)


def _source(axis: int, after: Shape, before: Shape) -> tuple[int, int, tuple[int, ...]] | None:
    """The axis of another layout that an axis is, or is cut out of with its neighbours.

    Returns:
        That axis, and the first and the sizes of the axes that it has been cut into.
    """
    old, new = next(group for group in regrouped(before, after) if axis in group[1])
    own = [a for a in old if not same(before[a], 1)]
    sizes = tuple(after[a] for a in new)
    if len(own) != 1 or not same(product(sizes), before[own[0]]):
        return None
    if same(after[axis], before[own[0]]):
        return own[0], axis, (0,)
    return (own[0], new.start, sizes) if all(isinstance(s, int) for s in sizes) else None


def _is_all(entries: Sequence[int], size: object) -> bool:
    return isinstance(size, int) and tuple(entries) == tuple(range(size))


def _rows(weight: str, axis: int, entries: tuple[int, ...], at: Workspace) -> str:
    def rows() -> np.ndarray:
        array = at.constant(weight)
        assert array is not None
        return np.take(array, entries, axis=axis)

    return at.cached_weight(("chosen", weight, axis, entries), rows, f"{weight}/part")
