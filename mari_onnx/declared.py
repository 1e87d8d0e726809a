"""What a model says of types and sizes: put right where it is not so, added where ONNX Runtime has to be told."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from mari_onnx.analysis import Analysis
from mari_onnx.analysis.facts import Shape
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.normalise import has_subgraph
from mari_onnx.positions import sizes


def with_right_outputs(graph: Graph, analysis: Analysis) -> Graph:
    """The graph with what is proven of an output's sizes in place of declared ones that contradict it.

    Converters write the shape that an output has in simpler models. ONNX Runtime warns, and computes what it does;
    checkers that infer sizes refuse such a model.

    Returns:
        The graph itself where nothing does.
    """
    right = {name: _put_right(value, sizes(analysis, name)) for name, value in graph.outputs.items()}
    if right == graph.outputs:
        return graph
    return Graph(graph.model, graph.opset, graph.inputs, right, graph.weights, graph.nodes)


def corrections(before: Mapping[str, onnx.ValueInfoProto], after: Mapping[str, onnx.ValueInfoProto]) -> list[str]:
    """For each output that is declared with other sizes now, what was said of it and what is so."""
    changed = [name for name in before if before[name] != after[name]]
    return [f"'{name}' is {_shown(after[name])}, not {_shown(before[name])}" for name in changed]


def declare_what_bodies_read(model: onnx.ModelProto, graph: Graph, analysis: Analysis) -> None:
    """Adds types and sizes of the values that bodies read, to a model that was written.

    When it loads a model, ONNX Runtime wants to know how many axes they have, and does not infer that of an Expand.
    Bodies are subgraphs, and those that the standard gives operators which ONNX Runtime has nothing of its own for.

    Args:
        model: The result.
        graph: The same as a graph.
        analysis: What is proven of it.
    """
    stated = {*graph.inputs, *graph.outputs, *graph.weights, *(v.name for v in model.graph.value_info)}
    nodes = graph.sorted_nodes()
    read = dict.fromkeys(v for node in nodes if has_subgraph(node) for v in node.reads)
    read |= dict.fromkeys(
        v for node in nodes if _has_body(node, graph.opset) for v in node.reads if _is_expanded(v, graph)
    )
    for value in read:
        fact = analysis.facts.get(value)
        if value in stated or fact is None or not fact.dtype or fact.shape is None:
            continue
        shape = [d if isinstance(d, int) else None for d in sizes(analysis, value) or ()]
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(value, fact.dtype, shape))


def _has_body(node: Node, opset: int) -> bool:
    """Whether the standard says how to write an operator out, given the types that it reads."""
    try:
        schema = onnx.defs.get_schema(node.op, opset, node.domain)
    except onnx.defs.SchemaError:
        return False
    return bool(getattr(schema, "has_context_dependent_function", False))  # which its stubs do not know


def _is_expanded(value: str, graph: Graph) -> bool:
    node = graph.producer(value)
    return node is not None and node.kind == "Expand"


def _put_right(value: onnx.ValueInfoProto, shape: Shape | None) -> onnx.ValueInfoProto:
    """An output with a shape that does not contradict the one that it has."""
    tensor = value.type.tensor_type
    if shape is None or not tensor.HasField("shape"):
        return value
    declared = list(tensor.shape.dim)
    if len(declared) != len(shape):
        declared = [onnx.TensorShapeProto.Dimension() for _ in shape]
    right = onnx.ValueInfoProto()
    right.CopyFrom(value)
    del right.type.tensor_type.shape.dim[:]
    for dim, size in zip(declared, shape, strict=True):
        kept = right.type.tensor_type.shape.dim.add()
        kept.CopyFrom(dim)
        stated = dim.HasField("dim_value") or len(tensor.shape.dim) != len(shape)
        if isinstance(size, int) and stated:
            kept.dim_value = size
    return right


def _shown(value: onnx.ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return f"[{', '.join(str(d.dim_value) if d.HasField('dim_value') else d.dim_param or '?' for d in dims)}]"
