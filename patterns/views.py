"""Operators that only rename sizes, one after the other::

Reshape( Unsqueeze( Transpose of axes of size 1 ( x ) ) )   ->   Reshape( x ), or x

view(view(x)) = view(x)
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.ir.orders import order_of
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
REPETITIONS = frozenset({"Expand", "Tile"})
"""Views where they repeat nothing."""


class Views(Rule[str]):
    """Replaces a chain of views by one, a Transpose of axes of size 1 by a view, and what does nothing by nothing."""

    name = "views"
    algebra = "view(view(x)) = view(x)"
    exactness = Exactness.EXACT
    phases = Phase.MAIN | Phase.CLOSING
    ops = VIEWS | REPETITIONS | {"Transpose"}

    def match(self, node: Node, at: Workspace) -> str | None:
        after = at.fact(node.output).shape
        if node.op in REPETITIONS:
            return node.inputs[0] if alike(at.fact(node.inputs[0]).shape, after) else None
        if after is None or not _is_view(node, at):
            return None
        source = node.inputs[0]
        producer = at.graph.producer(source)
        while producer is not None and _is_view(producer, at):
            source = producer.inputs[0]
            producer = at.graph.producer(source)
        before = at.fact(source).shape
        if before is None:
            return None
        unchanged = alike(before, after)
        shorter = source != node.inputs[0] or node.op == "Transpose"
        one_open = sum(not isinstance(d, int) for d in after) <= 1 and 0 not in [d for d in after if isinstance(d, int)]
        return source if unchanged or (shorter and one_open) else None

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        shape = at.fact(node.output).shape
        assert shape is not None
        return [at.reshape(found, shape)]


def _is_view(node: Node, at: Workspace) -> bool:
    if node.domain:
        return False
    if node.op in VIEWS:
        return True
    shape = at.fact(node.inputs[0]).shape if node.op == "Transpose" else None
    if shape is None:
        return False
    order = order_of(node, len(shape))
    moved = [axis for axis in order if not same(shape[axis], 1)]
    return moved == sorted(moved)
