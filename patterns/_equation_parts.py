"""Einsums taken apart along the axis on which one of their operands was joined."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, cut, mixed_parts, parts_of, runs_of, taken
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class CutEquation:
    """What is cut.

    Attributes:
        parts: Parts of one operand.
        letter: The axis on which they lie.
        along: For each operand, the axis that is cut with the parts; ``None`` where it is read whole.
    """

    parts: Parts
    letter: str
    along: tuple[int | None, ...]


def cut_equation(node: Node, terms: Sequence[str], letters: Set[str], at: Workspace) -> CutEquation | None:
    """How an Einsum can be cut along one of these letters, with parts of user and item."""
    for value, term in zip(node.inputs, terms, strict=True):
        parts = mixed_parts(value, at)
        if parts is None or term[parts.axis] not in letters:
            continue
        along = tuple(other.find(term[parts.axis]) for other in terms)
        if all(_is_cut_alike(v, axis, parts, at) for v, axis in zip(node.inputs, along, strict=True) if axis >= 0):
            axes = tuple(None if axis < 0 else axis for axis in along)
            return CutEquation(parts, term[parts.axis], axes)
    return None


def cut_apart(node: Node, found: CutEquation, at: Workspace) -> list[str]:
    """The equation of each run of the parts."""

    def piece(value: str, axis: int | None, start: int, size: int) -> str:
        if axis is None:
            return value
        parts = parts_of(value, at)
        if parts is not None and parts.axis == axis:
            return taken(parts, start, size, at)
        return cut(value, axis, start, size, at)

    def made(start: int, size: int) -> str:
        operands: Sequence[str] = [piece(v, a, start, size) for v, a in zip(node.inputs, found.along, strict=True)]
        return at.emit("Einsum", operands, **dict(node.attrs))

    return [made(run.start, run.size) for run in runs_of(found.parts, at)]


def _is_cut_alike(value: str, axis: int, parts: Parts, at: Workspace) -> bool:
    """Whether an operand has as many entries along its axis, and can be cut there for nothing."""
    shape = at.fact(value).shape
    if shape is None or shape[axis] != parts.total:
        return False
    other = parts_of(value, at)
    if other is not None and other.axis == axis:
        return {run.start for run in runs_of(parts, at)} <= set(other.offsets)
    return at.is_once(value)
