"""A Concat seen as a list of parts, some of them computed once per request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, groupby

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a concatenated value.

    Attributes:
        values: The parts in order.
        axis: The axis they are joined on, from the front.
        sizes: Their sizes on that axis.
        rank: Number of axes.
    """

    values: tuple[str, ...]
    axis: int
    sizes: tuple[int, ...]
    rank: int

    @property
    def offsets(self) -> list[int]:
        return [0, *accumulate(self.sizes)][:-1]

    @property
    def total(self) -> int:
        return sum(self.sizes)

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        """Each part with where it starts and its size."""
        return iter(zip(self.values, self.offsets, self.sizes, strict=True))


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring parts that are all computed once, or none of them.

    Attributes:
        values: The parts.
        start: Where they start.
        size: Their size together.
    """

    values: tuple[str, ...]
    start: int
    size: int


def parts_of(value: str, at: Workspace) -> Parts | None:
    """The parts of a value, where it is a Concat of known sizes that does not join candidates."""
    node = at.graph.producer(value)
    if node is None or node.op != "Concat" or node.domain:
        return None
    facts = [at.fact(v) for v in node.inputs]
    rank = at.fact(value).rank
    if rank is None or any(f.shape is None for f in facts):
        return None
    axis = int(node.attrs["axis"]) % rank
    sizes = [f.shape[axis] for f in facts if f.shape is not None]
    joined = at.fact(value).axis
    if any(not isinstance(s, int) for s in sizes) or (joined is not None and joined.index == axis):
        return None
    return Parts(node.inputs, axis, tuple(sizes), rank)


def mixed_parts(value: str, at: Workspace) -> Parts | None:
    """The parts of a value, some of which are computed once and some for each candidate."""
    parts = parts_of(value, at)
    if parts is None:
        return None
    # A part of no entries is on no side; ONNX Runtime 1.31 leaves the sum over none undefined in a batch of products.
    once = [at.is_once(v) for v, _, size in parts if size]
    return parts if any(once) and not all(once) else None


def runs_of(parts: Parts, at: Workspace) -> list[Run]:
    """Neighbouring parts of the same kind, in order, but for those that have no entries."""
    runs = []
    for _, group in groupby((p for p in parts if p[2]), key=lambda part: at.is_once(part[0])):
        members = list(group)
        runs.append(Run(tuple(v for v, _, _ in members), members[0][1], sum(s for _, _, s in members)))
    return runs


def one_row(value: str, at: Workspace) -> str:
    """The value for one candidate where broadcasting repeats it, the whole value where candidates share an axis."""
    axis = at.fact(value).axis
    return at.single(value) if axis is None or axis.is_whole else value


def joined(values: Sequence[str], axis: int, at: Workspace) -> str:
    """The values concatenated; a single one as it is."""
    return at.emit("Concat", values, axis=axis) if len(values) > 1 else values[0]


def side_of(parts: Parts, once: bool, at: Workspace) -> tuple[str, list[tuple[int, int]]]:
    """The parts that are computed once, or the others, side by side, and where (start, size) they lie."""
    chosen = [(v, start, size) for v, start, size in parts if at.is_once(v) == once]
    return joined([v for v, _, _ in chosen], parts.axis, at), [(start, size) for _, start, size in chosen]


def summed(values: Sequence[str], at: Workspace) -> str:
    """The values added up, in order; a single one as it is."""
    return reduce(lambda a, b: at.emit("Add", [a, b]), values)


def column_parts(value: str, at: Workspace) -> tuple[tuple[str, int, int], ...]:
    """The columns of a matrix in its parts, or all in one; nothing where their number is not known."""
    parts, shape = parts_of(value, at), at.fact(value).shape
    if parts is not None and parts.axis == 1:
        return tuple(p for p in parts if p[2])
    return ((value, 0, shape[-1]),) if shape and isinstance(shape[-1], int) else ()


def apply_to_runs(parts: Parts, axis: int, make: Callable[[str, Run], str], at: Workspace) -> str:
    """Concatenates on ``axis`` what ``make`` builds from each run."""
    made = [make(joined(run.values, parts.axis, at), run) for run in runs_of(parts, at)]
    return joined(made, axis, at)


def cut(value: str, axis: int, start: int, size: int, at: Workspace) -> str:
    """A piece of a value; of a weight, a weight."""
    shape = at.fact(value).shape
    assert shape is not None
    if shape[axis] == size:
        return value
    if at.is_weight(value):
        return weight_rows(value, axis, [(start, size)], at)
    bounds = [at.weight(np.array([b], np.int64)) for b in (start, start + size, axis)]
    return at.emit("Slice", [value, *bounds])


def split(value: str, axis: int, sizes: Sequence[int], at: Workspace) -> tuple[str, ...]:
    """All of a value in pieces of these sizes."""
    if at.opset < 13:
        return at.emit_many("Split", [value], len(sizes), axis=axis, split=list(sizes))
    return at.emit_many("Split", [value, at.weight(np.array(sizes, np.int64), "mari/sizes")], len(sizes), axis=axis)


def weight_rows(weight: str, axis: int, pieces: Sequence[tuple[int, int]], at: Workspace) -> str:
    """Some pieces (start, size) of a weight along an axis, one after the other."""

    def rows() -> np.ndarray:
        array = at.constant(weight)
        assert array is not None
        index = np.concatenate([np.arange(start, start + size) for start, size in pieces])
        return np.take(array, index, axis=axis)

    return at.cached_weight(("rows", weight, axis, tuple(pieces)), rows, f"{weight}/part")


def turned(weight: str, at: Workspace) -> str:
    """A weight transposed; a row as a matrix of one row."""

    def columns() -> np.ndarray:
        array = at.constant(weight)
        assert array is not None
        return np.ascontiguousarray(np.atleast_2d(array.T))

    return at.cached_weight(("turned", weight), columns, f"{weight}/turned")


def matrix_of(product: Node, at: Workspace) -> str:
    """The right operand of a product as it multiplies rows; one that is stored transposed must be constant."""
    weight = product.inputs[1]
    return turned(weight, at) if product.attrs.get("transB", 0) else one_row(weight, at)


def taken(parts: Parts, start: int, size: int, at: Workspace) -> str:
    """The entries from ``start`` on, out of the parts they lie in."""
    pieces = []
    for value, offset, length in parts:
        first, last = max(start, offset), min(start + size, offset + length)
        if first < last:
            pieces.append(cut(value, parts.axis, first - offset, last - first, at))
    return joined(pieces, parts.axis, at)
