"""A view of something that is repeated::

    Reshape( Tile(x: [T, 1, 1]) -> [T, 1, d] ) -> [T, d]   ->   Expand( Reshape(x) -> [T, 1] ) -> [T, d]

    view(repeat(x)) = repeat(view(x))

``repeat_interleave`` comes out of exporters like this; ``broadcast`` drops the repetition where it meets something as
wide.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._repeats import source_of
from mari_onnx.patterns.views import REPETITIONS, VIEWS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class LateView(Rule[tuple[str, Shape]]):
    """Lays a value out before it is repeated."""

    name = "late-view"
    algebra = "view(repeat(x)) = repeat(view(x))"
    exactness = Exactness.EXACT
    early = True
    clearing = True
    ops = VIEWS

    def match(self, node: Node, at: Workspace) -> tuple[str, Shape] | None:
        repeated, after = node.inputs[0], at.fact(node.output).shape
        producer, before = at.graph.producer(repeated), at.fact(repeated).shape
        source = source_of(repeated, at) if producer is not None and producer.op in REPETITIONS else None
        if source is None or before is None or after is None or at.is_user(repeated):
            return None
        own = at.fact(source).shape
        if own is None or len(own) != len(before) or not all(map(at.sizes.can_build, after)):
            return None
        narrow = _narrow(own, before, after)
        return None if narrow is None else (source, narrow)

    def rewrite(self, node: Node, found: tuple[str, Shape], at: Workspace) -> Sequence[str]:
        source, narrow = found
        shape = at.fact(node.output).shape
        assert shape is not None
        return [at.emit("Expand", [at.reshape(source, narrow), at.sizes.known(shape)])]


def _narrow(own: Shape, before: Shape, after: Shape) -> Shape | None:
    """The view's shape of what is not repeated yet, where it does no more than drop or add axes of size 1."""
    kept = [k for k, d in enumerate(before) if not same(d, 1)]
    places = [k for k, d in enumerate(after) if not same(d, 1)]
    if len(kept) != len(places) or not all(same(before[k], after[p]) for k, p in zip(kept, places, strict=True)):
        return None
    sizes = dict(zip(places, (own[k] for k in kept), strict=True))
    return tuple(sizes.get(p, 1) for p in range(len(after)))
