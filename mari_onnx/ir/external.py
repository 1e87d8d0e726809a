"""Weights that lie in files beside the model: where they are, and their numbers, mapped rather than read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

PACKED = ("int4", "uint4", "int2", "uint2", "float4")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a weight lies.

    Attributes:
        location: The file, relative to the folder of the model.
        offset: Its first byte.
        length: Number of bytes, as far as it is known.
    """

    location: str
    offset: int
    length: int

    @staticmethod
    def of(tensor: TensorProto) -> Place:
        """Reads the entries of a tensor.

        Raises:
            ValueError: A number is not one, or negative.
        """
        entries = {entry.key: entry.value for entry in tensor.external_data}
        offset = int(entries.get("offset", 0))
        length = int(entries["length"]) if "length" in entries else byte_size(tensor)
        if offset < 0 or length < 0:
            raise ValueError("negative offset or length")
        return Place(entries.get("location", ""), offset, length)


def is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def byte_size(tensor: TensorProto) -> int:
    """Bytes of a tensor's numbers; 0 for strings, and for types of which several share a byte."""
    try:
        item = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except KeyError:
        return 0
    if item.hasobject or item.name.startswith(PACKED):
        return 0
    return int(math.prod(tensor.dims) * item.itemsize)


def read_external(tensor: TensorProto, folder: Path) -> np.ndarray:
    """The numbers of an external weight; pages of the file come into memory when they are looked at.

    Unlike :func:`onnx.numpy_helper.to_array` this follows links, as ONNX Runtime does: whether they may be followed
    has been decided when the model was read.
    """
    place, size = Place.of(tensor), byte_size(tensor)
    path = os.path.join(folder, place.location)
    if not size:  # empty, or of a type that numpy cannot map
        inline = TensorProto()
        inline.CopyFrom(tensor)
        del inline.external_data[:]
        inline.data_location = TensorProto.DEFAULT
        with open(path, "rb") as file:
            file.seek(place.offset)
            inline.raw_data = file.read(place.length)
        return onnx.numpy_helper.to_array(inline)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    mapped = np.memmap(path, dtype, "r", place.offset, tuple(tensor.dims) or (1,))
    array: np.ndarray = np.asarray(mapped)
    return array.reshape(tuple(tensor.dims))
