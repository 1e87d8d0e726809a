"""Operators that work on each row alone: which inputs have rows, and how they are written with more axes in front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.ir.orders import SOFTMAX
from mari_onnx.patterns._labels import labels_of
from mari_onnx.patterns._parts import turned
from mari_onnx.patterns.einsum_matmul import is_product
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

REPEATS = ("Expand", "Tile")
LEAVES = ("Reshape", *REPEATS)
"""What rows come of, laid end to end."""
PRODUCTS = ("MatMul", "Gemm", "Einsum")
NORMS = ("Softmax", "LogSoftmax", "LayerNormalization")
OPERATORS = {*UNARY, *BROADCASTING, *REDUCTIONS, *PRODUCTS, *NORMS, "Gather", "Concat", "Transpose"} - {
    "Identity",
    "PRelu",
}
"""Operators that may work row by row."""


def moves_rows(node: Node) -> bool:
    """Whether a node puts the rows, axis 0, elsewhere, or what was elsewhere there."""
    return node.op == "Transpose" and not node.domain and bool(node.attrs.get("perm")) and row_axis(node) != 0


def row_axis(node: Node) -> int:
    """The axis of what a Transpose reads that is axis 0 of what it makes."""
    return int(node.attrs["perm"][0])


def is_stack(node: Node) -> bool:
    """Whether a node lays several tensors with rows behind each other."""
    return node.kind == "Concat" and node.attrs.get("axis") == 0


def keeps_rows(node: Node, at: Workspace) -> bool:
    """Whether a node lays out each row anew, by itself."""
    if node.domain or node.op not in VIEWS:
        return False
    before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
    return bool(before and after and same(before[0], after[0]))


def is_leaf(node: Node) -> bool:
    """Whether rows come of a node, laid end to end."""
    return node.op in LEAVES or moves_rows(node) or is_stack(node)


def with_axes(order: Sequence[int], lead: int) -> list[int]:
    """The order of a Transpose where axis 0 of what it reads is several."""
    return [new for old in order for new in (range(lead) if old == 0 else [old + lead - 1])]


def rows_of(node: Node, at: Workspace) -> list[str] | None:
    """The inputs of a node that must have rows, ``None`` where the node does not work row by row."""
    if keeps_rows(node, at):
        return [node.inputs[0]]
    labels = labels_of(node, at) if node.op in OPERATORS and at.fact(node.output).rank else None
    places = labels.apart({0: 0}) if labels is not None else None
    if places is None or any(own not in ({}, {0: 0}) for own in places):
        return None
    rows = [v for v, own in zip(node.inputs, places, strict=True) if own]
    return rows if _takes_more_axes(node, rows, at) else None


def tree_apart(nodes: Iterable[Node], lead: Shape, at: Workspace) -> dict[str, str]:
    """What stands for the values of a tree on the tensors as they were before the merge.

    Args:
        nodes: Nodes that work row by row, and leaves, each behind what it reads.
        lead: The axes that were merged into axis 0.
        at: Where it is built.
    """
    made: dict[str, str] = {}
    for node in nodes:
        made[node.output] = _apart(node, lead, made, at)
    return made


def _apart(node: Node, lead: Shape, made: Mapping[str, str], at: Workspace) -> str:
    if moves_rows(node):
        return _moved_apart(node, lead, at)
    if is_stack(node):
        return _unstacked(node, lead, at)
    if node.op in VIEWS and node.inputs[0] in made:
        return at.reshape(made[node.inputs[0]], (*lead, *(at.fact(node.output).shape or ())[1:]))
    if node.op in LEAVES:
        tail = (at.fact(node.output).shape or ())[1:]
        return at.reshape(node.output if node.op in REPEATS else node.inputs[0], (*lead, *tail))
    rows = rows_of(node, at) or ()
    inputs = [made[v] if v in rows else v for v in node.inputs]
    attrs = dict(node.attrs)
    if node.op == "Concat":
        rank = at.fact(node.output).rank or 1
        attrs["axis"] = int(attrs["axis"]) % rank + len(lead) - 1
    if node.op in NORMS:
        # Counted from behind, where no axis was added.
        rank = at.fact(node.output).rank or 1
        attrs["axis"] = int(attrs.get("axis", -1)) % rank - rank
    if node.op == "Transpose":
        attrs["perm"] = [*range(len(lead)), *(int(a) + len(lead) - 1 for a in attrs["perm"][1:])]
    if node.op in REDUCTIONS:
        return _reduced(node, inputs[0], at)
    if node.op == "Gemm":
        return _product(inputs, bool(attrs.get("transB", 0)), at)
    if node.op == "Einsum":
        return at.emit("MatMul", inputs)
    return at.emit(node.op, inputs, **attrs)


def _moved_apart(node: Node, lead: Shape, at: Workspace) -> str:
    """Rows that were merged on another axis, and moved to the front behind that."""
    place, shape = row_axis(node), at.fact(node.inputs[0]).shape or ()
    flat = at.graph.producer(node.inputs[0])
    source = flat.inputs[0] if flat is not None else node.inputs[0]
    cut = at.reshape(source, (*shape[:place], *lead, *shape[place + 1 :]))
    more = len(lead) - 1
    order = [int(axis) + more * (int(axis) > place) for axis in node.attrs["perm"][1:]]
    return at.emit("Transpose", [cut], perm=[*range(place, place + len(lead)), *order])


def _unstacked(node: Node, lead: Shape, at: Workspace) -> str:
    """Tensors that were laid behind each other, with an axis that numbers them."""
    tail = (at.fact(node.output).shape or ())[1:]
    return at.emit("Concat", [at.reshape(v, (1, *lead[1:], *tail)) for v in node.inputs], axis=0)


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


def _takes_more_axes(node: Node, rows: Sequence[str], at: Workspace) -> bool:
    """Whether the node can be written with more axes in front of its rows."""
    if node.op in PRODUCTS:
        # Rows times a weight, or matrix by matrix.
        batched = node.op == "MatMul" and any((at.fact(v).rank or 0) > 2 for v in node.inputs)
        weighed = rows == [node.inputs[0]] and node.has_input(1) and at.is_weight(node.inputs[1])
        return batched or (weighed and _is_plain(node, at))
    if node.op in NORMS:
        return at.opset >= 13 or node.op not in SOFTMAX
    if node.op == "Gather":
        return at.is_weight(node.inputs[0]) and not node.attrs.get("axis", 0)
    return node.op != "Transpose" or "perm" in node.attrs


def _is_plain(node: Node, at: Workspace) -> bool:
    if node.op == "Einsum":
        return [at.fact(v).rank for v in node.inputs] == [2, 2] and is_product(node, at)
    return bool(node.attrs.get("alpha", 1.0) == 1.0 == node.attrs.get("beta", 1.0))
