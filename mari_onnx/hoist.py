"""User-side work for one candidate, and an Expand wherever something that is not user-side needs the result.

This is right whatever the consumer is, for the Expand *is* the value that was there before.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from mari_onnx.analysis import Analysis, InputSide
from mari_onnx.analysis.facts import Fact
from mari_onnx.ir.captures import reading_instead
from mari_onnx.ir.dims import alike
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.normalise import constant_values
from mari_onnx.rewrite.lifting import BROADCAST_RULE
from mari_onnx.rewrite.settle import settle_sizes
from mari_onnx.rewrite.workspace import Workspace


def hoist(graph: Graph, analysis: Analysis) -> Workspace:
    """Puts every user-side node at batch 1.

    Args:
        graph: The graph; edited in place.
        analysis: Its facts.

    Returns:
        The graph at work, ready for the rules.
    """
    workspace = Workspace(graph, analysis)
    for name in analysis.inputs.on(InputSide.USER):
        if not workspace.lifting.can_repeat(workspace.fact(name)):
            continue
        if graph.is_output(name):
            _take_first_row(workspace, name)
        else:
            _narrow_input(workspace, name)
    for node in graph.sorted_nodes():
        if node.rule != BROADCAST_RULE:
            workspace.lift(node)
    workspace.settle()
    settle_sizes(workspace)
    _fold_rows(workspace)
    graph.commit()
    return workspace


def _fold_rows(workspace: Workspace) -> None:
    """Evaluates what was made for every candidate of constants and sizes alone, as masks are."""
    for made in constant_values(workspace.graph).values():
        node = workspace.graph.producer(next(iter(made)))
        if node is None or not all(node.outputs) or any(map(workspace.graph.is_pinned, node.outputs)):
            continue
        # Where nothing is known of the sizes, a constant would be another shape to whoever reads it.
        if all(alike(workspace.fact(v).shape, array.shape) for v, array in made.items()):
            workspace.replace(node, [workspace.weight(made[v]) for v in node.outputs])
    workspace.settle()


def _take_first_row(workspace: Workspace, name: str) -> None:
    """An input that is an output as well stays as it is; its first row is what is used for one candidate."""
    axis = workspace.inputs.axes[name]
    bounds = [workspace.weight(np.array([b], np.int64), "mari/row") for b in (0, 1, axis)]
    fact = workspace.fact(name)
    row = workspace.graph.unique_name(f"{name}/once")
    workspace.graph.insert(
        Node("Slice", (name, *bounds), (row,), name=row, rule=BROADCAST_RULE), (-1, len(workspace.singles))
    )
    workspace.facts[row] = _one_row(fact)
    workspace.note_single(name, row)


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
    workspace.lifting.repeat(name, repeated, fact)
    for consumer in consumers:
        order = graph.order(consumer)
        graph.remove(consumer)
        graph.insert(reading_instead(consumer, {name: repeated}), order)


def _one_row(fact: Fact) -> Fact:
    return replace(fact, shape=fact.single_shape, axis=None, varies=False)
