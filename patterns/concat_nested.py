"""A Concat inside a Concat::

Concat( Concat(a, b), c )   ->   Concat(a, b, c)

[[a, b], c] = [a, b, c]
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import joined, mixed_parts, parts_of
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


class ConcatNested(Rule[tuple[str, ...]]):
    """Flattens nested Concats on the same axis, so that user parts meet."""

    name = "concat-nested"
    algebra = "[[a, b], c] = [a, b, c]"
    exactness = Exactness.EXACT
    phases = Phase.EARLY | Phase.MAIN
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> tuple[str, ...] | None:
        outer = parts_of(node.output, at)
        if outer is None:
            return None
        flat: list[str] = []
        for value in outer.values:
            inner = mixed_parts(value, at)
            flat += inner.values if inner is not None and inner.axis == outer.axis else [value]
        return tuple(flat) if len(flat) > len(outer.values) else None

    def rewrite(self, node: Node, found: tuple[str, ...], at: Workspace) -> Sequence[str]:
        rank = at.fact(node.output).rank or 1
        return [joined(found, int(node.attrs["axis"]) % rank, at)]
