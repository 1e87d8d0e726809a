"""One table asked for the ids of all fields at once::

Gather( table, Concat(ids_u, ids_i) )   ->   Concat( Gather(table, ids_u), Gather(table, ids_i) )

table[[u, i]] = [table[u], table[i]]
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, Run, apply_to_runs, mixed_parts
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class ConcatLookup(Rule[Parts]):
    """Looks the user's ids up once."""

    name = "concat-lookup"
    algebra = "table[[u, i]] = [table[u], table[i]]"
    exactness = Exactness.EXACT
    ops = frozenset({"Gather"})

    def match(self, node: Node, at: Workspace) -> Parts | None:
        table = at.fact(node.inputs[0])
        if table.axis is not None or table.opaque or table.rank is None:
            return None
        return mixed_parts(node.inputs[1], at)

    def rewrite(self, node: Node, found: Parts, at: Workspace) -> Sequence[str]:
        rank = at.fact(node.inputs[0]).rank or 1
        along = int(node.attrs.get("axis", 0)) % rank

        def make(ids: str, run: Run) -> str:
            return at.emit("Gather", [node.inputs[0], ids], axis=along)

        return [apply_to_runs(found, found.axis + along, make, at)]
