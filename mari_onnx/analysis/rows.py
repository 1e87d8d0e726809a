"""Whether a graph can run with given numbers of rows in its inputs, as far as onnx's inference tells."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import shape_inference

from mari_onnx.analysis.content import MAX_ITEMS
from mari_onnx.analysis.infer import proto_of
from mari_onnx.ir.graph import Graph

MANY = 1009
"""A number of candidates that hardly is another size of a model as well."""


SEVERAL = 3
"""A number of rows that is neither one nor that of the candidates."""


def can_run(graph: Graph, rows: Mapping[str, tuple[int, int]]) -> bool:
    """Whether onnx finds no contradiction in the sizes of a graph.

    Args:
        graph: The graph.
        rows: For some inputs an axis, and how many rows there are.
    """
    inputs = [_with_rows(value, rows.get(name)) for name, value in graph.inputs.items()]
    known = {n: w for n, w in graph.weights.items() if w.dtype == onnx.TensorProto.INT64 and w.size <= MAX_ITEMS}
    others = [
        onnx.helper.make_tensor_value_info(name, weight.dtype, weight.shape)
        for name, weight in graph.weights.items()
        if name not in known
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in graph.outputs]
    constants = [onnx.numpy_helper.from_array(weight.load(), name) for name, weight in known.items()]
    nodes = [proto_of(node) for node in graph.nodes]
    skeleton = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "rows", [*inputs, *others], outputs, constants),
        opset_imports=graph.model.opset_import,
        functions=list(graph.model.functions),
        ir_version=max(graph.model.ir_version, 4),  # before, constants had to be inputs as well
    )
    try:
        inferred = shape_inference.infer_shapes(skeleton, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError:
        return False
    sizes = _sizes(inferred.graph)
    return all(_fits(node, sizes) for node in inferred.graph.node)


def _sizes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Sizes that onnx has inferred; 0 where it has not."""
    values = [*graph.input, *graph.value_info]
    known = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    return known | {t.name: list(t.dims) for t in graph.initializer}


def _fits(node: onnx.NodeProto, sizes: Mapping[str, list[int]]) -> bool:
    """Whether what picks or writes entries has as many rows as these, and no more entries along all other axes.

    onnx does not check this.
    """
    if node.op_type not in ("GatherElements", "ScatterElements") or node.domain:
        return True
    data, indices = (sizes.get(name, []) for name in node.input[:2])
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    pairs = [pair for at, pair in enumerate(zip(data, indices, strict=False)) if at != axis % len(data)]
    return all(not size or (index <= size and (size, index) != (MANY, 1)) for size, index in pairs)


def _with_rows(value: onnx.ValueInfoProto, rows: tuple[int, int] | None) -> onnx.ValueInfoProto:
    if rows is None:
        return value
    result = onnx.ValueInfoProto()
    result.CopyFrom(value)
    axis, count = rows
    result.type.tensor_type.shape.dim[axis].dim_value = count
    return result
