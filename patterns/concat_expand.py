"""Parts that are repeated along another axis than the one they are joined on::

    Expand( Concat(u, i; axis a), sizes )   ->   Concat( Expand(u, sizes), Expand(i, sizes); axis a )

    repeat_b([u, i]_a) = [repeat_b(u), repeat_b(i)]_a

Tile likewise. Keys and values that several heads share are repeated so for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, runs_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Repeated:
    """The parts, the axis of the result that they are joined on, and to what size each axis is repeated."""

    parts: Parts
    axis: int
    sizes: Shape


class ConcatExpand(Rule[Repeated]):
    """Repeats the parts of a Concat instead of the whole."""

    name = "concat-expand"
    algebra = "repeat_b([u, i]_a) = [repeat_b(u), repeat_b(i)]_a"
    exactness = Exactness.EXACT
    ops = frozenset({"Expand", "Tile"})

    def match(self, node: Node, at: Workspace) -> Repeated | None:
        parts = mixed_parts(node.inputs[0], at)
        before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
        if parts is None or before is None or after is None:
            return None
        added = len(after) - parts.rank
        sizes = tuple(1 if k >= added and same(before[k - added], size) else size for k, size in enumerate(after))
        axis = parts.axis + added
        return Repeated(parts, axis, sizes) if sizes[axis] == 1 else None

    def rewrite(self, node: Node, found: Repeated, at: Workspace) -> Sequence[str]:
        times = at.sizes.target(found.sizes) if node.op == "Expand" else node.inputs[1]
        wholes = [joined(run.values, found.parts.axis, at) for run in runs_of(found.parts, at)]
        return [joined([at.emit(node.op, [whole, times]) for whole in wholes], found.axis, at)]
