"""Renaming what a node reads, in its subgraphs as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx

from mari_onnx.ir.graph import Node
from mari_onnx.ir.subgraphs import subgraphs


def reading_instead(node: Node, names: Mapping[str, str]) -> Node:
    """The node with values that it reads replaced by others, all at once."""
    node = node.reading(names.get(v, v) for v in node.inputs)
    if not names.keys() & set(node.captures) or node.source is None:
        return node
    source = onnx.NodeProto()
    source.CopyFrom(node.source)
    for inner in subgraphs(source):
        _rename(inner, names)
    graphs = {a.name: a for a in source.attribute if isinstance(node.attrs.get(a.name), onnx.AttributeProto)}
    captures = tuple(names.get(v, v) for v in node.captures)
    return replace(node, source=source, attrs={**node.attrs, **graphs}, captures=captures)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Renames uses of outer values, up to where the subgraph makes one of the same name itself."""
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    names = {old: new for old, new in names.items() if old not in own}
    for node in graph.node:
        for index, value in enumerate(node.input):
            node.input[index] = names.get(value, value)
        for inner in subgraphs(node):
            _rename(inner, names)
        names = {old: new for old, new in names.items() if old not in node.output}
    for output in graph.output:
        output.name = names.get(output.name, output.name)
