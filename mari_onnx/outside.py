"""Weights of a model in a data file beside it, as the 2 GiB that protobuf can write do not hold them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
from onnx import TensorProto

from mari_onnx.ir.external import byte_size, is_external
from mari_onnx.load import tensors

SMALLEST = 1 << 10
"""Bytes; smaller weights stay in the model, where shape inference finds them."""

PAGE = 4096
"""Weights start on a page, so that they can be mapped."""


def inline_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the weights in the file itself."""
    return sum(byte_size(t) for t in tensors(model.graph) if not is_external(t))


def write_outside(model: onnx.ModelProto, path: Path, location: str) -> onnx.ModelProto:
    """Writes the weights of a model to a data file.

    Args:
        model: The model, not changed; weights that lie elsewhere already stay there.
        path: The file to write.
        location: What the model calls it.

    Returns:
        The model that refers to the file.
    """
    light = _without_weights(model)
    with open(path, "xb") as file:
        for tensor in model.graph.initializer:
            if is_external(tensor) or byte_size(tensor) < SMALLEST:
                light.graph.initializer.append(tensor)
            else:
                file.seek(-(-file.tell() // PAGE) * PAGE)
                light.graph.initializer.append(_stub(tensor, location, file.tell(), byte_size(tensor)))
                file.write(_raw(tensor))
        file.flush()
        os.fsync(file.fileno())
    return light


@contextlib.contextmanager
def relocated(model: onnx.ModelProto, names: Mapping[str, str]) -> Iterator[None]:
    """Other locations of data files, for the time being: so a model need not be copied to be written with them."""
    _relocate(model, names)
    try:
        yield
    finally:
        _relocate(model, {new: old for old, new in names.items()})


def _relocate(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    for tensor in tensors(model.graph) if names else ():
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = names.get(entry.value, entry.value)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without initializers, made without ever copying them."""
    light = onnx.ModelProto()
    for descriptor, value in model.ListFields():
        if descriptor.name != "graph":
            _assign(light, descriptor.name, value)
    for descriptor, value in model.graph.ListFields():
        if descriptor.name != "initializer":
            _assign(light.graph, descriptor.name, value)
    return light


def _assign(target: onnx.ModelProto | onnx.GraphProto, name: str, value: object) -> None:
    if isinstance(value, (int, str)):
        setattr(target, name, value)
    else:
        getattr(target, name).MergeFrom(value)


def _stub(tensor: TensorProto, location: str, offset: int, length: int) -> TensorProto:
    stub = TensorProto(
        name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, data_location=TensorProto.EXTERNAL
    )
    if tensor.doc_string:
        stub.doc_string = tensor.doc_string
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        stub.external_data.add(key=key, value=value)
    return stub


def _raw(tensor: TensorProto) -> bytes:
    return tensor.raw_data if tensor.HasField("raw_data") else onnx.numpy_helper.to_array(tensor).tobytes()
