"""A Concat whose parts have open sizes: rows of candidates and of the user's history, laid one behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, takewhile

from mari_onnx.analysis.sizes import borders
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, same, simplified
from mari_onnx.patterns._cuts import open_cuts_of
from mari_onnx.patterns._parts import Parts
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """The parts of a Concat.

    Attributes:
        values: The parts in order.
        axis: The axis they are joined on, from the front.
        sizes: Their sizes on that axis.
    """

    values: tuple[str, ...]
    axis: int
    sizes: tuple[Dim, ...]

    @property
    def total(self) -> Dim:
        return simplified(sum(self.sizes))

    @property
    def bounds(self) -> list[Dim]:
        """Where parts begin and end, from 0 to the total."""
        return _places(self.sizes)


@dataclass(frozen=True, slots=True)
class WholeParts:
    """What pieces of a Concat are made of: for each piece neighbouring parts, and the axis they are joined on."""

    pieces: tuple[tuple[str, ...], ...]
    axis: int


def joined_rows(value: str, at: Workspace) -> EndToEnd | None:
    """The parts of a value, where it is a Concat; those of a part that is one along the same axis in its place."""
    node = at.graph.producer(value)
    rank = at.fact(value).rank
    if node is None or node.kind != "Concat" or not rank:
        return None
    axis = int(node.attrs["axis"]) % rank
    values: list[str] = []
    sizes: list[Dim] = []
    for part in node.inputs:
        inner, shape = joined_rows(part, at), at.fact(part).shape
        if inner is not None and inner.axis == axis:
            values += inner.values
            sizes += inner.sizes
        elif shape is None:
            return None
        else:
            values.append(part)
            sizes.append(shape[axis])
    return EndToEnd(tuple(values), axis, tuple(sizes))


def whole_parts(node: Node, at: Workspace) -> WholeParts | None:
    """The parts that a Slice or a Split takes of a Concat, where it takes no part in pieces."""
    rows = joined_rows(node.inputs[0], at)
    if rows is None:
        return None
    ranges = cut_rows(node, rows.axis, rows.total, at)
    pieces = [_between(rows, *found) for found in ranges]
    return WholeParts(tuple(p for p in pieces if p), rows.axis) if pieces and all(pieces) else None


def cut_rows(node: Node, axis: int, total: Dim, at: Workspace) -> list[tuple[Dim, Dim]]:
    """Where what a Slice or a Split takes along an axis begins and ends, for each output; none where that is not known.

    Args:
        node: The Slice or Split.
        axis: An axis of what it reads, from the front; along another one nothing may be cut.
        total: How many entries that has there.
        at: The graph around it.
    """
    return _sliced(node, axis, total, at) if node.op == "Slice" else _split(node, axis, total, at)


def leading_parts(value: str, at: Workspace) -> Parts | None:
    """The parts of a Concat up to the first of an open size, where the first is not: the query in front of all else."""
    rows, rank = joined_rows(value, at), at.fact(value).rank
    if rows is None or rank is None:
        return None
    known = list(takewhile(lambda size: isinstance(size, int), rows.sizes))
    return Parts(rows.values[: len(known)], rows.axis, tuple(known), rank) if known else None


def _between(rows: EndToEnd, start: Dim, end: Dim) -> tuple[str, ...]:
    """The parts between two borders; none where one of these is inside a part, or where nothing is between them."""
    first, last = (next((i for i, b in enumerate(rows.bounds) if same(b, place)), None) for place in (start, end))
    return () if first is None or last is None else rows.values[first:last]


def _sliced(node: Node, axis: int, total: Dim, at: Workspace) -> list[tuple[Dim, Dim]]:
    cuts = open_cuts_of(node, at.fact(node.inputs[0]).rank or 0, at)
    if cuts is None or list(cuts) != [axis] or not same(cuts[axis].step, 1):
        return []
    found = borders(total, cuts[axis].start, cuts[axis].end)
    return [] if found is None else [found]


def _split(node: Node, axis: int, total: Dim, at: Workspace) -> list[tuple[Dim, Dim]]:
    rank = at.fact(node.inputs[0]).rank or 0
    shapes = [at.fact(v).shape if v else None for v in node.outputs]
    sizes = [s[axis] for s in shapes if s is not None]
    if int(node.attrs.get("axis", 0)) % rank != axis or len(sizes) != len(shapes):
        return []
    ends = _places(sizes)
    return list(pairwise(ends)) if same(ends[-1], total) else []


def _places(sizes: Sequence[Dim]) -> list[Dim]:
    return [0, *map(simplified, accumulate(sizes))]
