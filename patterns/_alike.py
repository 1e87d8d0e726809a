"""Values that have the same entries all along an axis: states of zeros, positions, a token that opens each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, alike, same
from mari_onnx.patterns._parts import weight_rows
from mari_onnx.patterns._picking import needed
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

Rows: TypeAlias = Callable[[Dim], str]
"""Builds a value with so many entries along the axis."""
One: TypeAlias = Callable[[], str]
"""Builds it with one."""

MAX_DEPTH = 30
"""Of more operators one behind the other, nothing is said."""


def rows_alike(value: str, axis: int, at: Workspace) -> Rows | None:
    """How to build a value with another number of entries along an axis, along which all are the same.

    Args:
        value: The value.
        axis: The axis, counted from the front.
        at: The graph around it.

    Returns:
        ``None`` where it is not proven that all are the same, to the last bit.
    """
    shape = at.fact(value).shape
    one = _Search(at).one(value, axis, 0) if shape is not None else None
    return None if one is None or shape is None else lambda rows: _repeated(one(), _with(shape, axis, rows), at)


class _Search:
    """Looks through what makes a value; what was found of a value is not looked for again."""

    def __init__(self, at: Workspace) -> None:
        self.at = at
        self.known: dict[tuple[str, int], One | None] = {}

    def one(self, value: str, axis: int, depth: int) -> One | None:
        key = (value, axis)
        if key not in self.known:
            self.known[key] = self._one(value, axis, depth) if depth < MAX_DEPTH else None
        return self.known[key]

    def _one(self, value: str, axis: int, depth: int) -> One | None:
        at, shape = self.at, self.at.fact(value).shape
        if shape is None:
            return None
        if same(shape[axis], 1):
            return lambda: value
        if at.is_weight(value):
            return _of_weight(value, axis, at)
        if at.is_user(value):
            # All candidates have what one has: where that is alike, all is.
            return self.one(at.single(value), axis, depth + 1)
        node = at.graph.producer(value)
        if node is None or node.domain or len(node.outputs) != 1:
            return None
        if node.op == "ConstantOfShape":
            return lambda: at.emit(node.op, [at.sizes.known(_with(shape, axis, 1))], **dict(node.attrs))
        return self._expanded(node, axis, depth) if node.op == "Expand" else self._layer(node, axis, shape, depth)

    def _expanded(self, node: Node, axis: int, depth: int) -> One | None:
        at, before, after = self.at, self.at.fact(node.inputs[0]).shape, self.at.fact(node.output).shape
        if before is None or after is None:
            return None
        place, target = axis - len(after) + len(before), _with(after, axis, 1)
        inner = self.one(node.inputs[0], place, depth + 1) if place >= 0 else lambda: node.inputs[0]
        return None if inner is None else lambda: _repeated(inner(), target, at)

    def _layer(self, node: Node, axis: int, shape: Shape, depth: int) -> One | None:
        """An operator of which entries along the axis come of the same entries of some inputs, which are alike."""
        at, wanted = self.at, needed(node, axis, self.at)
        found = {index: self.one(node.inputs[index], place, depth + 1) for index, place in (wanted or {}).items()}
        inner = {index: one for index, one in found.items() if one is not None}
        if not wanted or len(inner) != len(wanted):
            return None

        def build() -> str:
            inputs = [inner[i]() if i in inner else v for i, v in enumerate(node.inputs)]
            if node.op in VIEWS:
                return at.reshape(inputs[0], _with(shape, axis, 1))
            return at.emit(node.op, inputs, **dict(node.attrs))

        return build


def _of_weight(value: str, axis: int, at: Workspace) -> One | None:
    array = at.constant(value)
    if array is None or not array.size:
        return None
    # Bits, not numbers: 0 is not -0, and what is not a number is no other than itself.
    if array.take([0], axis).repeat(array.shape[axis], axis).tobytes() != array.tobytes():
        return None
    return lambda: weight_rows(value, axis, [(0, 1)], at)


def _repeated(value: str, shape: Shape, at: Workspace) -> str:
    if alike(at.fact(value).shape, shape):
        return value
    return at.emit("Expand", [value, at.sizes.known(shape)])


def _with(shape: Sequence[Dim], axis: int, rows: Dim) -> Shape:
    return (*shape[:axis], rows, *shape[axis + 1 :])
