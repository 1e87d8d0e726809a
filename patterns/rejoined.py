"""Pieces of a value, put together again::

Concat( Split(x) )                         ->   x
Concat( x[:, 2], x[:, 3] ), x: [B, n, d]   ->   Reshape(x)[:, 2 d : 4 d]

[x_1, x_2] = x
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, cut, joined, parts_of
from mari_onnx.patterns._selected import Stretch, laid_flat, stretches
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


class Rejoined(Rule[Parts]):
    """Takes the whole instead of all of its pieces, or a piece of neighbouring entries."""

    name = "rejoined"
    algebra = "[x_1, x_2] = x"
    exactness = Exactness.EXACT
    phases = Phase.EARLY | Phase.MAIN
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> Parts | None:
        parts = parts_of(node.output, at)
        if parts is None:
            return None
        if _split_whole(parts, at) is not None:
            return parts
        found = list(stretches(parts.values, parts.axis, at))
        return parts if len(found) < len(parts.values) else None

    def rewrite(self, node: Node, found: Parts, at: Workspace) -> Sequence[str]:
        whole = _split_whole(found, at)
        if whole is not None:
            return [whole]
        pieces = [_piece(stretch, found.axis, at) for stretch in stretches(found.values, found.axis, at)]
        return [joined(pieces, found.axis, at)]


def _split_whole(parts: Parts, at: Workspace) -> str | None:
    """What all parts are the pieces of, in order."""
    node = at.graph.producer(parts.values[0])
    if node is None or node.op != "Split" or node.domain or node.outputs != parts.values:
        return None
    return node.inputs[0] if int(node.attrs.get("axis", 0)) % parts.rank == parts.axis else None


def _piece(stretch: Stretch, axis: int, at: Workspace) -> str:
    first, count = stretch.first, len(stretch.values)
    if first is None or count == 1:
        return stretch.values[0]
    size = (at.fact(stretch.values[0]).shape or ())[axis]
    assert isinstance(size, int)
    return cut(laid_flat(first.source, axis, at), axis, first.index * size, count * size, at)
