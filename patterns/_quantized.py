"""Values that were made of integers, by a scale and a zero point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import cut, joined, one_row, weight_rows
from mari_onnx.patterns._repeats import before
from mari_onnx.quantized import BYTES, MOVING, SINGLE
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Quantized:
    """What a value was made of: ``scale * (integers - zero)``.

    Attributes:
        integers: The integers.
        scale: Their scale, a constant: one number, or one for each entry of ``axis``.
        zero: The integer that stands for 0, a constant; nothing where it is 0.
        axis: Which axis the scale goes along, where it has several entries.
    """

    integers: str
    scale: str
    zero: str
    axis: int


def quantized(value: str, at: Workspace) -> Quantized | None:
    """What a value was made of, where that was integers with constant scales of 32 bits, not scaled block by block."""
    node = at.graph.producer(value)
    if node is None or node.op != "DequantizeLinear" or node.domain or node.attrs.get("block_size"):
        return None
    zero = node.inputs[2] if node.has_input(2) else ""
    fact = at.fact(node.inputs[1])
    constant = at.is_weight(node.inputs[1]) and (not zero or at.is_weight(zero))
    if not constant or fact.dtype != onnx.TensorProto.FLOAT or (fact.rank or 0) > 1:
        return None
    return Quantized(node.inputs[0], node.inputs[1], zero, int(node.attrs.get("axis", 1)) % (at.fact(value).rank or 1))


def is_single(parameter: str, at: Workspace) -> bool:
    """Whether a scale or zero point is one number for all."""
    return at.fact(parameter).shape in SINGLE


def is_rounded(value: str, at: Workspace) -> bool:
    """Whether a value was made of integers, and at most moved since."""
    node = at.graph.producer(before(value, MOVING, at))
    return node is not None and node.op == "DequantizeLinear"


def is_left_to_runtime(node: Node, weight: str, at: Workspace) -> bool:
    """Whether the runtime has a product of its own for a quantized weight, or the weight cannot be cut with its scales.

    ONNX Runtime 1.31 makes MatMulNBits of a MatMul, and rounds the rows to integers; a Gemm stays one.
    """
    producer = at.graph.producer(weight)
    if producer is None or producer.op != "DequantizeLinear" or producer.domain:
        return False
    return node.op != "Gemm" or _bytes(weight, at) is None


def _bytes(weight: str, at: Workspace) -> Quantized | None:
    """What a weight was made of, where that can be cut."""
    made = quantized(weight, at)
    if made is None or not at.is_weight(made.integers) or at.fact(made.integers).dtype not in BYTES:
        return None
    return made


def pieces_of(weight: str, axis: int, pieces: Sequence[tuple[int, int]], at: Workspace) -> str:
    """Pieces (start, size) of a matrix that is computed once, put together; of a quantized one, a quantized one."""
    if at.is_weight(weight):
        return weight_rows(weight, axis, pieces, at)
    made = _bytes(weight, at)
    if made is None:
        return joined([cut(one_row(weight, at), axis, start, size, at) for start, size in pieces], axis, at)
    # Without a zero point ONNX Runtime 1.31 may take the integers for unsigned when it moves the operator.
    zero = made.zero or zeros(made, at)
    scales = [made.scale, zero]
    if axis == made.axis and not is_single(made.scale, at):
        scales = [weight_rows(v, 0, pieces, at) for v in scales]
    return at.emit("DequantizeLinear", [weight_rows(made.integers, axis, pieces, at), *scales], axis=made.axis)


def zeros(made: Quantized, at: Workspace) -> str:
    """A zero point of 0 for what has none."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(at.fact(made.integers).dtype)
    shape = at.fact(made.scale).shape or ()
    return at.weight(np.zeros(tuple(int(d) for d in shape), dtype), "mari/zero")


def unsigned(zero: str, at: Workspace) -> str:
    """The zero point for unsigned integers that are 128 more than signed ones.

    Rounding and saturation are the same, and so are the products; ONNX Runtime is many times faster at them.
    """
    signed = int(constant_of(zero, at).reshape(())) if zero else 0
    return at.weight(np.array(signed + 128, np.uint8), "mari/zero")


def constant_of(value: str, at: Workspace) -> np.ndarray:
    """The numbers of a constant."""
    array = at.constant(value)
    assert array is not None
    return array
