"""After the rules: names as they were, constant sizes as constants, nothing dead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mari_onnx.analysis import Analysis
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.normalise import fold_constants, rebuilt, without_dead_nodes


def tidy(graph: Graph, original: Graph) -> Graph:
    """The graph as it is written.

    Args:
        graph: The graph, not changed.
        original: The graph as it was read: its names are used again, its nameless nodes stay nameless.
    """
    graph = without_keepers(fold_constants(without_dead_nodes(graph)))
    graph = rebuilt(graph, graph.sorted_nodes())
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


def constant_sizes(graph: Graph, analysis: Analysis) -> Graph:
    """Reshape targets as constants where at most one size is open."""
    weights, nodes = dict(graph.weights), []
    for node in graph.nodes:
        target = _constant_target(node, analysis)
        if target is None:
            nodes.append(node)
            continue
        name = graph.unique_name(f"{node.output}/sizes")
        weights[name] = Weight.of(np.array(target, np.int64))
        nodes.append(node.reading((node.inputs[0], name)))
    return rebuilt(graph, nodes, weights)


def _constant_target(node: Node, analysis: Analysis) -> list[int] | None:
    if node.op != "Reshape" or node.domain:
        return None
    content, shape = analysis.facts[node.inputs[1]].content, analysis.facts[node.output].shape
    if content is None or content.integers() is not None or shape is None:
        return None
    open_sizes = [d for d in shape if not isinstance(d, int)]
    if len(open_sizes) > 1 or 0 in [d for d in shape if isinstance(d, int)]:
        return None
    return [d if isinstance(d, int) else -1 for d in shape]
