"""The original model in double precision: the truth that both models are measured against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from mari_onnx.errors import MariError
from mari_onnx.ir.subgraphs import all_graphs
from mari_onnx.verification.sessions import RunError, open_session, with_weights
from mari_onnx.verification.source import RANDOM_OPERATORS, Array, ModelSource, weight_bytes
from mari_onnx.verification.tables import looked_up_tables, widen_rows

LARGEST_WEIGHTS = 64 << 20  # bytes without tables; the run in double precision takes ten times as much
LARGEST_INTERPRETED = 20 << 20  # bytes; for the reference implementation, which is slow
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
QUANTIZED = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"),
        *("MatMulNBits", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm", "QLinearMatMul", "QLinearConv"),
    }
)
# Attributes that name an element type.
TYPE_ATTRIBUTES = {"Cast": "to", "EyeLike": "dtype", "Range": "dtype", "SequenceEmpty": "dtype"}


@dataclass(frozen=True)
class Float64Reference:
    """The original in double precision, behind whichever engine could run it."""

    engine: Callable[[Mapping[str, Array]], dict[str, Array]]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array] | None:
        """The outputs in double precision, or None where they cannot be had."""
        wide = {name: _widened(array) for name, array in feeds.items()}
        try:
            return self.engine(wide)
        except Exception:  # whatever stops it, the comparison goes on without
            return None


def _widened(array: Array) -> Array:
    # ml_dtypes' bfloat16 has numpy kind "V".
    return array.astype(np.float64) if array.dtype.kind == "f" or array.dtype.name == "bfloat16" else array


def build_reference(source: ModelSource, probe: Mapping[str, Array]) -> tuple[Float64Reference | None, str]:
    """Converts the original to double precision.

    Args:
        source: the original model.
        probe: feeds that it runs on, to find an engine that has all kernels.

    Returns:
        The reference and an empty sentence, or None and the reason.
    """
    tables = looked_up_tables(source.proto.graph, FLOATS)
    size = weight_bytes(source.proto, tables)
    if size > LARGEST_WEIGHTS:
        return None, f"no float64 reference: the weights take {size >> 20} MiB, more than {LARGEST_WEIGHTS >> 20}"
    if draws_numbers(source):
        return None, "no float64 reference: the model draws random numbers"
    if rounds_to_integers(source):
        return None, "no float64 reference: the model rounds to integers, which is no rounding of floats"
    try:
        model = to_double(source, tables)
    except Exception as error:  # unreadable weights, exotic types
        return None, f"no float64 reference: the model cannot be converted ({type(error).__name__})"
    for engine in (_runtime_engine(model, source), _interpreter(model, weight_bytes(model))):
        if engine is not None and Float64Reference(engine).run(probe) is not None:
            return Float64Reference(engine), ""
    return None, "no float64 reference: some operator has no double precision kernel"


def draws_numbers(source: ModelSource) -> bool:
    """Whether the model draws random numbers."""
    return not _operators(source).isdisjoint(RANDOM_OPERATORS)


def rounds_to_integers(source: ModelSource) -> bool:
    """Whether the model computes with integers that stand for floats."""
    return not _operators(source).isdisjoint(QUANTIZED)


def _operators(source: ModelSource) -> set[str]:
    return {node.op_type for graph in all_graphs(source.proto.graph) for node in graph.node}


def _runtime_engine(
    model: onnx.ModelProto, source: ModelSource
) -> Callable[[Mapping[str, Array]], dict[str, Array]] | None:
    try:
        return open_session(source.replaced(model, "float64 reference"), optimize=False).run
    except (MariError, RunError):
        return None


def _interpreter(model: onnx.ModelProto, size: int) -> Callable[[Mapping[str, Array]], dict[str, Array]] | None:
    if size > LARGEST_INTERPRETED:
        return None
    names = [info.name for info in model.graph.output]

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, dict(feeds))
        return {name: np.asarray(array) for name, array in zip(names, results, strict=True)}

    return run


def to_double(source: ModelSource, tables: frozenset[str] = frozenset()) -> onnx.ModelProto:
    """A copy of the model with every float type widened to double.

    Args:
        source: the model; external weights are read.
        tables: weights that stay as they are, where they are; the rows looked up in them are widened.

    Returns:
        The double precision model, weights but those tables inline.
    """
    model = with_weights(source, tables)
    widen_rows(model.graph, tables)
    for graph in all_graphs(model.graph):
        _widen_graph(graph, tables)
    for function in model.functions:
        for node in function.node:
            _widen_node(node)
    return model


def _widen_graph(graph: onnx.GraphProto, tables: frozenset[str]) -> None:
    del graph.value_info[:]  # stale after the change, and not needed
    for info in (*graph.input, *graph.output):
        _widen_type(info.type)
    for tensor in graph.initializer:
        if tensor.name not in tables:
            _widen_tensor(tensor)
    for node in graph.node:
        _widen_node(node)


def _widen_type(proto: onnx.TypeProto) -> None:
    kind = proto.WhichOneof("value")
    if kind == "tensor_type" and proto.tensor_type.elem_type in FLOATS:
        proto.tensor_type.elem_type = TensorProto.DOUBLE
    elif kind in ("sequence_type", "optional_type"):
        _widen_type(getattr(proto, kind).elem_type)


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in FLOATS:
        wide = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)
        tensor.CopyFrom(wide)


def _widen_node(node: onnx.NodeProto) -> None:
    kind = TYPE_ATTRIBUTES.get(node.op_type)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            _widen_tensor(attribute.t)
        elif attribute.name == kind and attribute.i in FLOATS:
            attribute.i = TensorProto.DOUBLE
    if node.op_type == "Constant":
        _widen_plain_constant(node)
    elif node.op_type == "ConstantOfShape" and not node.attribute:
        # Without a value it makes float32 zeros.
        node.attribute.append(onnx.helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))


def _widen_plain_constant(node: onnx.NodeProto) -> None:
    """Constants written as attribute floats are float32 by definition; as tensors they can be double."""
    for attribute in node.attribute:
        if attribute.name in ("value_float", "value_floats"):
            value = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            tensor = numpy_helper.from_array(np.asarray(value, dtype=np.float64))
            attribute.CopyFrom(onnx.helper.make_attribute("value", tensor))
            return
