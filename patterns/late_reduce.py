"""A reduction of something that is repeated along other axes, as an item's row is for each step of a history::

    ReduceL2( Expand(x: [B, 1, d] -> [B, T, d]), axis -1 )   ->   Expand( ReduceL2(x) )

    sum(repeat(x)) = repeat(sum(x)), along other axes

Cosines normalise both rows after they were repeated to the same shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._repeats import source_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class LateReduce(Rule[str]):
    """Reduces a value before it is repeated."""

    name = "late-reduce"
    algebra = "sum(repeat(x)) = repeat(sum(x)), along other axes"
    exactness = Exactness.EXACT
    ops = frozenset(REDUCTIONS)

    def match(self, node: Node, at: Workspace) -> str | None:
        value, axes = node.inputs[0], at.axes(node)
        source = source_of(value, at)
        if source is None or not axes or at.is_user(node.output) or at.is_user(value):
            return None
        before, after, shape = (at.fact(v).shape for v in (source, value, node.output))
        if before is None or after is None or shape is None or len(before) != len(after):
            return None
        repeated = {k for k, (a, b) in enumerate(zip(before, after, strict=True)) if not same(a, b)}
        alike = repeated.isdisjoint(int(a) % len(after) for a in axes)
        return source if alike and repeated and all(map(at.sizes.can_build, shape)) else None

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        shape = at.fact(node.output).shape
        assert shape is not None
        once = at.emit(node.op, [found, *node.inputs[1:]], **dict(node.attrs))
        return [at.emit("Expand", [once, at.sizes.known(shape)])]
