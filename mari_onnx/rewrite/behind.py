"""Where a Concat has got stuck."""

from __future__ import annotations

from mari_onnx.ir.graph import Graph, Node

MAX_CHAIN = 3
"""How far up a Concat is looked for that could be brought to a node that waits for it."""


def behind_concat(node: Node | None, graph: Graph) -> Node | None:
    """The node in a chain, followed upwards, that reads a Concat.

    Args:
        node: Where the chain ends.
        graph: What it is part of.
    """
    for _ in range(MAX_CHAIN):
        if node is None or node.kind == "Concat" or not node.inputs:
            return None
        before = graph.producer(_joined(node, graph))
        if before is not None and before.kind == "Concat":
            return node
        node = before
    return None


def _joined(node: Node, graph: Graph) -> str:
    """The input that would be joined: of a lookup in a table, what is looked up."""
    return node.inputs[1] if node.kind == "Gather" and node.inputs[0] in graph.weights else node.inputs[0]
