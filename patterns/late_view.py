"""A view of something that is repeated, or its axes in another order::

    Reshape( Tile(x: [T, 1, 1]) -> [T, 1, d] ) -> [T, d]   ->   Expand( Reshape(x) -> [T, 1] ) -> [T, d]
    Transpose( Expand(x: [B, 1, d]) -> [B, n, d] )         ->   Expand( Transpose(x) -> [1, B, d] ) -> [n, B, d]

    view(repeat(x)) = repeat(view(x))

``repeat_interleave`` comes out of exporters like this, and a value that goes to each of some experts; ``broadcast`` and
``batched-matmul`` drop the repetition where it meets something as wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._repeats import source_of
from mari_onnx.patterns.views import REPETITIONS, VIEWS
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Once:
    """What is repeated, and the shape it is given before that; ``None`` where its axes are put in another order."""

    source: str
    shape: Shape | None


class LateView(Rule[Once]):
    """Lays a value out before it is repeated."""

    name = "late-view"
    algebra = "view(repeat(x)) = repeat(view(x))"
    exactness = Exactness.EXACT
    phases = Phase.CLEARING | Phase.EARLY | Phase.MAIN
    ops = VIEWS | {"Transpose"}

    def match(self, node: Node, at: Workspace) -> Once | None:
        repeated, after = node.inputs[0], at.fact(node.output).shape
        producer, before = at.graph.producer(repeated), at.fact(repeated).shape
        source = source_of(repeated, at) if producer is not None and producer.op in REPETITIONS else None
        if source is None or before is None or after is None or at.is_user(repeated):
            return None
        own = at.fact(source).shape
        if own is None or len(own) != len(before) or not all(map(at.sizes.can_build, after)):
            return None
        if node.op == "Transpose":
            return Once(source, None)
        narrow = _narrow(own, before, after)
        return None if narrow is None else Once(source, narrow)

    def rewrite(self, node: Node, found: Once, at: Workspace) -> Sequence[str]:
        shape = at.fact(node.output).shape
        assert shape is not None
        if found.shape is None:
            once = at.emit("Transpose", [found.source], **dict(node.attrs))
        else:
            once = at.reshape(found.source, found.shape)
        return [at.emit("Expand", [once, at.sizes.known(shape)])]


def _narrow(own: Shape, before: Shape, after: Shape) -> Shape | None:
    """The view's shape of what is not repeated yet, where it does no more than drop or add axes of size 1."""
    kept = [k for k, d in enumerate(before) if not same(d, 1)]
    places = [k for k, d in enumerate(after) if not same(d, 1)]
    if len(kept) != len(places) or not all(same(before[k], after[p]) for k, p in zip(kept, places, strict=True)):
        return None
    sizes = dict(zip(places, (own[k] for k in kept), strict=True))
    return tuple(sizes.get(p, 1) for p in range(len(after)))
