"""Numbers that may be divided by: those that are known to be above 0, as a sum of squares with an epsilon is."""

from __future__ import annotations

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.ir.dims import may_be_zero
from mari_onnx.patterns._variances import orders
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

MAX_DEPTH = 12
"""Of what lies further up, nothing is said."""

REDUCED = frozenset({"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"})
LAID_OUT = frozenset({*VIEWS, "Expand", "Identity", "Transpose"})
"""Operators that make the same entries."""
MOVED = LAID_OUT | REDUCED
"""Operators of which nothing is smaller than the smallest entry of their first input, if that is not below 0."""
NOT_BELOW = frozenset({"Abs", "Exp", "Relu", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Sigmoid", "Softmax", "Sqrt"})
"""Operators of which nothing is below 0, though it may be 0."""
SUMMING = frozenset({"Add", "Mul", "MatMul", "Gemm"})
"""Operators that make sums and products of their inputs."""

_TYPES = onnx.TensorProto
UNSIGNED = frozenset({_TYPES.BOOL, _TYPES.UINT8, _TYPES.UINT16, _TYPES.UINT32, _TYPES.UINT64})
"""Types that have no numbers below 0."""
WHOLE = frozenset({*UNSIGNED, _TYPES.INT8, _TYPES.INT16, _TYPES.INT32, _TYPES.INT64})


def is_positive(value: str, at: Workspace, depth: int = 0) -> bool:
    """Whether all entries of a value are above 0, for finite numbers."""
    node = at.graph.producer(value)
    if depth > MAX_DEPTH or at.is_weight(value):
        return _least(value, at) > 0
    if node is None or node.domain:
        return False
    if node.op in REDUCED and _may_be_empty(node, at):
        return False
    # A fraction may become 0 where it is cast.
    if node.op in MOVED or node.op == "Sqrt" or (node.op == "Cast" and at.fact(node.inputs[0]).dtype in WHOLE):
        return is_positive(node.inputs[0], at, depth + 1)
    if node.op == "Clip":
        return node.has_input(1) and _least(node.inputs[1], at) > 0
    if node.op == "Max":
        return any(is_positive(v, at, depth + 1) for v in node.inputs)
    if node.op == "Gemm":
        plain = node.has_input(2) and node.attrs.get("beta", 1.0) == 1.0
        return plain and is_positive(node.inputs[2], at, depth + 1) and is_not_below_zero(value, at, depth + 1)
    if node.op != "Add":
        return False
    return any(is_positive(a, at, depth + 1) and is_not_below_zero(b, at, depth + 1) for a, b in orders(node))


def is_not_below_zero(value: str, at: Workspace, depth: int = 0) -> bool:
    """Whether no entry of a value is below 0."""
    node = at.graph.producer(value)
    if depth > MAX_DEPTH or at.is_weight(value):
        return _least(value, at) >= 0
    if at.fact(value).dtype in UNSIGNED:
        return True
    if node is None or node.domain:
        return False
    if node.op in NOT_BELOW or _is_square(node, at):
        return True
    if node.op in (*MOVED, "Cast"):
        return is_not_below_zero(node.inputs[0], at, depth + 1)
    if node.op == "Max":
        return any(is_not_below_zero(v, at, depth + 1) for v in node.inputs)
    if node.op not in SUMMING or any(node.attrs.get(factor, 1.0) < 0 for factor in ("alpha", "beta")):
        return False
    return all(is_not_below_zero(v, at, depth + 1) for v in node.inputs if v)


def _may_be_empty(node: Node, at: Workspace) -> bool:
    """Whether a reduction may find nothing to reduce: a sum of nothing is 0."""
    shape, axes = at.fact(node.inputs[0]).shape, at.axes(node)
    return shape is None or any(may_be_zero(shape[axis]) for axis in axes or range(len(shape)))


def _is_square(node: Node, at: Workspace) -> bool:
    """Whether a node makes an even power of something."""
    if node.op == "Mul":
        return node.inputs[0] == node.inputs[1]
    return node.op == "Pow" and is_whole_power(node, at) and _least(node.inputs[1], at) % 2 == 0


def is_whole_power(node: Node, at: Workspace) -> bool:
    """Whether the exponent of a Pow is one constant whole number that is not below 0."""
    exponent = at.constant(node.inputs[1]) if at.is_weight(node.inputs[1]) else None
    return exponent is not None and exponent.size == 1 and exponent.item() >= 0 and exponent.item() % 1 == 0


def _least(value: str, at: Workspace) -> float:
    """The smallest entry of a constant; minus infinity where it is none, or has what is no number."""
    array = at.constant(value) if at.is_weight(value) else None
    if array is None or not array.size or array.dtype.kind not in "fiu":
        return -np.inf
    least = float(array.min())
    return -np.inf if np.isnan(least) else least
