"""After the rules: constants folded, nothing dead."""

from __future__ import annotations

from dataclasses import replace

from mari_onnx.ir.graph import Graph, Node
from mari_onnx.normalise import fold_constants, rebuilt, without_dead_nodes


def tidy(graph: Graph) -> Graph:
    """The graph as it is written: outputs made by the nodes that compute them, constants folded, nothing dead."""
    graph = without_keepers(fold_constants(without_dead_nodes(graph)))
    return without_dead_nodes(graph)


def without_keepers(graph: Graph) -> Graph:
    """Lets the producer of a value make a graph output directly instead of through an Identity of ours."""
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        if node.op != "Identity" or not node.rule or not graph.is_output(node.output):
            continue
        source = node.inputs[0]
        producer = graph.producer(source)
        if producer is not None and not graph.is_pinned(source) and source not in renamed:
            renamed[source] = node.output
    dropped = {v for k, v in renamed.items()}
    nodes = [
        _renamed(node, renamed)
        for node in graph.nodes
        if not (node.op == "Identity" and node.rule and node.output in dropped)
    ]
    return rebuilt(graph, nodes)


def _renamed(node: Node, names: dict[str, str]) -> Node:
    if not any(v in names for v in (*node.inputs, *node.outputs)):
        return node
    return replace(
        node,
        inputs=tuple(names.get(v, v) for v in node.inputs),
        outputs=tuple(names.get(v, v) for v in node.outputs),
    )
