"""One pass over the graph with concrete input shapes: shapes, small constants, traces, and demands met on the way.

Each node is looked at once, in order. Its output shapes come from ONNX's own inference of that node, given the
constants found so far; so the ladders that compute shapes (Shape, Gather, Concat, Reshape) are followed exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper, shape_inference

from mari_onnx.verification.constraints import Constraints
from mari_onnx.verification.demands import DEMANDS, attribute
from mari_onnx.verification.source import RANDOM_OPERATORS, SMALL_ELEMENTS, Array, ModelSource, inlined, small_array
from mari_onnx.verification.traces import UNKNOWN, Trace, Value
from mari_onnx.verification.transfer import (
    MOVED,
    TRACKED_ELEMENTS,
    TRANSFERS,
    Step,
    is_masked,
    moved,
    run_reference,
)

STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


@dataclass(frozen=True)
class WalkedInput:
    """A graph input during the walk: its concrete shape and the number of its first element."""

    name: str
    shape: tuple[int, ...]
    first: int
    tracked: bool


@dataclass(frozen=True)
class Walked:
    """What a walk found."""

    inputs: tuple[WalkedInput, ...]
    constraints: Constraints


def walk(source: ModelSource, shapes: dict[str, tuple[int, ...]]) -> Walked:
    """Follows the inputs, given with concrete shapes, through the graph.

    Args:
        source: the model.
        shapes: the shape of each graph input.

    Returns:
        The demands of the graph on each input element.
    """
    proto = inlined(source.proto)
    values: dict[str, Value] = {}
    inputs, first = [], 0
    for info in proto.graph.input:
        if info.name not in shapes:
            continue
        shape, dtype = shapes[info.name], info.type.tensor_type.elem_type
        count = math.prod(shape)
        tracked = 0 < count <= TRACKED_ELEMENTS and dtype != TensorProto.BOOL
        values[info.name] = Value(dtype, shape, trace=Trace.of_inputs(first, count) if tracked else None)
        inputs.append(WalkedInput(info.name, shape, first, tracked))
        first += count if tracked else 0
    walker = _Walker(Constraints.of(first), tuple(proto.opset_import), source.folder, _declared(proto.graph))
    walker.graph(proto.graph, values)
    return Walked(tuple(inputs), walker.found)


def _declared(graph: onnx.GraphProto) -> dict[str, Value]:
    """Tensors whose type and shape the model itself states in full: a help where inference fails."""
    return {info.name: _value_of(info.type) for info in (*graph.value_info, *graph.output)}


def _value_of(proto: onnx.TypeProto) -> Value:
    if not proto.HasField("tensor_type"):
        return UNKNOWN
    tensor = proto.tensor_type
    static = tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)
    shape = tuple(dim.dim_value for dim in tensor.shape.dim) if static else None
    return Value(tensor.elem_type, shape)


@dataclass(frozen=True)
class _Walker:
    found: Constraints
    opsets: tuple[onnx.OperatorSetIdProto, ...]
    folder: str
    declared: dict[str, Value]

    def graph(self, graph: onnx.GraphProto, values: dict[str, Value]) -> None:
        """Walks a graph; `values` holds its inputs and what it may capture, and receives its tensors."""
        for tensor in graph.initializer:
            if tensor.name not in values or values[tensor.name].trace is None:
                values[tensor.name] = self.tensor(tensor)
        for sparse in graph.sparse_initializer:
            values[sparse.values.name] = Value(sparse.values.data_type, tuple(sparse.dims))
        for node in graph.node:
            inputs = tuple(values.get(name, UNKNOWN) if name else UNKNOWN for name in node.input)
            for name, value in zip(node.output, self.node(node, inputs, values), strict=True):
                if name:
                    values[name] = value

    def tensor(self, tensor: TensorProto) -> Value:
        return Value(tensor.data_type, tuple(tensor.dims), small_array(tensor, self.folder))

    def node(self, node: onnx.NodeProto, inputs: tuple[Value, ...], values: dict[str, Value]) -> list[Value]:
        """The values of a node's outputs."""
        standard = node.domain in STANDARD_DOMAINS
        if standard and inputs and node.op_type in DEMANDS:
            self.demand(node, inputs)
        if any(entry.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for entry in node.attribute):
            return self.control_flow(node, inputs, values)
        if node.op_type == "Constant" and standard:
            return [self.constant(node)]
        step = Step(node, inputs, self.opsets)
        outputs = self.inferred(step)
        return self.refined(step, outputs) if standard else outputs

    def demand(self, node: onnx.NodeProto, inputs: tuple[Value, ...]) -> None:
        # A malformed or exotic node must not stop the walk: less is known then, and the runtime has the last word.
        try:
            DEMANDS[node.op_type](node, inputs, self.found)
        except (IndexError, ValueError, TypeError):
            return

    def constant(self, node: onnx.NodeProto) -> Value:
        tensor = attribute(node, "value")
        if isinstance(tensor, TensorProto):
            return self.tensor(tensor)
        step = Step(node, (), self.opsets)
        arrays = run_reference(step, [])
        return _known(arrays[0]) if arrays else UNKNOWN

    def inferred(self, step: Step) -> list[Value]:
        """Types and shapes of the outputs; unknown where inference or the inputs fail."""
        node = step.node
        types, data = {}, {}
        for name, value in zip(node.input, step.inputs, strict=True):
            if name and value.dtype:
                types[name] = onnx.helper.make_tensor_type_proto(value.dtype, value.shape)
            if name and value.const is not None and value.const.dtype.kind in "biuf":
                data[name] = numpy_helper.from_array(np.ascontiguousarray(value.const), name)
        try:
            version = next(entry.version for entry in step.opsets if entry.domain in (node.domain, _alias(node.domain)))
            schema = onnx.defs.get_schema(node.op_type, version, "" if node.domain == "ai.onnx" else node.domain)
            found = shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=list(step.opsets))
        except Exception:  # custom operators, unknown input types, shapes that do not fit: each with its own exception
            found = {}
        return [_value_of(found[name]) if name in found else self.declared.get(name, UNKNOWN) for name in node.output]

    def refined(self, step: Step, outputs: list[Value]) -> list[Value]:
        """Adds constants and traces to the inferred outputs."""
        op_type = step.node.op_type
        if folded := _folded(step, outputs):
            return folded
        binary = bool(step.inputs) and (op_type in MOVED or op_type == "Cast") and _is_mask(step.inputs[0])
        masked = op_type == "Mul" and is_masked(step.inputs)
        outputs = [replace(v, binary=binary or v.dtype == TensorProto.BOOL, masked=masked) for v in outputs]
        traces: Sequence[Trace | None] | None = None
        if any(value.trace is not None for value in step.inputs):
            traces = moved(step) if op_type in MOVED else [_transferred(step)] if op_type in TRANSFERS else None
        if traces is None:
            return outputs
        traces = [*traces, *[None] * (len(outputs) - len(traces))]
        return [self.traced(step, value, trace) for value, trace in zip(outputs, traces, strict=True)]

    def traced(self, step: Step, value: Value, trace: Trace | None) -> Value:
        if trace is None or value.size != trace.source.size or not _same_kind(step.inputs, value):
            return value
        if step.node.op_type == "Cast" and _is_integer(value.dtype):
            self.found.whole(trace)
        return replace(value, trace=trace)

    def control_flow(self, node: onnx.NodeProto, inputs: tuple[Value, ...], values: dict[str, Value]) -> list[Value]:
        """If, Loop and Scan: bodies are walked for their demands; results are known only for a decided If."""
        if node.op_type == "If":
            return self.branches(node, inputs[0], values)
        for entry in node.attribute:
            if entry.type == AttributeProto.GRAPH:
                inner = dict(values)
                for info in entry.g.input:
                    # A state may change its shape from round to round, so only its type is certain.
                    inner[info.name] = Value(info.type.tensor_type.elem_type)
                self.graph(entry.g, inner)
        return [self.declared.get(name, UNKNOWN) for name in node.output]

    def branches(self, node: onnx.NodeProto, condition: Value, values: dict[str, Value]) -> list[Value]:
        names = ["then_branch", "else_branch"]
        if condition.const is not None:
            names = [names[0] if condition.const.ravel()[0] else names[1]]
        results = []
        for name in names:
            inner, branch = dict(values), attribute(node, name)
            self.graph(branch, inner)
            results.append([inner.get(output.name, UNKNOWN) for output in branch.output])
        if len(results) == 1:
            return results[0]
        return [
            Value(one.dtype, one.shape) if (one.dtype, one.shape) == (two.dtype, two.shape) else UNKNOWN
            for one, two in zip(*results, strict=True)
        ]


