"""An If whose condition is known from the sizes of the model: exporters write one for a Squeeze of an unknown axis."""

from __future__ import annotations

import onnx

from mari_onnx.analysis import Analysis
from mari_onnx.inlining import inlined
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.normalise import rebuilt


def take_branches(graph: Graph, analysis: Analysis) -> Graph:
    """Replaces every If whose condition is known by the branch that is taken.

    Returns:
        The graph itself where there is none.
    """
    weights = dict(graph.weights)
    nodes: list[Node] = []
    taken = False
    for node in graph.sorted_nodes():
        branch = _branch(node, analysis)
        if branch is None or branch.sparse_initializer:
            nodes.append(node)
            continue
        taken = True
        nodes += _inlined(graph, node, branch, weights)
    return rebuilt(graph, nodes, weights) if taken else graph


def _branch(node: Node, analysis: Analysis) -> onnx.GraphProto | None:
    if node.op != "If" or node.domain:
        return None
    known = analysis.facts[node.inputs[0]].integers
    if known is None or len(known) != 1:
        return None
    attribute = node.attrs["then_branch" if known[0] else "else_branch"]
    return attribute.g if isinstance(attribute, onnx.AttributeProto) else None


def _inlined(graph: Graph, node: Node, branch: onnx.GraphProto, weights: dict[str, Weight]) -> list[Node]:
    """The nodes of a branch with names of their own, and its results under the names of the If's."""
    nodes, results = inlined(graph, node, branch, {}, weights)
    for source, outer in zip(results, node.outputs, strict=True):
        if outer:
            nodes.append(Node("Identity", (source,), (outer,), name=f"{outer}/taken", rule="branch"))
    return nodes
