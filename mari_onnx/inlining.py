"""The nodes of a subgraph as nodes of the graph around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx

from mari_onnx.ir.captures import reading_instead
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.ir.proto import read_nodes, read_weight


def inlined(
    graph: Graph, node: Node, body: onnx.GraphProto, given: Mapping[str, str], weights: dict[str, Weight]
) -> tuple[list[Node], list[str]]:
    """The nodes of a body with names of their own.

    Args:
        graph: The graph around it.
        node: The node that has the body.
        body: The body, without sparse weights.
        given: For each of its inputs, the value outside that it is.
        weights: Those of the new graph, to which the body's are added.

    Returns:
        The nodes, and the values that the body's outputs are.
    """
    names = dict(given)
    for tensor in body.initializer:
        names[tensor.name] = graph.unique_name(f"{node.name}/{tensor.name}")
        weights[names[tensor.name]] = read_weight(tensor, None)
    inner = read_nodes(body)
    for value in (v for n in inner for v in n.outputs if v):
        names[value] = graph.unique_name(f"{node.name}/{value}")
    nodes = [_renamed(n, node, names, graph) for n in inner]
    return nodes, [names.get(result.name, result.name) for result in body.output]


def _renamed(inner: Node, outer: Node, names: Mapping[str, str], graph: Graph) -> Node:
    """The node under a name that no other one has: ONNX Runtime loads no graph with two of one name."""
    inner = reading_instead(inner, names)
    outputs = tuple(names.get(v, v) for v in inner.outputs)
    name = graph.unique_name(f"{outer.name}/{inner.name or outputs[0]}")
    source = inner.source
    if source is not None:
        source = onnx.NodeProto()
        source.CopyFrom(inner.source)
        source.name = name
    return replace(inner, outputs=outputs, name=name, source=source)
