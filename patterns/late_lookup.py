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
from mari_onnx.patterns._lookups import Lookup, lookup_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class LateLookup(Rule[Lookup]):
    """Works on the user's rows before candidates choose among them."""

    name = "late-lookup"
    algebra = "f(u[i]) = f(u)[i]"
    rival = True
    exactness = Exactness.EXACT
    ops = frozenset({*UNARY, *BROADCASTING, "MatMul"}) - {"Identity", "PRelu"}

    def match(self, node: Node, at: Workspace) -> Lookup | None:
        read = [v for v in node.inputs if v and not at.is_weight(v)]
        lookup = lookup_of(at.graph.producer(read[0]), at) if len(read) == 1 else None
        if lookup is None:
            return None
        rank, own = at.fact(read[0]).rank or 0, at.fact(lookup.rows).rank or 0
        if lookup.axis == own - 1 or at.fact(node.output).rank != rank:
            return None
        if node.op in ("Div", "Mod") and at.fact(node.output).dtype not in FLOATS:
            # A zero in a row that nobody chooses would stop the division of whole numbers.
            return None
        others = [at.fact(v).rank for v in node.inputs if v and at.is_weight(v)]
        if node.op == "MatMul":
            return lookup if node.inputs[0] == read[0] and others == [2] else None
        # What has a single axis meets the last one of each row.
        return lookup if all(other is not None and other < 2 for other in others) else None

    def rewrite(self, node: Node, found: Lookup, at: Workspace) -> Sequence[str]:
        inputs = [v if at.is_weight(v) or not v else found.rows for v in node.inputs]
        rows = at.emit(node.op, inputs, **dict(node.attrs))
        return [at.emit("Gather", [rows, found.indices], axis=found.axis)]
