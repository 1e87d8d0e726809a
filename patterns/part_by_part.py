"""Something that is joined, worked on entry by entry, and cut at the same places again::

    Split( Mul( Concat(a, b), Concat(c, d) ) )   ->   Mul(a, c), Mul(b, d)

    piece(f([a, b])) = f(a)

The squares of the fields of a factorization machine are added up like this once the user's are apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._parts import parts_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Cut:
    """An operator on joined values, and what it reads for each part."""

    work: Node
    inputs: tuple[tuple[str, ...], ...]


class PartByPart(Rule[Cut]):
    """Works on the parts, and joins nothing."""

    name = "part-by-part"
    algebra = "piece(f([a, b])) = f(a)"
    exactness = Exactness.EXACT
    ops = frozenset({"Split"})

    def match(self, node: Node, at: Workspace) -> Cut | None:
        work, shape = at.graph.producer(node.inputs[0]), at.fact(node.inputs[0]).shape
        if work is None or work.domain or work.op not in (*UNARY, *BROADCASTING) or shape is None:
            return None
        if not at.graph.is_private(node.inputs[0]) or at.is_once(node.inputs[0]) or not all(node.outputs):
            return None
        axis = int(node.attrs.get("axis", 0)) % len(shape)
        pieces = [at.fact(v).shape for v in node.outputs]
        sizes = tuple(s[axis] for s in pieces if s is not None)
        read = [_read(v, axis - len(shape), sizes, at) for v in work.inputs if v]
        known = [r for r in read if r is not None]
        if len(sizes) < len(pieces) or len(known) < len(work.inputs) or all(len(set(r)) == 1 for r in known):
            return None
        return Cut(work, tuple(zip(*known, strict=True)))

    def rewrite(self, node: Node, found: Cut, at: Workspace) -> Sequence[str]:
        return [at.emit(found.work.op, inputs, **dict(found.work.attrs)) for inputs in found.inputs]


def _read(value: str, axis: int, sizes: Sequence[object], at: Workspace) -> tuple[str, ...] | None:
    """What each piece reads of an operand: its part, or all of one that has no more than one entry on the axis.

    Args:
        value: The operand.
        axis: The axis that is cut, counted from the end.
        sizes: How many entries each piece has.
        at: The graph.
    """
    shape, parts = at.fact(value).shape, parts_of(value, at)
    if shape is None:
        return None
    if len(shape) < -axis or same(shape[axis], 1):
        return (value,) * len(sizes)
    if parts is None or parts.axis - parts.rank != axis or tuple(parts.sizes) != tuple(sizes):
        return None
    return tuple(parts.values)
