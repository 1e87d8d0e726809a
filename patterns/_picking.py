"""Which entries of its inputs an operator needs for some entries of its output along an axis."""

from __future__ import annotations

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.patterns._cuts import cuts_of
from mari_onnx.patterns._labels import labels_of
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

Needed = dict[int, int]
"""For each input of which not all entries are needed, by its position, the axis that has the same entries."""

NORMS = ("Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization")
PRODUCTS = ("MatMul", "Gemm")

OPERATORS = frozenset(
    {
        *UNARY,
        *(set(BROADCASTING) - {"PRelu"}),
        *REDUCTIONS,
        *VIEWS,
        *NORMS,
        *PRODUCTS,
        *("Transpose", "Expand", "Concat", "Gather", "Einsum", "TopK", "Slice", "Split"),
    }
)
"""Operators that are looked through."""


def needed(node: Node, axis: int, at: Workspace) -> Needed | None:
    """What an operator needs for some entries of its output; ``None`` where it may need all of everything.

    Args:
        node: The operator. Of several outputs, which have the same axes, one is read.
        axis: The axis of the output that the entries are picked from, counted from the front.
        at: The graph around it.
    """
    labels = labels_of(node, at) if node.op in OPERATORS else None
    found = labels.sources(axis) if labels is not None else None
    if labels is None or found is None or labels.outputs[0][axis] in labels.mixed:
        return None
    return found if _is_wanted(node, axis, found, at) else None


def _is_wanted(node: Node, axis: int, found: Needed, at: Workspace) -> bool:
    """Whether entries are to be picked from these inputs, as they may be."""
    if node.op in PRODUCTS:
        # Columns of a constant matrix only.
        return axis != (at.fact(node.output).rank or 0) - 1 or at.is_weight(node.inputs[1])
    if node.op == "Gather":
        return found.keys() == {1} and int(node.attrs.get("axis", 0)) == 0
    if node.op == "Slice":
        # Of two picks in a row the one of the first axis goes in front.
        cuts = cuts_of(node, at.fact(node.output).rank or 1, at)
        return cuts is not None and min(cuts, default=0) > axis
    return node.op not in NORMS or found.keys() == {0}
