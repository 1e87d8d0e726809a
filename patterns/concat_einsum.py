"""An Einsum over an axis that stays, some of whose entries are the user's::

    Einsum( "btd,tde->bte", Concat(u, i; axis t), W )   ->   Concat( Einsum(u, W_u), Einsum(i, W_i); axis t )

    [u; i] x_t [W; V] = [u x W; i x V]

Layers with weights of their own for each token run once for the user's tokens. Other operands that have the axis are
cut along with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._equations import plain_terms
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, parts_of, runs_of, taken
from mari_onnx.patterns._parts import cut as cut_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Kept:
    """What is cut.

    Attributes:
        parts: Parts of one operand.
        axis: The axis of the result on which they lie.
        along: For each operand, the axis that is cut with the parts; ``None`` where it is read whole.
    """

    parts: Parts
    axis: int
    along: tuple[int | None, ...]


class ConcatEinsum(Rule[Kept]):
    """Takes an Einsum apart along an axis that its result has as well."""

    name = "concat-einsum"
    algebra = "[u; i] x_t [W; V] = [u x W; i x V]"
    exactness = Exactness.EXACT
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> Kept | None:
        equation = plain_terms(node)
        if equation is None:
            return None
        terms, result = equation
        for value, term in zip(node.inputs, terms, strict=True):
            parts = mixed_parts(value, at)
            if parts is None or term[parts.axis] not in result:
                continue
            along = tuple(other.find(term[parts.axis]) for other in terms)
            if all(_is_cut_alike(v, axis, parts, at) for v, axis in zip(node.inputs, along, strict=True) if axis >= 0):
                axes = tuple(None if axis < 0 else axis for axis in along)
                return Kept(parts, result.index(term[parts.axis]), axes)
        return None

    def rewrite(self, node: Node, found: Kept, at: Workspace) -> Sequence[str]:
        def piece(value: str, axis: int | None, start: int, size: int) -> str:
            if axis is None:
                return value
            parts = parts_of(value, at)
            if parts is not None and parts.axis == axis:
                return taken(parts, start, size, at)
            return cut_of(value, axis, start, size, at)

        blocks = []
        for run in runs_of(found.parts, at):
            operands = [piece(v, a, run.start, run.size) for v, a in zip(node.inputs, found.along, strict=True)]
            blocks.append(at.emit("Einsum", operands, **dict(node.attrs)))
        return [joined(blocks, found.axis, at)]


def _is_cut_alike(value: str, axis: int, parts: Parts, at: Workspace) -> bool:
    """Whether an operand has as many entries along its axis, and can be cut there for nothing."""
    shape = at.fact(value).shape
    if shape is None or shape[axis] != parts.total:
        return False
    other = parts_of(value, at)
    if other is not None and other.axis == axis:
        return {run.start for run in runs_of(parts, at)} <= set(other.offsets)
    return at.is_once(value)
