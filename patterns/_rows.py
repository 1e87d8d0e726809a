"""Operators that work on each row alone: which inputs have rows, and how they are written with more axes in front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._parts import turned
from mari_onnx.patterns.einsum_matmul import is_product
from mari_onnx.rewrite.workspace import Workspace

REPEATS = ("Expand", "Tile")
LEAVES = ("Reshape", *REPEATS)
"""What rows come of, laid end to end."""


def rows_of(node: Node, at: Workspace) -> list[str] | None:
    """The inputs of a node that must have rows, ``None`` where the node does not work row by row."""
    operands = OPERANDS.get(node.op)
    return operands(node, at) if operands is not None else None


def apart(node: Node, lead: Shape, made: Mapping[str, str], at: Workspace) -> str:
    """The node on the tensors as they were before the merge.

    Args:
        node: A node that works row by row, or a leaf.
        lead: The axes that were merged into axis 0.
        made: What it reads, with these axes, by what it read.
        at: Where it is built.
    """
    if node.op in LEAVES:
        tail = (at.fact(node.output).shape or ())[1:]
        return at.reshape(node.output if node.op in REPEATS else node.inputs[0], (*lead, *tail))
    rows = rows_of(node, at) or ()
    inputs = [made[v] if v in rows else v for v in node.inputs]
    attrs = dict(node.attrs)
    if node.op == "Concat":
        rank = at.fact(node.output).rank or 1
        attrs["axis"] = int(attrs["axis"]) % rank + len(lead) - 1
    if node.op == "Transpose":
        attrs["perm"] = [*range(len(lead)), *(int(a) + len(lead) - 1 for a in attrs["perm"][1:])]
    if node.op in REDUCTIONS:
        return _reduced(node, inputs[0], at)
    if node.op == "Gemm":
        return _product(inputs, bool(attrs.get("transB", 0)), at)
    if node.op == "Einsum":
        return at.emit("MatMul", inputs)
    return at.emit(node.op, inputs, **attrs)


def _product(inputs: Sequence[str], transposed: bool, at: Workspace) -> str:
    weight = inputs[1]
    total = at.emit("MatMul", [inputs[0], turned(weight, at) if transposed else weight])
    return at.emit("Add", [total, inputs[2]]) if len(inputs) > 2 and inputs[2] else total


def _reduced(node: Node, value: str, at: Workspace) -> str:
    """The same axes counted from behind, where none was added."""
    rank = at.fact(node.inputs[0]).rank or 1
    axes = [int(a) % rank - rank for a in at.axes(node) or ()]
    if node.has_input(1):
        return at.emit(node.op, [value, at.weight(np.array(axes, np.int64))], **dict(node.attrs))
    return at.emit(node.op, [value], **{**node.attrs, "axes": axes})


Operands = Callable[[Node, Workspace], "list[str] | None"]
"""As :func:`rows_of`, for one kind of operator."""


def _elementwise(node: Node, at: Workspace) -> list[str] | None:
    rank = at.fact(node.output).rank
    if rank is None:
        return None
    rows = []
    for value in node.inputs:
        shape = at.fact(value).shape if value else ()
        if shape is None:
            return None
        if len(shape) == rank and not same(shape[0], 1):
            rows.append(value)
    return rows


def _lookup(node: Node, at: Workspace) -> list[str] | None:
    return [node.inputs[1]] if at.is_weight(node.inputs[0]) and not node.attrs.get("axis", 0) else None


def _join(node: Node, at: Workspace) -> list[str] | None:
    rank = at.fact(node.output).rank
    return list(node.inputs) if rank and int(node.attrs["axis"]) % rank != 0 else None


def _matmul(node: Node, at: Workspace) -> list[str] | None:
    """Rows times a weight, or matrix by matrix: one whose leading axis is 1, or that has none, is the same for all."""
    ranks = [at.fact(v).rank or 0 for v in node.inputs]
    if min(ranks) >= 2 < max(ranks):
        return _elementwise(node, at)
    return [node.inputs[0]] if ranks == [2, 2] and at.is_weight(node.inputs[1]) else None


def _transpose(node: Node, at: Workspace) -> list[str] | None:
    order = node.attrs.get("perm", ())
    return [node.inputs[0]] if len(order) and int(order[0]) == 0 else None


def _gemm(node: Node, at: Workspace) -> list[str] | None:
    plain = node.attrs.get("alpha", 1.0) == 1.0 == node.attrs.get("beta", 1.0) and not node.attrs.get("transA", 0)
    if not plain or not at.is_weight(node.inputs[1]):
        return None
    if node.has_input(2):
        shape = at.fact(node.inputs[2]).shape
        if shape is None or (len(shape) == 2 and not same(shape[0], 1)):
            return None
    return [node.inputs[0]]


def _einsum(node: Node, at: Workspace) -> list[str] | None:
    ranks = [at.fact(v).rank for v in node.inputs]
    return [node.inputs[0]] if ranks == [2, 2] and is_product(node, at) else None


def _reduction(node: Node, at: Workspace) -> list[str] | None:
    rank, axes = at.fact(node.inputs[0]).rank, at.axes(node)
    return [node.inputs[0]] if rank and axes and all(int(a) % rank for a in axes) else None


def _along_last(node: Node, at: Workspace) -> list[str] | None:
    rank = at.fact(node.output).rank or 0
    default = 1 if node.op.endswith("oftmax") and at.opset < 13 else -1
    # A positive axis would mean another one once there are more axes in front.
    last = int(node.attrs.get("axis", default)) == -1
    return [node.inputs[0]] if last and rank > 1 and (at.opset >= 13 or not node.op.endswith("oftmax")) else None


OPERANDS: dict[str, Operands] = {
    **dict.fromkeys(set(UNARY) - {"Identity"}, _elementwise),
    **dict.fromkeys(set(BROADCASTING) - {"PRelu"}, _elementwise),
    "Gather": _lookup,
    "Concat": _join,
    "MatMul": _matmul,
    "Transpose": _transpose,
    "Gemm": _gemm,
    "Einsum": _einsum,
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax", "LayerNormalization"), _along_last),
}
