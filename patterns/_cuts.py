"""What a Slice takes of each axis."""

from __future__ import annotations

from typing import NamedTuple

from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim
from mari_onnx.rewrite.workspace import Workspace


class Cut(NamedTuple):
    """Entries along an axis, as a Slice names them: an end may lie beyond, and both may count from behind."""

    start: int
    end: int
    step: int


class OpenCut(NamedTuple):
    """A cut whose numbers may follow from open sizes."""

    start: Dim
    end: Dim
    step: Dim


def open_cuts_of(node: Node, rank: int, at: Workspace) -> dict[int, OpenCut] | None:
    """The cuts of a Slice by axis, counted from the front; ``None`` where nothing is known of one of them."""
    contents = [at.fact(v).content if v else None for v in node.inputs[1:]]
    starts, ends, *rest = [None if c is None else c.items for c in contents]
    count = len(starts or ())
    axes = rest[0] if node.has_input(3) else tuple(range(count))
    steps = rest[1] if node.has_input(4) else (1,) * count
    if starts is None or ends is None or axes is None or steps is None:
        return None
    if not all(isinstance(a, int) for a in axes):
        return None
    return {a % rank: OpenCut(*cut) for a, *cut in zip(axes, starts, ends, steps, strict=True)}


def cuts_of(node: Node, rank: int, at: Workspace) -> dict[int, Cut] | None:
    """The same where all numbers are constant; ``None`` where one of them is not."""
    found = open_cuts_of(node, rank, at)
    if found is None or not all(isinstance(n, int) for cut in found.values() for n in cut):
        return None
    return {axis: Cut(*cut) for axis, cut in found.items()}
