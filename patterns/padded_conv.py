"""Zeros around what a convolution reads are padding of its own::

    Conv( Pad(x), W )   ->   Conv( x, W; pads )

conv(pad(x)) = conv(x; pads)

Causal convolutions are exported with a Pad in front, behind which nothing is seen of the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


class PaddedConv(Rule[list[int]]):
    """Lets a convolution pad by itself."""

    name = "padded-conv"
    algebra = "conv(pad(x)) = conv(x; pads)"
    exactness = Exactness.EXACT
    phases = Phase.EARLY | Phase.MAIN
    ops = frozenset({"Conv"})

    def match(self, node: Node, at: Workspace) -> list[int] | None:
        pad, rank = at.graph.producer(node.inputs[0]), at.fact(node.inputs[0]).rank
        if pad is None or pad.op != "Pad" or pad.domain or rank is None:
            return None
        if node.attrs.get("auto_pad", "NOTSET") != "NOTSET" or pad.attrs.get("mode", "constant") != "constant":
            return None
        if not _is_zero(pad, at) or not pad.has_input(1) or pad.has_input(3):
            return None
        more = at.integers(pad.inputs[1])
        if more is None or min(more) < 0 or any(more[axis] or more[axis + rank] for axis in (0, 1)):
            return None
        own = node.attrs.get("pads", [0] * (2 * rank - 4))
        added = [*more[2:rank], *more[rank + 2 :]]
        return [int(a) + int(b) for a, b in zip(own, added, strict=True)]

    def rewrite(self, node: Node, found: list[int], at: Workspace) -> Sequence[str]:
        pad = at.graph.producer(node.inputs[0])
        assert pad is not None
        return [at.emit("Conv", [pad.inputs[0], *node.inputs[1:]], **{**node.attrs, "pads": found})]


def _is_zero(pad: Node, at: Workspace) -> bool:
    if not pad.has_input(2):
        return True
    fill = at.constant(pad.inputs[2]) if at.is_weight(pad.inputs[2]) else None
    return fill is not None and fill.size == 1 and not fill.any()
