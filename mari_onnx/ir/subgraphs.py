"""The graphs inside nodes: what they read from around them, and what names they use up."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import AttributeProto


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and, in order, each graph nested in it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from all_graphs(inner)


def captured(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Values that a subgraph reads from the graphs around it, in the order of their first use."""
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {t.values.name for t in graph.sparse_initializer}
    outer: dict[str, None] = {}
    for node in graph.node:
        reads = [v for v in node.input if v]
        reads += [v for inner in subgraphs(node) for v in captured(inner)]
        outer.update((v, None) for v in reads if v not in own)
        own.update(node.output)
    outer.update((v.name, None) for v in graph.output if v.name not in own)
    return tuple(outer)


def made_inside(node: onnx.NodeProto) -> Iterator[str]:
    """The names of the values that the subgraphs of a node make, however deep: they hide outer ones."""
    for graph in (g for inner in subgraphs(node) for g in all_graphs(inner)):
        yield from (v.name for v in graph.input)
        yield from (t.name for t in graph.initializer)
        yield from (t.values.name for t in graph.sparse_initializer)
        yield from (v for n in graph.node for v in n.output)
