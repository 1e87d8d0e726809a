"""A product of integers that stand for floats, over a Concat of user and item parts::

    MatMul( DQ(Q(Concat(u, i))), DQ(W) )   ->   Gemm( DQ(Q(i)), DQ(W_i), s * MatMulInteger(Q(u), W_u) )

    Q([u, i]) W = Q(u) W_u + Q(i) W_i, in integers

with ``s`` the product of both scales: the user's half is the integer bias of the items', and ONNX Runtime makes one
kernel of those, as it did of the whole. Rows of more axes have no such bias, and signed integers no such kernel where
several products read them: they become ``s * float( MatMulInteger(Q(i), W_i) + MatMulInteger(Q(u), W_u) )``. Integers
add up to the same in any order, so a sum that is rounded to an integer again (``QuantizeLinear`` behind the product)
comes out as it did: its scale is then part of ``s``, as ONNX Runtime has it. An integer bias goes with the user's half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, mixed_parts, one_row, side_of, turned, weight_rows
from mari_onnx.patterns._quantized import (
    Quantized,
    constant_of,
    is_rounded,
    is_single,
    quantized,
    unsigned,
    zeros,
)
from mari_onnx.quantized import BYTES
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

PRODUCTS = frozenset({"MatMul", "Gemm"})
LARGEST = 2.0**30
"""Larger numbers are no integers of 32 bits with others added to them."""
LEAST = 256
"""So many columns take as long to multiply as it takes to add up halves, make floats of them and scale them."""


@dataclass(frozen=True, slots=True)
class Integers:
    """A product to split.

    Attributes:
        left: What the left operand was made of.
        parts: Its parts, floats or integers.
        rounding: Makes integers of the parts, where they are floats.
        right: What the weight was made of.
        turned: Whether the weight's columns are summed over.
        bias: Integers to add, or floats that are rounded to such, or nothing.
    """

    left: Quantized
    parts: Parts
    rounding: Node | None
    right: Quantized
    turned: bool
    bias: str


class QuantizedProduct(Rule[Integers]):
    """Splits a product of integers into a user half and an item half."""

    name = "quantized-product"
    algebra = "Q([u, i]) W = Q(u) W_u + Q(i) W_i"
    exactness = Exactness.REASSOCIATING
    keeps_integers = True
    ops = PRODUCTS | {"QuantizeLinear"}

    def match(self, node: Node, at: Workspace) -> Integers | None:
        if node.op in PRODUCTS:
            rounded = _rounded(node, at)
            return _integers(node, at) if rounded is None else None
        product = at.graph.producer(node.inputs[0])
        if product is None or product.domain or product.op not in PRODUCTS or _rounded(product, at) is not node:
            return None
        return _integers(product, at)

    def rewrite(self, node: Node, found: Integers, at: Workspace) -> Sequence[str]:
        user = _half(found, True, at)
        scale = _scale(found.left, found.right, at).astype(np.float32)
        if found.bias:
            user = at.emit("Add", [user, _whole(found.bias, scale, at)])
        if _has_kernel(found, at):
            total = _with_bias(found, one_row(user, at), at.weight(scale, "mari/scale"), at)
            if node.op in PRODUCTS:
                return [total]
            return [at.emit("QuantizeLinear", [total, *node.inputs[1:]], **dict(node.attrs))]
        item = _half(found, False, at)
        total = at.emit("Cast", [at.emit("Add", [item, one_row(user, at)])], to=onnx.TensorProto.FLOAT)
        if node.op in PRODUCTS:
            return [at.emit("Mul", [total, at.weight(scale, "mari/scale")])]
        # In this order of operations ONNX Runtime rounds, too; the result is the same to the last bit.
        fine = (scale / np.squeeze(constant_of(node.inputs[1], at))).astype(np.float32)
        scaled = at.emit("Mul", [total, at.weight(fine, "mari/scale")])
        one = at.weight(np.array(1, np.float32), "mari/one")
        return [at.emit("QuantizeLinear", [scaled, one, *node.inputs[2:]], **dict(node.attrs))]


def _rounded(product: Node, at: Workspace) -> Node | None:
    """What makes integers of a product again, with one scale, where nothing else reads it."""
    readers = at.graph.consumers(product.output)
    if len(readers) != 1 or at.graph.is_output(product.output):
        return None
    (reader,) = readers
    plain = reader.op == "QuantizeLinear" and not reader.domain and set(reader.attrs) <= {"axis", "saturate"}
    if not plain or not at.is_weight(reader.inputs[1]) or not is_single(reader.inputs[1], at):
        return None
    return reader


def _integers(node: Node, at: Workspace) -> Integers | None:
    """The operands of a product of integers, where the left one joins parts of both sides."""
    left, right = (quantized(v, at) for v in node.inputs[:2])
    if left is None or right is None or at.fact(node.output).dtype != onnx.TensorProto.FLOAT:
        return None
    if not is_single(left.scale, at) or any(at.fact(q.integers).dtype not in BYTES for q in (left, right)):
        return None
    if not at.is_weight(right.integers) or at.fact(right.integers).rank != 2:
        return None
    turned = bool(node.attrs.get("transB", 0))
    scaled = any(node.attrs.get(name, 1.0) != 1.0 for name in ("alpha", "beta"))
    along_columns = is_single(right.scale, at) or right.axis == 1 - turned
    if scaled or node.attrs.get("transA", 0) or not along_columns:
        return None
    bias = _bias(node, left, right, at)
    rounding, parts = _parts(left, at)
    if bias is None or parts is None or parts.axis != parts.rank - 1:
        return None
    if rounding is None and at.fact(left.integers).dtype == onnx.TensorProto.INT8:
        return None  # ONNX Runtime is slow at products of signed integers; those not made here stay what they are
    found = Integers(left, parts, rounding, right, turned, bias)
    saved = sum(size for value, _, size in parts if at.is_once(value))
    return found if saved >= LEAST or _has_kernel(found, at) else None


def _has_kernel(found: Integers, at: Workspace) -> bool:
    """Whether ONNX Runtime adds the user's half to the items' in one kernel with the product."""
    return found.parts.rank == 2 and at.fact(found.left.integers).dtype == onnx.TensorProto.UINT8


def _parts(left: Quantized, at: Workspace) -> tuple[Node | None, Parts | None]:
    """The parts of an operand and what makes integers of them, if they are not integers already."""
    rounding = at.graph.producer(left.integers)
    if rounding is None or rounding.op != "QuantizeLinear" or rounding.domain:
        return None, mixed_parts(left.integers, at)
    single = all(at.is_weight(v) and is_single(v, at) for v in rounding.inputs[1:] if v)
    return rounding, mixed_parts(rounding.inputs[0], at) if single else None


def _bias(node: Node, left: Quantized, right: Quantized, at: Workspace) -> str | None:
    """The integers that are added, nothing where there are none, ``None`` where they are of another scale."""
    if not node.has_input(2):
        return ""
    if at.is_weight(node.inputs[2]) and at.fact(node.inputs[2]).rank == 1 and _rounded(node, at) is not None:
        # Between integers ONNX Runtime 1.31 makes integers of it.
        scale = _scale(left, right, at)
        return node.inputs[2] if np.all(np.abs(constant_of(node.inputs[2], at) / scale) < LARGEST) else None
    bias = quantized(node.inputs[2], at)
    if bias is None or at.fact(bias.integers).dtype != onnx.TensorProto.INT32 or not at.is_weight(bias.integers):
        return None
    same = np.allclose(constant_of(bias.scale, at), _scale(left, right, at), rtol=1e-5, atol=0)
    plain = not bias.zero or not constant_of(bias.zero, at).any()
    return bias.integers if same and plain else None


def _scale(left: Quantized, right: Quantized, at: Workspace) -> np.ndarray:
    """What one of the product's integers stands for."""
    return np.asarray(np.squeeze(constant_of(left.scale, at)) * constant_of(right.scale, at))


