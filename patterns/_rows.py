"""Operators that work on each row alone: which inputs have rows, and how they are written with more axes in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.ir.orders import SOFTMAX, axis_of
from mari_onnx.patterns._labels import labels_of
from mari_onnx.patterns._parts import turned
from mari_onnx.patterns._row_leaves import REPEATS, Write, tail_of
from mari_onnx.patterns.einsum_matmul import is_product
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

PRODUCTS = ("MatMul", "Gemm", "Einsum")
NORMS = ("Softmax", "LogSoftmax", "LayerNormalization")


def layer(node: Node, at: Workspace) -> tuple[list[str], Write] | None:
    """The inputs of a node that must have rows, and how it is written; ``None`` where it does not work row by row."""
    write = None if node.domain else LAYERS.get(node.op)
    rows = _rows_of(node, at) if write is not None and at.fact(node.output).rank else None
    return None if write is None or not rows else (rows, write)


def _rows_of(node: Node, at: Workspace) -> list[str] | None:
    if node.op in VIEWS or node.op in REPEATS:
        return [node.inputs[0]] if _keeps_rows(node, at) else None
    labels = labels_of(node, at)
    places = labels.apart({0: 0}) if labels is not None else None
    if places is None or any(own not in ({}, {0: 0}) for own in places):
        return None
    rows = [v for v, own in zip(node.inputs, places, strict=True) if own]
    return rows if _takes_more_axes(node, rows, at) else None


def _keeps_rows(node: Node, at: Workspace) -> bool:
    """Whether a node lays out each row anew, or repeats what is in it, by itself."""
    before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
    if not before or not after or not same(before[0], after[0]):
        return False
    if node.op == "Tile":
        times = at.integers(node.inputs[1])
        return times is not None and times[0] == 1
    return node.op in VIEWS or len(before) == len(after)


def _takes_more_axes(node: Node, rows: Sequence[str], at: Workspace) -> bool:
    """Whether the node can be written with more axes in front of its rows."""
    if node.op in PRODUCTS:
        # Rows times a weight, or matrix by matrix.
        batched = node.op == "MatMul" and any((at.fact(v).rank or 0) > 2 for v in node.inputs)
        weighed = rows == [node.inputs[0]] and node.has_input(1) and at.is_weight(node.inputs[1])
        return batched or (weighed and _is_plain(node, at))
    if node.op in SOFTMAX and at.opset < 13:
        # It runs over all axes from that one on.
        rank = at.fact(node.output).rank or 1
        return axis_of(node, rank, at.opset) == rank - 1
    if node.op == "Gather":
        return at.is_weight(node.inputs[0]) and not node.attrs.get("axis", 0)
    return node.op != "Transpose" or "perm" in node.attrs


def _is_plain(node: Node, at: Workspace) -> bool:
    if node.op == "Einsum":
        return [at.fact(v).rank for v in node.inputs] == [2, 2] and is_product(node, at)
    return bool(node.attrs.get("alpha", 1.0) == 1.0 == node.attrs.get("beta", 1.0))


def with_axes(order: Sequence[int], lead: int) -> list[int]:
    """The order of a Transpose where axis 0 of what it reads is several."""
    return [new for old in order for new in (range(lead) if old == 0 else [old + lead - 1])]


def _as_it_is(node: Node, inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    return at.emit(node.op, inputs, **dict(node.attrs))


def _joined(node: Node, inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    rank = at.fact(node.output).rank or 1
    return at.emit(node.op, inputs, **{**node.attrs, "axis": int(node.attrs["axis"]) % rank + len(lead) - 1})


def _normalised(node: Node, inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    axis = axis_of(node, at.fact(node.output).rank or 1, at.opset) + len(lead) - 1
    return at.emit(node.op, inputs, **{**node.attrs, "axis": axis})


def _transposed(node: Node, inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    return at.emit(node.op, inputs, perm=with_axes([int(a) for a in node.attrs["perm"]], len(lead)))


def _viewed(node: Node, inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    return at.reshape(inputs[0], (*lead, *tail_of(node, at)))


def _expanded(node: Node, inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    return at.emit("Expand", [inputs[0], at.sizes.known((*lead, *tail_of(node, at)))])


def _tiled(node: Node, inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    times = at.integers(node.inputs[1]) or ()
    return at.emit("Tile", [inputs[0], at.weight(np.array([*(1,) * len(lead), *times[1:]], np.int64))])


def _multiplied(node: Node, inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    weight = turned(inputs[1], at) if node.attrs.get("transB", 0) else inputs[1]
    total = at.emit("MatMul", [inputs[0], weight])
    return at.emit("Add", [total, inputs[2]]) if len(inputs) > 2 and inputs[2] else total


def _reduced(node: Node, inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    """The same axes counted from behind, where none was added."""
    rank = at.fact(node.inputs[0]).rank or 1
    axes = [int(a) % rank - rank for a in at.axes(node) or ()]
    if node.has_input(1):
        return at.emit(node.op, [inputs[0], at.weight(np.array(axes, np.int64))], **dict(node.attrs))
    return at.emit(node.op, [inputs[0]], **{**node.attrs, "axes": axes})


LAYERS: Mapping[str, Write] = {
    **dict.fromkeys({*UNARY, *BROADCASTING} - {"Identity", "PRelu"}, _as_it_is),
    **dict.fromkeys(("Gather", "MatMul"), _as_it_is),
    **dict.fromkeys(REDUCTIONS, _reduced),
    **dict.fromkeys(("Gemm", "Einsum"), _multiplied),
    **dict.fromkeys(NORMS, _normalised),
    **dict.fromkeys(VIEWS, _viewed),
    "Concat": _joined,
    "Expand": _expanded,
    "Tile": _tiled,
    "Transpose": _transposed,
}
"""Operators that may work row by row, and how each is written."""
