"""Indices whose entries follow from where they stand: their own position along one axis, or the numbers of a list::

Range(0, B) - Unsqueeze - Expand [B, 2]    entry (b, j) is b
[4, 7]  ----------------- Expand [B, 2]    entry (b, j) is 4 where j is 0, and 7 where j is 1
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from mari_onnx.analysis import Analysis
from mari_onnx.analysis.facts import Shape
from mari_onnx.ir.dims import Dim, alike, same, substitute
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.steps.progressions import progression

LARGEST = 1 << 16
"""Constants of more entries are not looked into."""


@dataclass(frozen=True)
class Positions:
    """What the entries of an index are.

    Attributes:
        shape: Sizes of the index.
        axis: The axis along which entries change; ``None`` where all are the same.
        numbers: The entries along that axis, or the one entry; ``None`` where each is its own position.
    """

    shape: Shape
    axis: int | None
    numbers: tuple[int, ...] | None

    def is_along(self, axis: int) -> bool:
        """Whether entries change along this axis alone; one that has a single entry need not change."""
        return self.axis == axis or (self.axis is None and same(self.shape[axis], 1))

    def covers(self, axis: int, size: Dim) -> bool:
        """Whether the entries along an axis are 0, 1, 2, ... up to a size."""
        counted = self.numbers is None or self.numbers == tuple(range(len(self.numbers)))
        return counted and same(self.shape[axis], size)


def sizes(analysis: Analysis, value: str) -> Shape | None:
    """Sizes of a value in the graph as it is: where the number of candidates is fixed, with that number."""
    shape, batch = analysis.facts[value].shape, analysis.inputs.batch
    if shape is None or batch is None:
        return shape
    return tuple(substitute(d, batch) for d in shape)


def positions(graph: Graph, analysis: Analysis, value: str) -> Positions | None:
    """What the entries of an index are, where they follow from their positions along one axis."""
    known, shape = _known(graph, analysis, value), sizes(analysis, value)
    if known is not None:
        return _listed(known)
    if shape is None:
        return None
    if len(shape) == 1 and _is_counted(graph, analysis, value):
        return Positions(shape, 0, None)
    node = graph.producer(value)
    if node is None or node.domain or node.op not in ("Expand", "Tile", "Reshape", "Squeeze", "Unsqueeze"):
        return None
    inner = positions(graph, analysis, node.inputs[0])
    if inner is None or inner.axis is None:
        return None if inner is None else replace(inner, shape=shape)
    axis = _stretched(inner, shape) if node.op in ("Expand", "Tile") else _moved(inner, shape)
    return None if axis is None else replace(inner, shape=shape, axis=axis)


def tuples(graph: Graph, analysis: Analysis, value: str) -> list[Positions] | None:
    """The same for each number of an index whose last axis holds several."""
    known, shape = _known(graph, analysis, value), sizes(analysis, value)
    if not shape:
        return None
    if known is not None:
        found = [_listed(known[..., j]) for j in range(known.shape[-1])]
    else:
        found = [_without_last(positions(graph, analysis, v)) for v in _joined(graph.producer(value), value, shape)]
    return None if any(p is None for p in found) else [p for p in found if p is not None]


def columns(graph: Graph, analysis: Analysis, value: str) -> tuple[str, ...]:
    """The values that hold the numbers of an index whose last axis holds several; itself, where they are not apart."""
    shape = sizes(analysis, value)
    return _joined(graph.producer(value), value, shape) if shape else (value,)


def first_number(graph: Graph, analysis: Analysis, value: str) -> tuple[Positions, tuple[str, ...]] | None:
    """The same for the first number of an index whose last axis holds several, and the values with the others."""
    shape = sizes(analysis, value)
    parts = _joined(graph.producer(value), value, shape) if shape else ()
    found = _without_last(positions(graph, analysis, parts[0])) if len(parts) > 1 else None
    return None if found is None else (found, parts[1:])


def times_each(graph: Graph, analysis: Analysis, value: str, count: Dim) -> int | None:
    """How often each number stands in an index that is 0, 0, .., 1, 1, .., up to a count, where it is that."""
    known, shape = _known(graph, analysis, value), sizes(analysis, value)
    if known is not None:
        each = known.size // count if isinstance(count, int) and count > 0 else 0
        return each if each and np.array_equal(known.reshape(-1), np.repeat(np.arange(count), each)) else None
    node = graph.producer(value)
    if node is None or node.domain or shape is None or node.op not in ("Expand", "Reshape", "Squeeze", "Unsqueeze"):
        return None
    source = node.inputs[0]
    found, before = positions(graph, analysis, source), sizes(analysis, source)
    if node.op == "Reshape" and found is not None and found.is_along(0) and found.covers(0, count):
        return _only_size(found.shape[1:])
    alike_but_for_ones = before is not None and alike(_wide(before), _wide(shape))
    return times_each(graph, analysis, source, count) if alike_but_for_ones else None


def _wide(shape: Shape) -> Shape:
    return tuple(d for d in shape if not same(d, 1))


def _only_size(shape: Shape) -> int | None:
    """How many entries a shape has that is known."""
    known = [d for d in shape if isinstance(d, int) and d > 0]
    return math.prod(known) if len(known) == len(shape) else None


def _known(graph: Graph, analysis: Analysis, value: str) -> np.ndarray | None:
    """All entries of an index, where they are known."""
    weight = graph.weights.get(value)
    if weight is None:
        found = analysis.facts[value].numbers
    else:
        found = weight.load() if weight.size <= LARGEST else None
    return found if found is not None and found.size else None


def _listed(entries: np.ndarray) -> Positions | None:
    changing = [axis for axis in range(entries.ndim) if (entries != entries.take([0], axis)).any()]
    if len(changing) > 1:
        return None
    line = np.moveaxis(entries, changing[0], -1) if changing else entries.reshape(-1, 1)
    numbers = tuple(int(n) for n in line.reshape(-1, line.shape[-1])[0])
    return Positions(entries.shape, changing[0] if changing else None, numbers)


def _is_counted(graph: Graph, analysis: Analysis, value: str) -> bool:
    """Whether a list is 0, 1, 2, ..."""
    counted = progression(graph, analysis.facts, value)
    return counted is not None and counted.start == 0 and counted.step == 1


def _stretched(inner: Positions, shape: Shape) -> int | None:
    """The axis after an Expand or a Tile, unless that repeats it."""
    assert inner.axis is not None
    axis = inner.axis + len(shape) - len(inner.shape)
    return axis if same(inner.shape[inner.axis], shape[axis]) else None


def _moved(inner: Positions, shape: Shape) -> int | None:
    """The axis after axes of size 1 came or went."""
    before, after = ([i for i, d in enumerate(s) if not same(d, 1)] for s in (inner.shape, shape))
    if inner.axis not in before or not alike([inner.shape[i] for i in before], [shape[i] for i in after]):
        return None
    return after[before.index(inner.axis)]


def _joined(node: Node | None, value: str, shape: Shape) -> tuple[str, ...]:
    """The values that a Concat writes beside one another on the last axis, or the one value."""
    if node is None or node.domain or node.op != "Concat" or node.attrs["axis"] not in (-1, len(shape) - 1):
        return (value,)
    return node.inputs


def _without_last(found: Positions | None) -> Positions | None:
    if found is None or not found.shape or not same(found.shape[-1], 1) or found.axis == len(found.shape) - 1:
        return None
    return replace(found, shape=found.shape[:-1])
