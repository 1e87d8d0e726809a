"""One table asked for the ids of all fields at once::

Gather( table, Concat(ids_u, ids_i) )   ->   Concat( Gather(table, ids_u), Gather(table, ids_i) )
OneHot( Concat(ids_u, ids_i) )          ->   Concat( OneHot(ids_u), OneHot(ids_i) )

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
    ops = frozenset({"Gather", "OneHot"})

    def match(self, node: Node, at: Workspace) -> Parts | None:
        shared = [at.fact(v) for k, v in enumerate(node.inputs) if k != _ids(node)]
        if any(f.axis is not None or f.opaque or f.rank is None for f in shared):
            return None
        return mixed_parts(node.inputs[_ids(node)], at)

    def rewrite(self, node: Node, found: Parts, at: Workspace) -> Sequence[str]:
        def make(ids: str, run: Run) -> str:
            inputs = [ids if k == _ids(node) else v for k, v in enumerate(node.inputs)]
            return at.emit(node.op, inputs, **dict(node.attrs))

        return [apply_to_runs(found, _axis(node, found, at), make, at)]


def _ids(node: Node) -> int:
    """Which input the ids are."""
    return 1 if node.op == "Gather" else 0


def _axis(node: Node, ids: Parts, at: Workspace) -> int:
    """The axis of the result along which the ids were joined."""
    if node.op == "Gather":
        return ids.axis + int(node.attrs.get("axis", 0)) % (at.fact(node.inputs[0]).rank or 1)
    return ids.axis + (int(node.attrs.get("axis", -1)) % (ids.rank + 1) <= ids.axis)