def _with_bias(found: Integers, user: str, scale: str, at: Workspace) -> str:
    """The items' half as floats between which ONNX Runtime sees integers, with the user's half as the bias."""
    value, pieces = side_of(found.parts, False, at)
    left, right = found.left, found.right
    if found.rounding is not None:
        if is_rounded(value, at):  # ONNX Runtime makes one rounding of two, unless there is a Concat in between
            value = at.emit("Concat", [value], axis=found.parts.axis)
        value = at.emit("QuantizeLinear", [value, *found.rounding.inputs[1:]], **dict(found.rounding.attrs))
    item = at.emit("DequantizeLinear", [value, left.scale, left.zero or zeros(left, at)])
    part = weight_rows(right.integers, int(found.turned), pieces, at)
    weight = at.emit("DequantizeLinear", [part, right.scale, right.zero or zeros(right, at)], axis=right.axis)
    none = at.weight(np.zeros(at.fact(scale).shape or (), np.int32), "mari/zero")
    bias = at.emit("DequantizeLinear", [user, scale, none], axis=1)
    return at.emit("Gemm", [item, weight, bias], transB=int(found.turned))


def _whole(bias: str, scale: np.ndarray, at: Workspace) -> str:
    """A bias in integers; one of floats is rounded as ONNX Runtime rounds it."""
    if at.fact(bias).dtype == onnx.TensorProto.INT32:
        return bias
    return at.weight(np.rint(constant_of(bias, at) / scale).astype(np.int32), "mari/bias")


def _half(found: Integers, once: bool, at: Workspace) -> str:
    """The sum of products of integers over the parts that are computed once, or over the others."""
    value, pieces = side_of(found.parts, once, at)
    zero = found.left.zero
    if found.rounding is not None and at.fact(found.left.integers).dtype == onnx.TensorProto.INT8:
        zero = unsigned(zero, at)
        value = at.emit("QuantizeLinear", [value, found.rounding.inputs[1], zero])
    elif found.rounding is not None:
        value = at.emit("QuantizeLinear", [value, *found.rounding.inputs[1:]], **dict(found.rounding.attrs))
    weight = weight_rows(found.right.integers, int(found.turned), pieces, at)
    if found.turned:
        weight = turned(weight, at)
    return at.emit("MatMulInteger", [value, weight, zero, found.right.zero])
