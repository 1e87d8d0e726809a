"""Where along an axis of a value the user's entries lie, and where the items': what the Concat far above it says."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.ir.orders import order_of
from mari_onnx.patterns._parts import parts_of
from mari_onnx.patterns._pieces import same_axis
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring entries along an axis.

    Attributes:
        start: Where they begin.
        size: How many there are.
        once: Whether they were made of values that are computed once.
    """

    start: int
    size: int
    once: bool

    @property
    def run(self) -> tuple[int, int]:
        return self.start, self.size


def segments_along(value: str, axis: int, at: Workspace) -> tuple[Segment, ...] | None:
    """The segments of an axis, of which there are some of both kinds.

    They say where to cut. Whether a piece really is computed once shows when it is built.
    """
    for _ in range(MAX_DEPTH):
        node = at.graph.producer(value)
        if node is None or node.domain or at.is_once(value):
            return None
        if node.op == "Concat":
            parts = parts_of(value, at)
            if parts is not None and parts.axis == axis:
                entered = [(at.is_once(v), v, start, size) for v, start, size in parts if size]
                if not any(once for once, *_ in entered):
                    # Rows that were put together already, each with what it meets: what they were made of counts.
                    entered = [(_is_made_once(v, axis, at, {}), v, start, size) for _, v, start, size in entered]
                kinds = groupby(((once, start, size) for once, _, start, size in entered), lambda p: p[0])
                runs = [(once, list(members)) for once, members in kinds]
                found = tuple(Segment(m[0][1], sum(size for _, _, size in m), once) for once, m in runs)
                return found if len(found) > 1 else None
        above = _above(node, value, axis, at)
        if above is None:
            return None
        value, axis = above
    return None


def _is_made_once(value: str, axis: int, at: Workspace, seen: dict[tuple[str, int], None]) -> bool:
    """Whether the entries along an axis were made of values that are computed once, whatever they met since."""
    while (value, axis) not in seen:
        seen[value, axis] = None
        node = at.graph.producer(value)
        if at.is_once(value):
            return True
        if node is None or node.domain:
            return False
        if node.op == "Concat":
            parts = parts_of(value, at)
            return (
                parts is not None and parts.axis != axis and any(_is_made_once(v, axis, at, seen) for v in parts.values)
            )
        above = _above(node, value, axis, at)
        if above is None:
            return False
        value, axis = above
    return False


def _above(node: Node, value: str, axis: int, at: Workspace) -> tuple[str, int] | None:
    """The operand, and its axis, that an axis of a value comes from."""
    rank = at.fact(value).rank or 0
    if node.op in UNARY or node.op in BROADCASTING or node.op == "Concat":
        return _varying(node, axis, rank, at)
    if node.op == "MatMul":
        if axis < rank - 2:
            return _varying(node, axis, rank, at)
        operand = node.inputs[axis - rank + 2]
        own = axis - rank + (at.fact(operand).rank or 0)
        return (operand, own) if own >= 0 else None
    if node.op in ("Softmax", "LayerNormalization"):
        return node.inputs[0], axis
    if node.op in ("Split", "Slice"):
        before, after = at.fact(node.inputs[0]).shape, at.fact(value).shape
        whole = before is not None and after is not None and same(before[axis], after[axis])
        return (node.inputs[0], axis) if whole else None
    if node.op == "Gather":
        first, count = int(node.attrs.get("axis", 0)), at.fact(node.inputs[1]).rank or 0
        return (node.inputs[1], axis - first) if first <= axis < first + count else None
    if node.op == "Transpose":
        return node.inputs[0], order_of(node, rank)[axis]
    if node.op in VIEWS:
        before, after = at.fact(node.inputs[0]).shape, at.fact(value).shape
        inner = None if before is None or after is None else same_axis(axis, after, before)
        return None if inner is None else (node.inputs[0], inner)
    return None


def _varying(node: Node, axis: int, rank: int, at: Workspace) -> tuple[str, int] | None:
    """The operand that is broadcast to the result and has different entries for each candidate along the axis."""
    for value in node.inputs:
        shape = at.fact(value).shape if value else None
        own = axis - rank + len(shape or ())
        if shape is not None and own >= 0 and shape[own] != 1 and not at.is_once(value):
            return value, own
    return None
