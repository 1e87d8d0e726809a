"""An operator that works along another axis than the one of the Concat::

Softmax / LayerNormalization / Reduce / ArgMax / TopK / Slice / Split / Gather( Concat(u, i; axis a), axis b )
    ->   Concat( op(u, axis b), op(i, axis b); axis a' )

op_b([u, i]_a) = [op_b(u), op_b(i)]_a

So does DequantizeLinear, with one scale for all, of rows of a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.orders import SOFTMAX
from mari_onnx.patterns._labels import FINDING, labels_of
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, runs_of
from mari_onnx.quantized import SINGLE
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

NORMALISING = ("LayerNormalization", "RMSNormalization")
SEVERAL = ("Split", "TopK")
"""Operators with more than one result."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The parts, and the axis on which the results are joined."""

    parts: Parts
    axis: int


class ConcatRowwise(Rule[Rows]):
    """Applies an operator to the parts of a Concat where it does not look along their axis."""

    name = "concat-rowwise"
    algebra = "op_b([u, i]_a) = [op_b(u), op_b(i)]_a"
    exactness = Exactness.EXACT
    ops = frozenset({*SOFTMAX, *NORMALISING, *REDUCTIONS, *FINDING, *SEVERAL, "Slice", "Gather", "DequantizeLinear"})

    def match(self, node: Node, at: Workspace) -> Rows | None:
        parts = mixed_parts(node.inputs[0], at)
        if parts is None or not all(node.outputs) or (len(node.outputs) != 1 and node.op not in SEVERAL):
            return None
        axis = _joined_axis(node, parts, at)
        return None if axis is None else Rows(parts, axis)

    def rewrite(self, node: Node, found: Rows, at: Workspace) -> Sequence[str]:
        made = []
        for run in runs_of(found.parts, at):
            value = joined(run.values, found.parts.axis, at)
            made.append(at.emit_many(node.op, [value, *node.inputs[1:]], len(node.outputs), **dict(node.attrs)))
        return [joined(pieces, found.axis, at) for pieces in zip(*made, strict=True)]


def _joined_axis(node: Node, parts: Parts, at: Workspace) -> int | None:
    """Where the parts are joined afterwards, ``None`` where the operator looks along their axis."""
    if node.op == "DequantizeLinear":
        scales = [at.fact(v).shape for v in node.inputs[1:] if v]
        # Where there is no zero point, ONNX Runtime 1.31 takes the integers for unsigned when it moves the operator.
        single = len(scales) == 2 and all(shape in SINGLE for shape in scales)
        return parts.axis if single and all(_is_looked_up(v, at) for v in parts.values) else None
    if node.op == "Gather" and (not at.is_once(node.inputs[1]) or at.is_user(node.inputs[1])):
        return None
    if node.op == "TopK" and not at.is_weight(node.inputs[1]):
        return None
    labels = labels_of(node, at)
    axis = labels.target(0, parts.axis) if labels is not None else None
    needed = labels.apart({axis: axis}) if labels is not None and axis is not None else None
    return axis if needed is not None and not any(needed[1:]) else None


def _is_looked_up(value: str, at: Workspace) -> bool:
    """Whether integers come from a table: those that were made of floats ONNX Runtime multiplies as they are."""
    node = at.graph.producer(value)
    while node is not None and node.op in (
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Expand",
        "Slice",
    ):
        node = at.graph.producer(node.inputs[0])
    return node is not None and node.op == "Gather" and at.is_weight(node.inputs[0])
