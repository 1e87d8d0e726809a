"""Running sums over tokens, some of them the user's::

    CumSum( Concat(u, i; axis a), axis a )   ->   Concat( CumSum(u), CumSum(i) + sum of u; axis a )

    cumsum([u, i]) = [cumsum(u), sum(u) + cumsum(i)]

The same with ``reverse``, from the other end, and with ``exclusive``. Along other axes each part has sums of its own.
Linear attention and recurrences in closed form read a history so, with the candidate at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, one_row, runs_of
from mari_onnx.patterns._sums import total_along
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Running:
    """The parts, and whether the sums run over them."""

    parts: Parts
    is_along: bool


class ConcatCumsum(Rule[Running]):
    """Adds up the parts of a Concat one after the other."""

    name = "concat-cumsum"
    algebra = "cumsum([u, i]) = [cumsum(u), sum(u) + cumsum(i)]"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"CumSum"})

    def match(self, node: Node, at: Workspace) -> Running | None:
        parts, axis = mixed_parts(node.inputs[0], at), at.integers(node.inputs[1])
        if parts is None or axis is None or len(axis) != 1 or at.fact(node.output).opaque:
            return None
        return Running(parts, axis[0] % parts.rank == parts.axis)

    def rewrite(self, node: Node, found: Running, at: Workspace) -> Sequence[str]:
        axis, is_reversed = found.parts.axis, bool(node.attrs.get("reverse", 0))
        runs = [(joined(run.values, axis, at), run.size) for run in runs_of(found.parts, at)]
        made: list[str] = []
        before: str | None = None
        for value, size in reversed(runs) if is_reversed else runs:
            sums = _sums(node, value, size, found, at)
            # Of two neighbours one is the items', so a sum of single rows is one of rows of all candidates.
            made.append(sums if before is None else at.emit("Add", [one_row(sums, at), before]))
            if found.is_along and len(made) < len(runs):
                total = value if size == 1 else total_along(value, axis, at)
                before = one_row(total, at) if before is None else at.emit("Add", [before, one_row(total, at)])
        return [joined(made[::-1] if is_reversed else made, axis, at)]


def _sums(node: Node, value: str, size: int, found: Running, at: Workspace) -> str:
    """The running sums of a part alone; those of one entry are the entry."""
    if found.is_along and size == 1 and not node.attrs.get("exclusive", 0):
        return value
    return at.emit("CumSum", [value, node.inputs[1]], **dict(node.attrs))
