"""Work on rows that candidates have looked up among those of the user::

    f( Gather(u, i) ) W   ->   Gather( f(u) W, i )

    f(u[i]) = f(u)[i]

It pays where the user has fewer rows than all candidates choose together.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.ir import Node
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class LateLookup(Rule[Node]):
    """Works on the user's rows before candidates choose among them."""

    name = "late-lookup"
    algebra = "f(u[i]) = f(u)[i]"
    exactness = Exactness.EXACT
    ops = frozenset({*UNARY, *BROADCASTING, "MatMul"}) - {"Identity", "PRelu"}

    def match(self, node: Node, at: Workspace) -> Node | None:
        lookups = [at.graph.producer(v) for v in node.inputs if v and not at.is_weight(v)]
        if len(lookups) != 1 or lookups[0] is None or not _chooses_users_rows(lookups[0], at):
            return None
        lookup = lookups[0]
        rank = at.fact(lookup.output).rank or 0
        if (at.fact(lookup.inputs[0]).rank or 0) < 2 or at.fact(node.output).rank != rank:
            return None
        if node.op in ("Div", "Mod") and at.fact(node.output).dtype not in FLOATS:
            # A zero in a row that nobody chooses would stop the division of whole numbers.
            return None
        others = [at.fact(v).rank for v in node.inputs if v and at.is_weight(v)]
        if node.op == "MatMul":
            return lookup if node.inputs[0] == lookup.output and others == [2] else None
        # What has a single axis meets the last one of each row.
        return lookup if all(other is not None and other < 2 for other in others) else None

    def rewrite(self, node: Node, found: Node, at: Workspace) -> Sequence[str]:
        inputs = [found.inputs[0] if v == found.output else v for v in node.inputs]
        rows = at.emit(node.op, inputs, **dict(node.attrs))
        return [at.emit("Gather", [rows, found.inputs[1]], axis=0)]


def _chooses_users_rows(lookup: Node, at: Workspace) -> bool:
    if lookup.op != "Gather" or lookup.domain or int(lookup.attrs.get("axis", 0)) != 0:
        return False
    rows, indices = lookup.inputs
    return at.is_once(rows) and at.fact(rows).request and not at.is_user(rows) and not at.is_once(indices)
