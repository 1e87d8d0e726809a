"""User and item parts of a Concat that take turns::

    f( Concat(u, i, v, j) )   ->   f'( Concat( Concat(u, v), i, j ) )

    x W = (x P) (P^T W)

The order of the parts matters to nobody where all that reads them ends in a sum: the weights on the way there are put
in the new order once. What follows then works on one user part and one item part, not on a run of each in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._orders import Orders, orders_from
from mari_onnx.patterns._parts import mixed_parts, runs_of
from mari_onnx.patterns._reordering import in_new_order, in_order
from mari_onnx.rewrite.rule import Exactness, Phase, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace


class ConcatOrder(Rule[Orders]):
    """Sorts the parts of a Concat by side where nothing depends on their order."""

    name = "concat-order"
    algebra = "x W = (x P) (P^T W)"
    rival = True
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Concat"})
    phases = Phase.CLEARING | Phase.EARLY | Phase.MAIN

    def match(self, node: Node, at: Workspace) -> Orders | Refusal | None:
        parts = mixed_parts(node.output, at)
        if parts is None or len(runs_of(parts, at)) < 3:
            return None
        once = [at.is_once(v) for v in parts.values]
        sorted_parts = sorted(zip(once, parts.offsets, parts.sizes, strict=True), key=lambda part: not part[0])
        order = tuple(entry for _, start, size in sorted_parts for entry in range(start, start + size))
        found = orders_from(node.output, parts.axis, order, at)
        return Refusal("the order of its parts matters to something that reads them") if found is None else found

    def rewrite(self, node: Node, found: Orders, at: Workspace) -> Sequence[str]:
        return in_new_order(node, found, self.name, in_order, at)
