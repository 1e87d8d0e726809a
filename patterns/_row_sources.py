"""Where rows of a value lie in what it is cut out of, joined of or laid out from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import TypeAlias

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, same
from mari_onnx.patterns._cuts import cuts_of
from mari_onnx.patterns._parts import parts_of
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

Source: TypeAlias = Callable[[int], tuple[str, int]]
"""From a row of a value, the value that it lies in, and which of its rows it is there."""


class RowSources:
    """Finds out where the rows of values lie, once for all rows of each."""

    def __init__(self, at: Workspace) -> None:
        self._at = at
        self._known: dict[str, Source | None] = {}

    def of(self, node: Node, value: str, row: int) -> tuple[str, int] | None:
        """What has a row that a node cuts out, joins or lays out, and which of its rows that is.

        Of two axes, the second is that of columns: what is cut along it are no rows.
        """
        if value not in self._known:
            has_rows = bool(node.inputs) and (node.op in VIEWS or self._at.fact(node.inputs[0]).rank == 3)
            self._known[value] = source_of(node, value, self._at) if has_rows else None
        source = self._known[value]
        return None if source is None else source(row)


def source_of(node: Node, value: str, at: Workspace) -> Source | None:
    """Where entries of the second axis lie that a node cuts out, joins or lays out."""
    reader = READERS.get(node.op)
    whole = at.fact(node.inputs[0]).shape if reader is not None and node.inputs[0] else None
    return None if reader is None or not whole else reader(node, value, whole, at)


def _of_view(node: Node, value: str, whole: Shape, at: Workspace) -> Source | None:
    shape = at.fact(value).shape or ()
    if len(whole) not in (2, 3) or not same(whole[0], shape[0]) or not same(whole[-1], shape[-1]):
        return None
    return (lambda row: (node.inputs[0], row)) if product(whole[1:-1]) == product(shape[1:-1]) else None


def _of_split(node: Node, value: str, whole: Shape, at: Workspace) -> Source | None:
    if int(node.attrs.get("axis", 0)) % len(whole) != 1:
        return None
    sizes = [(at.fact(v).shape or (0, None))[1] for v in node.outputs[: node.outputs.index(value)]]
    start = sum(size for size in sizes if isinstance(size, int))
    return (lambda row: (node.inputs[0], start + row)) if all(isinstance(size, int) for size in sizes) else None


def _of_slice(node: Node, _value: str, whole: Shape, at: Workspace) -> Source | None:
    cuts, size = cuts_of(node, len(whole), at), whole[1] if len(whole) > 1 else None
    if cuts is None or cuts.keys() != {1} or not isinstance(size, int):
        return None
    rows = range(size)[cuts[1].start : cuts[1].end : cuts[1].step]
    return lambda row: (node.inputs[0], rows[row])


def _of_gather(node: Node, _value: str, whole: Shape, at: Workspace) -> Source | None:
    numbers, size = at.integers(node.inputs[1]), whole[1] if len(whole) > 1 else None
    rank = at.fact(node.inputs[1]).rank
    if int(node.attrs.get("axis", 0)) % len(whole) != 1 or not numbers or not isinstance(size, int) or rank is None:
        return None
    return (lambda row: (node.inputs[0], numbers[row if rank else 0] % size)) if rank <= 1 else None


def _of_concat(_node: Node, value: str, _whole: Shape, at: Workspace) -> Source | None:
    parts = parts_of(value, at)
    if parts is None or parts.axis != 1:
        return None
    values, offsets = parts.values, parts.offsets

    def part(row: int) -> tuple[str, int]:
        place = bisect_right(offsets, row) - 1
        return values[place], row - offsets[place]

    return part


READERS: dict[str, Callable[[Node, str, Shape, Workspace], Source | None]] = {
    **dict.fromkeys(VIEWS, _of_view),
    "Split": _of_split,
    "Slice": _of_slice,
    "Gather": _of_gather,
    "Concat": _of_concat,
}
"""By operator: where the rows of a value lie, from the node, the value, and the shape of the first input."""
