"""User-side work for one candidate, and an Expand wherever something that is not user-side needs the result.

This is right whatever the consumer is, for the Expand *is* the value that was there before.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from mari_onnx.analysis import Analysis, InputSide
from mari_onnx.analysis.facts import Fact
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.ir.proto import subgraphs
from mari_onnx.rewrite.workspace import Workspace


def hoist(graph: Graph, analysis: Analysis, *, keep_signature: bool = False) -> Workspace:
    """Puts every user-side node at batch 1.

    Args:
        graph: The graph; edited in place.
        analysis: Its facts.
        keep_signature: User inputs keep all their rows, and row 0 is taken inside.

    Returns:
        The graph at work, ready for the rules.
    """
    workspace = Workspace(graph, analysis)
    nodes = graph.sorted_nodes()
    for name in analysis.inputs.on(InputSide.USER):
        if keep_signature or graph.is_output(name):
            _take_first_row(workspace, name)
        else:
            _narrow_input(workspace, name)
    for node in nodes:
        if node in graph:
            workspace.lift(node)
    workspace.settle()
    graph.commit()
    return workspace


def _take_first_row(workspace: Workspace, name: str) -> None:
    """The input stays as it is; its first row is what is used for one candidate."""
    axis = workspace.inputs.axes[name]
    bounds = [workspace.weight(np.array([b], np.int64), "mari/row") for b in (0, 1, axis)]
    fact = workspace.fact(name)
    row = workspace.graph.unique_name(f"{name}/once")
    workspace.graph.insert(Node("Slice", (name, *bounds), (row,), name=row, rule="hoist"), (-1, len(workspace.singles)))
    workspace.facts[row] = _one_row(fact)
    workspace.singles[name] = row


def _narrow_input(workspace: Workspace, name: str) -> None:
    """The input gets one row, and all that read it read its repetition."""
    graph, axis = workspace.graph, workspace.inputs.axes[name]
    declared = onnx.ValueInfoProto()
    declared.CopyFrom(graph.inputs[name])
    declared.type.tensor_type.shape.dim[axis].dim_value = 1
    graph.inputs[name] = declared
    fact = workspace.fact(name)
    repeated = graph.unique_name(f"{name}/repeated")
    consumers = graph.consumers(name)
    workspace.facts[name] = _one_row(fact)
    workspace.repeat(name, repeated, fact)
    for consumer in consumers:
        order = graph.order(consumer)
        graph.remove(consumer)
        graph.insert(_reading_instead(consumer, name, repeated), order)


def _one_row(fact: Fact) -> Fact:
    return replace(fact, shape=fact.single_shape, axis=None, varies=False)


def _reading_instead(node: Node, old: str, new: str) -> Node:
    """The node with one value it reads replaced, in its subgraphs as well."""
    node = node.reading(new if v == old else v for v in node.inputs)
    if old not in node.captures or node.source is None:
        return node
    source = onnx.NodeProto()
    source.CopyFrom(node.source)
    for inner in subgraphs(source):
        _rename_captured(inner, old, new)
    attrs = {a.name: a if a.name in node.attrs and isinstance(node.attrs[a.name], onnx.AttributeProto) else node.attrs[a.name] for a in source.attribute}
    captures = tuple(new if v == old else v for v in node.captures)
    return replace(node, source=source, attrs=attrs, captures=captures)


def _rename_captured(graph: onnx.GraphProto, old: str, new: str) -> None:
    if any(v.name == old for v in graph.input) or any(t.name == old for t in graph.initializer):
        return
    for node in graph.node:
        for index, value in enumerate(node.input):
            if value == old:
                node.input[index] = new
        for inner in subgraphs(node):
            _rename_captured(inner, old, new)
        if old in node.output:
            return
    for output in graph.output:
        if output.name == old:
            output.name = new
