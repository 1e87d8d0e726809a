"""What a model says of its outputs, put right where it is not so: checkers that infer sizes refuse it.

Converters write the shape that an output would have in a simpler model. ONNX Runtime warns, and computes what it does.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from mari_onnx.analysis import Analysis
from mari_onnx.analysis.facts import Shape
from mari_onnx.ir.graph import Graph
from mari_onnx.positions import sizes


def with_right_outputs(graph: Graph, analysis: Analysis) -> Graph:
    """The graph with what is proven of an output's sizes in place of declared ones that contradict it.

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
