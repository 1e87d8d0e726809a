"""What ONNX Runtime takes, though the standard or other readers do not, written as all of them understand it."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import onnx
import onnx.inliner

from mari_onnx.ir.subgraphs import all_graphs, captured, subgraphs


def in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its nodes in an order in which each reads what others before it have made.

    ONNX asks for that order; converters that insert nodes at the end of the list leave another one, which ONNX
    Runtime does not mind.

    Returns:
        The model itself where it is in order already, or has a cycle, which the checker tells of.
    """
    makers = {v: index for index, node in enumerate(model.graph.node) for v in node.output if v}
    reads = [{makers[v] for v in _reads(node) if v in makers} for node in model.graph.node]
    if all(max(before, default=-1) < index for index, before in enumerate(reads)):
        return model
    try:
        order = list(TopologicalSorter(dict(enumerate(reads))).static_order())
    except CycleError:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(model.graph.node[index] for index in order)
    return result


def _reads(node: onnx.NodeProto) -> list[str]:
    return [v for v in node.input if v] + [v for inner in subgraphs(node) for v in captured(inner)]


def with_open_sizes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with sizes below 0 left open, as ONNX Runtime reads them.

    Returns:
        The model itself where it has none.
    """
    if not any(_negative_sizes(model)):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for dim in _negative_sizes(result):
        dim.Clear()
    return result


def _negative_sizes(model: onnx.ModelProto) -> Iterator[onnx.TensorShapeProto.Dimension]:
    for graph in all_graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield from (d for d in value.type.tensor_type.shape.dim if d.dim_value < 0)


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions written out where they are called, with the attributes they default to."""
    return onnx.inliner.inline_local_functions(with_stated_defaults(model), convert_version=True)


def with_stated_defaults(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with each call of a local function stating the attributes that it has by default.

    onnx's inliner forgets them.
    """
    defaults = {(f.domain, f.name, f.overload): list(f.attribute_proto) for f in model.functions}
    if not any(defaults.values()):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    calls = [n for graph in all_graphs(result.graph) for n in graph.node]
    for function in result.functions:
        calls += function.node
        calls += [n for node in function.node for inner in subgraphs(node) for g in all_graphs(inner) for n in g.node]
    for node in calls:
        stated = {a.name for a in node.attribute}
        missing = defaults.get((node.domain, node.op_type, node.overload), [])
        node.attribute.extend(a for a in missing if a.name not in stated)
    return result
