"""Windows that slide over a Concat: those that lie in one part see nothing of the others::

    Conv( Concat(u, i; axis a), W )   ->   Concat( Conv(u, W), Conv(the end of u and i, W); axis a )

    conv([u, i]) = [conv(u), conv([end of u, i])]

Convolutions and pooling along the positions of a history with the candidate behind it, or along the fields of user and
item. Windows across a border are computed for each candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, runs_of, taken
from mari_onnx.patterns._windows import Window, window_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

POOLING = ("MaxPool", "AveragePool", "LpPool")


@dataclass(frozen=True, slots=True)
class Sliding:
    """Windows over parts, and the groups of neighbouring windows that are computed together.

    Attributes:
        parts: The parts.
        window: How windows lie along the joined axis.
        groups: The first window of each group, and the one behind its last.
    """

    parts: Parts
    window: Window
    groups: tuple[tuple[int, int], ...]


class ConcatWindows(Rule[Sliding]):
    """Slides windows over the parts of a Concat that are computed once, and over what is around the others."""

    name = "concat-windows"
    algebra = "conv([u, i]) = [conv(u), conv([end of u, i])]"
    exactness = Exactness.EXACT
    ops = frozenset({"Conv", *POOLING})

    def match(self, node: Node, at: Workspace) -> Sliding | None:
        parts = mixed_parts(node.inputs[0], at)
        if parts is None or parts.axis < 2 or len(node.outputs) != 1:
            return None
        window = window_of(node, parts, at)
        groups = () if window is None else _groups(window, parts, at)
        return Sliding(parts, window, groups) if window is not None and len(groups) > 1 else None

    def rewrite(self, node: Node, found: Sliding, at: Workspace) -> Sequence[str]:
        axis, window = found.parts.axis, found.window
        made = []
        for first, last in found.groups:
            start, end = window.entries(first, last)
            inner = max(start, 0), min(end, window.size)
            value = taken(found.parts, inner[0], inner[1] - inner[0], at)
            attrs = {name: given for name, given in node.attrs.items() if name != "auto_pad"}
            attrs["pads"] = _pads(node, found.parts, inner[0] - start, end - inner[1])
            made.append(at.emit(node.op, [value, *node.inputs[1:]], **attrs))
        return [joined(made, axis, at)]


def _groups(window: Window, parts: Parts, at: Workspace) -> tuple[tuple[int, int], ...]:
    """Windows inside each run that is computed once, and those between."""
    borders = [0]
    for run in runs_of(parts, at):
        if at.is_once(run.values[0]):
            first, last = window.inside(run.start, run.start + run.size)
            borders += [first, last] if borders[-1] <= first < last else []
    borders.append(window.count)
    return tuple((a, b) for a, b in pairwise(borders) if a < b)


def _pads(node: Node, parts: Parts, before: int, behind: int) -> list[int]:
    spatial = parts.rank - 2
    pads = [int(p) for p in node.attrs.get("pads", [0] * (2 * spatial))]
    pads[parts.axis - 2], pads[parts.axis - 2 + spatial] = before, behind
    return pads
