"""What a Slice takes of each axis."""

from __future__ import annotations

from typing import NamedTuple

from mari_onnx.ir import Node
from mari_onnx.rewrite.workspace import Workspace


class Cut(NamedTuple):
    """Entries along an axis, as a Slice names them: an end may lie beyond, and both may count from behind."""

    start: int
    end: int
    step: int


def cuts_of(node: Node, rank: int, at: Workspace) -> dict[int, Cut] | None:
    """The cuts of a Slice by axis, counted from the front; ``None`` where one of them is not constant."""
    given = [at.integers(v) if v else None for v in node.inputs[1:]]
    starts, ends = given[0], given[1]
    axes = given[2] if node.has_input(3) else tuple(range(len(starts or ())))
    steps = given[3] if node.has_input(4) else (1,) * len(starts or ())
    if starts is None or ends is None or axes is None or steps is None:
        return None
    return {a % rank: Cut(*cut) for a, *cut in zip(axes, starts, ends, steps, strict=True)}
