"""Rows looked up one by one, as a lookup of rows::

    GatherND( table, j: [.., 1] )   ->   Gather( table, j: [..] )

    table[(j)] = table[j]

PyTorch's exporter writes ``table[j]`` like this; Gather is what other rules know.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class PlainLookup(Rule[Shape]):
    """Writes a GatherND of whole rows as the Gather that it is."""

    name = "plain-lookup"
    algebra = "table[(j)] = table[j]"
    exactness = Exactness.EXACT
    early = True
    clearing = True
    ops = frozenset({"GatherND"})

    def match(self, node: Node, at: Workspace) -> Shape | None:
        shape = at.fact(node.inputs[1]).shape
        if not shape or shape[-1] != 1 or node.attrs.get("batch_dims", 0) or at.fact(node.inputs[0]).shape is None:
            return None
        return shape[:-1] if all(map(at.sizes.can_build, shape)) else None

    def rewrite(self, node: Node, found: Shape, at: Workspace) -> Sequence[str]:
        return [at.emit("Gather", [node.inputs[0], at.reshape(node.inputs[1], found)], axis=0)]