def _alias(domain: str) -> str:
    return {"": "ai.onnx", "ai.onnx": ""}.get(domain, domain)


def _known(array: Array) -> Value:
    return Value(onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array)


def _folded(step: Step, outputs: list[Value]) -> list[Value] | None:
    """The outputs as constants, when every input is one and the result is small."""
    node = step.node
    if node.op_type in ("Shape", "Size"):
        if step.inputs[0].shape is None:
            return None
        arrays = run_reference(step, [np.broadcast_to(np.False_, step.inputs[0].shape)])
    elif _foldable(step, outputs):
        arrays = run_reference(step, [value.const for value in step.inputs])
    else:
        return None
    if arrays is None or len(arrays) != len(outputs):
        return None
    known = [_known(array) for array in arrays]
    return [replace(one, dtype=value.dtype or one.dtype) for one, value in zip(known, outputs, strict=True)]


def _foldable(step: Step, outputs: list[Value]) -> bool:
    if step.node.op_type in (*RANDOM_OPERATORS, "Dropout"):
        return False
    if any((value.size or 0) > SMALL_ELEMENTS for value in outputs):
        return False
    return all(value.const is not None for name, value in zip(step.node.input, step.inputs, strict=True) if name)


def _transferred(step: Step) -> Trace | None:
    return TRANSFERS[step.node.op_type](step)


def _is_mask(value: Value) -> bool:
    return value.binary or value.dtype == TensorProto.BOOL


def _is_integer(dtype: int) -> bool:
    return dtype in (
        TensorProto.INT8,
        TensorProto.INT16,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.UINT8,
        TensorProto.UINT16,
        TensorProto.UINT32,
        TensorProto.UINT64,
    )


def _same_kind(inputs: Sequence[Value], output: Value) -> bool:
    """Numbers stay numbers and strings stay strings; truth values are not followed."""
    if output.dtype == TensorProto.BOOL:
        return False
    strings = {value.dtype == TensorProto.STRING for value in inputs if value.trace is not None}
    return strings == {output.dtype == TensorProto.STRING}
