"""Where along an axis of a value the user's entries lie, and where the items': what the Concat far above it says."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from mari_onnx.ir import Node
from mari_onnx.patterns._labels import labels_of
from mari_onnx.patterns._parts import parts_of
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
        above = _above(node, axis, at)
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
        above = _above(node, axis, at)
        if above is None:
            return False
        value, axis = above
    return False


def _above(node: Node, axis: int, at: Workspace) -> tuple[str, int] | None:
    """The operand with different entries for each candidate, and its axis, that an axis of the result comes from."""
    labels = labels_of(node, at)
    found = labels.sources(axis) if labels is not None else None
    return next(((node.inputs[i], own) for i, own in (found or {}).items() if not at.is_once(node.inputs[i])), None)
