"""Entries of a value, listed along an axis by numbers that are known beforehand, however a model spells the list::

Gather( x, [0, 0, 1, 1, ..] )                                        the numbers themselves
Tile( x, [1, n, 1] )                                                 0, 1, .., 0, 1, ..
Reshape( Tile(x, [1, 1, n]) -> [B, T n, d] )                         0, 0, .., 1, 1, ..
Reshape( Expand(Unsqueeze(x) -> [B, T, n, d]) -> [B, T n, d] )       0, 0, .., 1, 1, ..
Reshape( Expand(Unsqueeze(x) -> [B, n, T, d]) -> [B, n T, d] )       0, 1, .., 0, 1, ..

A model that lets each field meet each other one lists the left ones and the right ones of all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns._repeats import source_of
from mari_onnx.patterns.views import REPETITIONS, VIEWS
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Listed:
    """What entries are taken from, along which axis of it and of the list, and their numbers."""

    source: str
    axis: int
    numbers: tuple[int, ...]

    def all_entries(self, at: Workspace) -> str:
        """The list."""
        return self.entries(range(len(self.numbers)), at)

    def entries(self, places: Sequence[int], at: Workspace) -> str:
        """The entries that stand at some places of the list."""
        numbers = np.array([self.numbers[place] for place in places], np.int64)
        return at.emit("Gather", [self.source, at.weight(numbers)], axis=self.axis)


def listed_of(node: Node, at: Workspace) -> Listed | None:
    """The list that a node makes, if it makes one of a computed value."""
    find = LISTS.get(node.op)
    return None if find is None or node.domain or at.is_weight(node.inputs[0]) else find(node, at)


def _gathered(node: Node, at: Workspace) -> Listed | None:
    source, shape = node.inputs[0], at.fact(node.inputs[0]).shape
    numbers = at.constant(node.inputs[1])
    if numbers is None or numbers.ndim != 1 or not shape:
        return None
    axis = int(node.attrs.get("axis", 0)) % len(shape)
    size = shape[axis]
    if isinstance(size, int) and size > 0:
        return Listed(source, axis, tuple((numbers % size).tolist()))
    return None


def _all_again(node: Node, at: Workspace) -> Listed | None:
    """All entries, again and again; one of its own is repeated by broadcasting as well."""
    if len(set(node.inputs)) > 1 and node.op == "Concat":
        return None
    before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
    found = _repeated_axis(before, after)
    if found is None or before is None:
        return None
    axis, times = found
    size = before[axis]
    return Listed(node.inputs[0], axis, tuple(range(size)) * times) if isinstance(size, int) and size > 1 else None


def _laid_out(node: Node, at: Workspace) -> Listed | None:
    repetition = at.graph.producer(node.inputs[0])
    if repetition is None or repetition.domain or repetition.op not in REPETITIONS:
        return None
    return _interleaved(repetition, node, at) or _flattened(node, at)


def _interleaved(tile: Node, node: Node, at: Workspace) -> Listed | None:
    """Entries that were repeated along the axis behind theirs, which is cut to its size again."""
    before, wide, after = (at.fact(v).shape for v in (tile.inputs[0], node.inputs[0], node.output))
    found = _repeated_axis(before, wide)
    if found is None or before is None or found[0] == 0:
        return None
    axis, times = found[0] - 1, found[1]
    size = before[axis]
    if not isinstance(size, int) or not alike(after, (*before[:axis], size * times, *before[axis + 1 :])):
        return None
    return Listed(tile.inputs[0], axis, tuple(k for k in range(size) for _ in range(times))) if size > 1 else None


def _flattened(node: Node, at: Workspace) -> Listed | None:
    """Entries that were repeated along an axis of its own, next to theirs, which the two become."""
    repeated, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
    source = source_of(node.inputs[0], at)
    view = at.graph.producer(source) if source is not None else None
    before = at.fact(source).shape if source is not None else None
    found = _repeated_axis(before, repeated)
    if found is None or before is None or view is None or view.domain or view.op not in VIEWS:
        return None
    place, times = found
    kept = (*before[:place], *before[place + 1 :])
    if not same(before[place], 1) or not alike(at.fact(view.inputs[0]).shape, kept):
        return None
    for axis, each in ((place - 1, True), (place, False)):
        size = kept[axis] if 0 <= axis < len(kept) else None
        if isinstance(size, int) and size > 1 and alike(after, (*kept[:axis], size * times, *kept[axis + 1 :])):
            numbers = np.repeat(np.arange(size), times) if each else np.tile(np.arange(size), times)
            return Listed(view.inputs[0], axis, tuple(numbers.tolist()))
    return None


def _repeated_axis(before: Shape | None, after: Shape | None) -> tuple[int, int] | None:
    """The only axis along which something is repeated, and how often, where that is known."""
    if before is None or after is None or len(before) != len(after):
        return None
    changed = [axis for axis, (one, other) in enumerate(zip(before, after, strict=True)) if not same(one, other)]
    if len(changed) != 1:
        return None
    one, other = before[changed[0]], after[changed[0]]
    if not isinstance(one, int) or not isinstance(other, int) or one == 0 or other % one:
        return None
    return changed[0], other // one


LISTS: Mapping[str, Callable[[Node, Workspace], Listed | None]] = {
    "Gather": _gathered,
    **dict.fromkeys(("Tile", "Concat"), _all_again),
    "Reshape": _laid_out,
}
"""Operators that may list entries."""
