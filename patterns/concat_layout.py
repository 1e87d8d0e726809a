"""An operator that only moves entries behind a Concat::

    Transpose( Concat(u, i; axis a) )   ->   Concat( Transpose(u), Transpose(i); axis a' )
    Reshape( Concat(u, i; axis a) )     ->   Concat( Reshape(u), Reshape(i); axis a' )

    move([u, i]) = [move(u), move(i)]

Reshape, Flatten, Squeeze, Unsqueeze, Transpose; the parts must stay in one piece in memory order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, quotient, same
from mari_onnx.patterns._parts import Parts, Run, apply_to_runs, mixed_parts
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Moved:
    """Where the parts are afterwards.

    Attributes:
        parts: The parts before.
        axis: The axis of the result they are joined on.
        shape: Shape of the result.
        per_entry: How much of that axis one entry of the old axis takes: (numerator, denominator).
    """

    parts: Parts
    axis: int
    shape: Shape
    per_entry: tuple[int, int]


class ConcatLayout(Rule[Moved]):
    """Moves the parts of a Concat instead of the whole."""

    name = "concat-layout"
    algebra = "move([u, i]) = [move(u), move(i)]"
    exactness = Exactness.EXACT
    ops = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"})

    def match(self, node: Node, at: Workspace) -> Moved | None:
        parts = mixed_parts(node.inputs[0], at)
        shape = at.fact(node.output).shape
        before = at.fact(node.inputs[0]).shape
        if parts is None or shape is None or before is None:
            return None
        if node.op == "Transpose":
            order = list(node.attrs.get("perm", range(parts.rank - 1, -1, -1)))
            return Moved(parts, order.index(parts.axis), shape, (1, 1))
        return _laid_out(parts, before, shape)

    def rewrite(self, node: Node, found: Moved, at: Workspace) -> Sequence[str]:
        def make(value: str, run: Run) -> str:
            if node.op == "Transpose":
                return at.emit("Transpose", [value], **dict(node.attrs))
            size = run.size * found.per_entry[0] // found.per_entry[1]
            return at.reshape(value, (*found.shape[: found.axis], size, *found.shape[found.axis + 1 :]))

        return [apply_to_runs(found.parts, found.axis, make, at)]


def _laid_out(parts: Parts, before: Shape, after: Shape) -> Moved | None:
    """The axis that begins where the joined axis began, if every part is a whole number of its entries."""
    left, right = product(before[: parts.axis]), product(before[parts.axis + 1 :])
    for axis, size in enumerate(after):
        if not isinstance(size, int) or size == 1 or not same(product(after[:axis]), left):
            continue
        behind = product(after[axis + 1 :])
        ratio = _ratio(right, behind)
        if ratio is None or parts.total * ratio[0] != size * ratio[1]:
            continue
        if all(s * ratio[0] % ratio[1] == 0 for s in parts.sizes):
            return Moved(parts, axis, after, ratio)
    return None


def _ratio(right: object, behind: object) -> tuple[int, int] | None:
    for ratio in (quotient(right, behind), quotient(behind, right)):
        if isinstance(ratio, int) and ratio > 0:
            return (ratio, 1) if quotient(right, behind) is not None else (1, ratio)
    return None
