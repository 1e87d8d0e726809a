"""From ``ModelProto`` to :class:`Graph` and back, losing nothing that the rewrites did not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto

from mari_onnx.errors import ModelError
from mari_onnx.ir.external import is_external, read_external
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.ir.subgraphs import captured, subgraphs
from mari_onnx.ir.surgeon import node_protos

_SUBGRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)

DEFAULT = ("", "ai.onnx")
"""The two names of one operator set."""


def default_set(model: onnx.ModelProto) -> int | None:
    """The version of the ai.onnx set that a model imports."""
    return next((o.version for o in model.opset_import if o.domain in DEFAULT), None)


def read_graph(model: onnx.ModelProto, folder: Path | None = None) -> Graph:
    """The main graph of a model.

    Args:
        model: Local functions inlined; external data need not be loaded.
        folder: Where files of external data lie, if any.

    Raises:
        ModelError: No ai.onnx operator set is imported.
    """
    opset = default_set(model)
    if opset is None:
        raise ModelError("the model imports no ai.onnx operator set, so its nodes have no defined meaning")
    graph = model.graph
    weights = {t.name: read_weight(t, folder) for t in graph.initializer}
    weights |= {t.values.name: _sparse_weight(t) for t in graph.sparse_initializer}
    inputs = {v.name: v for v in graph.input if v.name not in weights}
    return Graph(
        model,
        opset,
        inputs,
        {v.name: v for v in graph.output},
        weights,
        read_nodes(graph),
    )


def write_model(graph: Graph) -> onnx.ModelProto:
    """A model with the graph's nodes and weights, and everything else as it was.

    The weights that came with the model are written back as they came, so external data stays where it is. Types of
    values that the source model notes are kept where nobody can infer them: for operators of other domains.
    """
    source = graph.model
    nodes = graph.sorted_nodes()
    result = onnx.ModelProto()
    result.CopyFrom(_without_graph(source))
    _describe(result.graph, source.graph)
    result.graph.node.extend(node_protos(nodes))
    needed = {v for node in nodes for v in node.reads} | set(graph.outputs)
    sparse = {t.values.name: t for t in source.graph.sparse_initializer if t.values.name in needed}
    result.graph.sparse_initializer.extend(sparse.values())
    for name, weight in graph.weights.items():
        if name in needed and name not in sparse:
            result.graph.initializer.append(_tensor(name, weight))
    result.graph.input.extend(graph.inputs.values())
    # Weights are not inputs as well, as they had to be before version 4: rules have changed some and not others.
    result.ir_version = max(result.ir_version, 4)
    result.graph.output.extend(graph.outputs.values())
    # What can be inferred is not said: it may be out of date, and ONNX Runtime plans its buffers by it.
    made = {v for node in nodes if not node.rule and not onnx.defs.has(node.op, node.domain) for v in node.outputs}
    result.graph.value_info.extend(v for v in source.graph.value_info if v.name in made)
    return result


def read_nodes(graph: onnx.GraphProto) -> list[Node]:
    """The nodes of a graph or subgraph."""
    return [_node(n) for n in graph.node]


def _node(proto: onnx.NodeProto) -> Node:
    outer: dict[str, None] = {}
    for inner in subgraphs(proto):
        outer.update((v, None) for v in captured(inner))
    return Node(
        op=proto.op_type,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attrs={a.name: _attribute(a) for a in proto.attribute},
        domain="" if proto.domain == "ai.onnx" else proto.domain,
        name=proto.name,
        captures=tuple(outer),
        source=proto,
    )


def _attribute(attribute: AttributeProto) -> Any:
    if attribute.type in _SUBGRAPHS or attribute.ref_attr_name:
        return attribute
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    single = (int, float, str, onnx.TensorProto, onnx.SparseTensorProto, onnx.TypeProto)
    return value if isinstance(value, single) else list(value)


def constant_value(node: Node) -> np.ndarray | None:
    """The numbers of a Constant node, where they lie in the model itself and are no strings."""
    if node.op != "Constant" or node.domain or len(node.attrs) != 1:
        return None
    ((name, value),) = node.attrs.items()
    if name == "value" and not is_external(value):
        return onnx.numpy_helper.to_array(value)
    dtypes = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    return np.array(value, dtypes[name]) if name in dtypes else None


def read_weight(tensor: onnx.TensorProto, folder: Path | None) -> Weight:
    """A weight whose numbers are read when they are asked for."""

    def load() -> np.ndarray:
        if is_external(tensor):
            return read_external(tensor, folder or Path())
        return onnx.numpy_helper.to_array(tensor)

    return Weight(tensor.data_type, tuple(tensor.dims), load, tensor)


def _sparse_weight(tensor: onnx.SparseTensorProto) -> Weight:
    def load() -> np.ndarray:
        values = onnx.numpy_helper.to_array(tensor.values)
        indices = onnx.numpy_helper.to_array(tensor.indices)
        dense = np.zeros(tuple(tensor.dims), values.dtype)
        if indices.ndim == 2:
            dense[tuple(indices.T)] = values
        else:
            dense.reshape(-1)[indices] = values
        return dense

    return Weight(tensor.values.data_type, tuple(tensor.dims), load)


def _tensor(name: str, weight: Weight) -> onnx.TensorProto:
    if weight.source is None:
        return onnx.numpy_helper.from_array(weight.load(), name)
    if weight.source.name == name:
        return weight.source
    renamed = onnx.TensorProto()
    renamed.CopyFrom(weight.source)
    renamed.name = name
    return renamed


def _without_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """The fields of a model beside its graph; copying the graph as well would copy the weights."""
    shell = onnx.ModelProto()
    for descriptor, value in model.ListFields():
        if descriptor.name == "graph":
            continue
        if isinstance(value, (int, str)):
            setattr(shell, descriptor.name, value)
        else:
            getattr(shell, descriptor.name).MergeFrom(value)
    return shell


def _describe(target: onnx.GraphProto, source: onnx.GraphProto) -> None:
    target.name = source.name or "main_graph"
    if source.doc_string:
        target.doc_string = source.doc_string
    target.quantization_annotation.extend(source.quantization_annotation)
    target.metadata_props.extend(source.metadata_props)
