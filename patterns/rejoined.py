"""All pieces of a value, put together again::

Concat( Split(x) )   ->   x

[x_1, x_2] = x
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import parts_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class Rejoined(Rule[str]):
    """Takes the whole instead of all of its pieces."""

    name = "rejoined"
    algebra = "[x_1, x_2] = x"
    exactness = Exactness.EXACT
    early = True
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> str | None:
        cut, parts = at.graph.producer(node.inputs[0]), parts_of(node.output, at)
        if cut is None or cut.op != "Split" or cut.domain or parts is None or cut.outputs != parts.values:
            return None
        return cut.inputs[0] if int(cut.attrs.get("axis", 0)) % parts.rank == parts.axis else None

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        return [found]
