"""Renaming what a node reads, in its subgraphs as well."""

from __future__ import annotations

from dataclasses import replace

import onnx

from mari_onnx.ir.graph import Node
from mari_onnx.ir.proto import subgraphs


def reading_instead(node: Node, old: str, new: str) -> Node:
    """The node with one value that it reads replaced by another."""
    node = node.reading(new if v == old else v for v in node.inputs)
    if old not in node.captures or node.source is None:
        return node
    source = onnx.NodeProto()
    source.CopyFrom(node.source)
    for inner in subgraphs(source):
        _rename(inner, old, new)
    graphs = {a.name: a for a in source.attribute if isinstance(node.attrs.get(a.name), onnx.AttributeProto)}
    captures = tuple(new if v == old else v for v in node.captures)
    return replace(node, source=source, attrs={**node.attrs, **graphs}, captures=captures)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Renames uses of an outer value, up to where the subgraph makes one of the same name itself."""
    if any(v.name == old for v in graph.input) or any(t.name == old for t in graph.initializer):
        return
    for node in graph.node:
        for index, value in enumerate(node.input):
            if value == old:
                node.input[index] = new
        for inner in subgraphs(node):
            _rename(inner, old, new)
        if old in node.output:
            return
    for output in graph.output:
        if output.name == old:
            output.name = new
