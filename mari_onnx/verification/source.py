"""Reading a model for verification: the graph always, the weights only where they are small.

The graph walk needs nodes, shapes and small constants. Tables of embeddings stay on disk: of them only the shape is
read, and ONNX Runtime opens the file itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import external_data_helper, numpy_helper

from mari_onnx.checks import check_model
from mari_onnx.errors import ModelError
from mari_onnx.ir.subgraphs import all_graphs
from mari_onnx.repairs import inlined as written_out

ModelLike = str | os.PathLike[str] | onnx.ModelProto
Array = npt.NDArray[Any]

# Shapes, axes, offsets and sequence positions are far below this; embedding tables and weights far above.
SMALL_ELEMENTS = 1 << 16

COARSEST_FIRST = (onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT16)
FLOATS = (*COARSEST_FIRST, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)

# Same inputs, other outputs.
RANDOM_OPERATORS = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


@dataclass(frozen=True)
class ModelSource:
    """A model and where it came from.

    Attributes:
        proto: the graph; external weights are not loaded. Shared with the caller, never modified.
        path: the file, or None for a model that was given in memory.
        role: "original model" or "optimized model", used in error sentences.
        base: for a model in memory, the folder of its external data.
    """

    proto: onnx.ModelProto
    path: Path | None
    role: str
    base: Path | None = None

    @property
    def folder(self) -> str:
        """The folder that locations of external data are relative to."""
        folder = self.path.parent if self.path is not None else self.base
        return str(folder) if folder is not None else ""

    def replaced(self, proto: onnx.ModelProto, role: str) -> ModelSource:
        """Another model in memory with the same external data."""
        return ModelSource(proto, None, role, Path(self.folder).absolute() if self.folder else None)

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata_props of the model."""
        return {entry.key: entry.value for entry in self.proto.metadata_props}


def open_source(model: ModelLike, role: str = "model", base: Path | None = None) -> ModelSource:
    """Reads a model's graph.

    Args:
        model: a path or a model in memory.
        role: what to call it in an error.
        base: for a model in memory, the folder of its external data.

    Returns:
        The model, without external weights.

    Raises:
        UsageError: it is neither a path nor a model.
        ModelError: the file is missing or is not an ONNX model, or a model in memory points to external data.
    """
    check_model(model)
    if isinstance(model, onnx.ModelProto):
        if base is None:
            _refuse_external_data(model, role)
        return ModelSource(model, None, role, base)
    path = Path(model)
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise ModelError(f"{role}: {path} does not exist") from None
    except Exception as error:  # protobuf, the text parsers and the OS each have their own
        raise ModelError(f"{role}: {path} is not a readable ONNX model ({first_line(error)})") from error
    if not proto.graph.output:
        raise ModelError(f"{role}: {path} is not an ONNX model (it has no graph outputs)")
    return ModelSource(proto, path, role)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its class name."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _refuse_external_data(proto: onnx.ModelProto, role: str) -> None:
    for tensor in all_tensors(proto.graph):
        if external_data_helper.uses_external_data(tensor):
            raise ModelError(
                f"{role}: weight '{tensor.name}' is in an external file, which a model in memory cannot find;"
                " give the path of the model, or load the weights with onnx.load"
            )


def all_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Each initializer and each tensor attribute, nested graphs included."""
    for inner in all_graphs(graph):
        yield from inner.initializer
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    yield attribute.t
                yield from attribute.tensors


def computed_types(source: ModelSource) -> dict[str, int]:
    """The element type of each output, or a coarser one that the model computes in."""
    graph = source.proto.graph
    used = {tensor.data_type for tensor in graph.initializer}
    used |= {a.i for n in graph.node if n.op_type == "Cast" for a in n.attribute if a.name == "to"}
    coarse = next((dtype for dtype in COARSEST_FIRST if dtype in used), None)
    declared = {info.name: info.type.tensor_type.elem_type for info in graph.output}
    return {name: coarse if coarse and dtype in FLOATS else dtype for name, dtype in declared.items()}


def item_bytes(elem_type: int) -> int:
    """Bytes per element, rounded up; strings and unknown types count as 8."""
    try:
        return int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type)).itemsize)
    except (KeyError, TypeError, ValueError):
        return 8


def weight_bytes(proto: onnx.ModelProto, but: frozenset[str] = frozenset()) -> int:
    """The size of all weights but some, from shapes alone."""
    return sum(
        math.prod(tensor.dims) * item_bytes(tensor.data_type)
        for tensor in all_tensors(proto.graph)
        if tensor.name not in but
    )


def small_array(tensor: onnx.TensorProto, folder: str) -> Array | None:
    """The values of a small tensor, read from its external file if need be; None for a large one."""
    if math.prod(tensor.dims) > SMALL_ELEMENTS:
        return None
    try:
        if not external_data_helper.uses_external_data(tensor):
            return numpy_helper.to_array(tensor)
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        load_inline(copy, folder)
        return numpy_helper.to_array(copy)
    except Exception:  # an unreadable constant is merely unknown to the walk; the runtime reports it properly
        return None


def load_inline(tensor: onnx.TensorProto, folder: str) -> None:
    """Reads a tensor's external data into the tensor itself."""
    external_data_helper.load_external_data_for_tensor(tensor, folder)
    # Some versions of onnx would go to the file again as long as the tensor points to it.
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions expanded, so that a walk sees standard operators."""
    if not proto.functions:
        return proto
    try:
        return written_out(proto)
    except Exception:  # too large to serialize: walk it as it is, function calls are unknown operators then
        return proto
