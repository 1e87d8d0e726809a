"""Rows looked up one by one, as the lookup of rows that they are: PyTorch's exporter writes ``t[j]`` as a GatherND."""

from __future__ import annotations

import numpy as np

from mari_onnx.analysis import Analysis
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.normalise import rebuilt


def plain_lookups(graph: Graph, analysis: Analysis) -> Graph:
    """Writes every GatherND whose indices have one number each as a Gather.

    Returns:
        The graph itself where there is none.
    """
    weights, nodes = dict(graph.weights), list[Node]()
    for node in graph.sorted_nodes():
        nodes += _plain(graph, node, weights) if _is_plain(node, analysis) else [node]
    return rebuilt(graph, nodes, weights) if len(nodes) > len(graph) else graph


def _is_plain(node: Node, analysis: Analysis) -> bool:
    if node.op != "GatherND" or node.domain or node.attrs.get("batch_dims", 0):
        return False
    shape = analysis.facts[node.inputs[1]].shape
    return bool(shape and shape[-1] == 1) and analysis.facts[node.inputs[0]].shape is not None


def _plain(graph: Graph, node: Node, weights: dict[str, Weight]) -> list[Node]:
    numbers = graph.unique_name(f"{node.inputs[1]}/numbers")
    if graph.opset < 13:
        squeeze = Node("Squeeze", (node.inputs[1],), (numbers,), {"axes": [-1]}, name=numbers)
    else:
        last = graph.unique_name("mari/last")
        weights[last] = Weight.of(np.array([-1], np.int64))
        squeeze = Node("Squeeze", (node.inputs[1], last), (numbers,), name=numbers)
    return [squeeze, Node("Gather", (node.inputs[0], numbers), node.outputs, {"axis": 0}, name=node.name)]
