"""What follows from known sizes, as constants: scales such as the root of a width, masks of so many steps."""

from __future__ import annotations

from mari_onnx.analysis import Analysis
from mari_onnx.analysis.transfer import RANDOM
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.normalise import has_subgraph, rebuilt


def fix_sizes(graph: Graph, analysis: Analysis) -> Graph:
    """Lets operators that read nothing but constants and known sizes read the sizes as constants, to be folded.

    Returns:
        The graph itself where there is no such operator, or where the number of candidates is one of the sizes.
    """
    if analysis.inputs.batch is not None:
        return graph
    weights, nodes = dict(graph.weights), list[Node]()
    for node in graph.sorted_nodes():
        fixed = None if _is_special(node) else _fixed(graph, analysis, node, weights)
        nodes.append(node if fixed is None else node.reading(fixed))
    return rebuilt(graph, nodes, weights) if len(weights) > len(graph.weights) else graph


def _is_special(node: Node) -> bool:
    return bool(node.domain) or has_subgraph(node) or node.op in RANDOM


def _fixed(graph: Graph, analysis: Analysis, node: Node, weights: dict[str, Weight]) -> list[str] | None:
    """The inputs of a node with constants for known sizes, where all are known and some are no constants yet."""
    given = [v for v in node.inputs if v]
    sizes = {v: analysis.facts[v].numbers for v in given if v not in graph.weights}
    made = [analysis.facts[v].integers for v in node.outputs if v]
    if not sizes or any(a is None for a in sizes.values()) or None not in made:
        return None
    names = {}
    for value, array in sizes.items():
        assert array is not None
        names[value] = graph.unique_name(f"{value}/known")
        weights[names[value]] = Weight.of(array)
    return [names.get(v, v) for v in node.inputs]
