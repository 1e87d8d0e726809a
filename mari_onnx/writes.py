"""Columns that are written into a value in place, as the Concat that they are::

    x [B, T, d] ---------------------+                        x[:, :k] ---+
    (b, k) for all b [B, 1, 2] - ScatterND       becomes      u --------- Concat on axis 1
    u [B, 1, d] ---------------------+                        x[:, k+1:] -+

    x with x[:, k] = u   =   [x[:, :k], u, x[:, k+1:]]

PyTorch's exporters write ``x[:, k] = u``, ``index_copy`` and ``index_fill`` so. Where it is open how long the axis is,
``[0, 1, ..] = k`` chooses the column: its Concat would have a size of which nobody could tell that it is that of x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis import Analysis
from mari_onnx.analysis.facts import Shape
from mari_onnx.ir.dims import alike, same
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.positions import positions, sizes, tuples
from mari_onnx.replacement import WITHOUT_WHERE, Replacement, with_replacements

MOST_PARTS = 32
"""Columns scattered more widely stay as they are: each part is one more Slice."""


@dataclass(frozen=True)
class Write:
    """Entries of one axis that are replaced, by the numbers of an update in this order; each is written once."""

    axis: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Some entries, one after the other, of the value or of the update."""

    updated: bool
    start: int
    end: int


def plain_writes(graph: Graph, analysis: Analysis) -> Graph:
    """Writes every ScatterND and ScatterElements that replaces whole columns in other operators.

    Returns:
        The graph itself where there is none.
    """
    return with_replacements(graph, lambda made, node: _plain(graph, analysis, made, node))


def _plain(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    """What does the same as a write; nothing where it is not proven to be one of columns."""
    find = {"ScatterND": _written_rows, "ScatterElements": _written_entries}.get(node.op)
    if find is None or node.domain or node.attrs.get("reduction", "none") != "none":
        return []
    shape, data = sizes(analysis, node.inputs[0]), analysis.facts[node.inputs[0]]
    write = find(graph, analysis, node, shape) if shape else None
    if not shape or write is None or (data.axis is not None and data.axis.index == write.axis):
        return []
    size = shape[write.axis]
    if isinstance(size, int):
        parts = _parts(write.numbers, size)
        return _joined(made, node, write, parts) if parts is not None and len(parts) <= MOST_PARTS else []
    column = (*shape[: write.axis], 1, *shape[write.axis + 1 :])
    if data.dtype in WITHOUT_WHERE or not alike(sizes(analysis, node.inputs[2]), column):
        return []
    here = _here(made, node.inputs[0], write, len(shape))
    return made.chosen(here, node.inputs[2], node.inputs[0], data.dtype)


def _written_rows(graph: Graph, analysis: Analysis, node: Node, shape: Shape) -> Write | None:
    """A ScatterND that goes through all entries of some axes in order, and on one axis through a list of them."""
    found = tuples(graph, analysis, node.inputs[1])
    if found is None or len(found) != len(found[0].shape) or len(found) > len(shape):
        return None
    if not all(p.is_along(axis) for axis, p in enumerate(found)):
        return None
    partial = [axis for axis, p in enumerate(found) if not p.covers(axis, shape[axis])]
    axis = partial[0] if partial else len(found) - 1
    numbers = found[axis].numbers
    return None if len(partial) > 1 or numbers is None else Write(axis, numbers)


def _written_entries(graph: Graph, analysis: Analysis, node: Node, shape: Shape) -> Write | None:
    """A ScatterElements that writes the same entries everywhere."""
    axis = int(node.attrs.get("axis", 0)) % len(shape)
    found = positions(graph, analysis, node.inputs[1])
    if found is None or found.numbers is None or len(found.shape) != len(shape) or not found.is_along(axis):
        return None
    whole = all(same(found.shape[i], size) for i, size in enumerate(shape) if i != axis)
    return Write(axis, found.numbers) if whole else None


def _parts(numbers: Sequence[int], size: int) -> list[Part] | None:
    """What the written axis is made of; ``None`` where an entry does not exist, or is written twice."""
    places = {n + size if n < 0 else n: k for k, n in enumerate(numbers)}
    if len(places) != len(numbers) or not all(0 <= n < size for n in places):
        return None
    parts = list[Part]()
    for entry in range(size):
        updated, at = entry in places, places.get(entry, entry)
        if parts and parts[-1].updated is updated and parts[-1].end == at:
            parts[-1] = Part(updated, parts[-1].start, at + 1)
        else:
            parts.append(Part(updated, at, at + 1))
    return parts


def _joined(made: Replacement, node: Node, write: Write, parts: Sequence[Part]) -> list[Node]:
    """The parts of value and update, one after the other."""
    data, _, updates = node.inputs
    values = list[str]()
    for part in parts:
        if part.updated and part.end - part.start == len(write.numbers):
            values.append(updates)
        else:
            bounds = [made.integers([n]) for n in (part.start, part.end, write.axis)]
            values.append(made.call("Slice", [updates if part.updated else data, *bounds]))
    return made.ended("Concat", values, {"axis": write.axis})


def _here(made: Replacement, data: str, write: Write, rank: int) -> str:
    """A mask over the axis, and an axis of size 1 for each that follows."""
    (number,) = write.numbers
    size = made.call("Gather", [made.call("Shape", [data]), made.integers(write.axis)])
    written = made.integers(number) if number >= 0 else made.call("Add", [size, made.integers(number)])
    entries = made.call("Range", [made.integers(0), size, made.integers(1)])
    mask = made.call("Equal", [entries, written])
    return made.call("Reshape", [mask, made.integers([-1] + [1] * (rank - write.axis - 1))])
