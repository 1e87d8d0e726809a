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
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, runs_of
from mari_onnx.quantized import SINGLE
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

SOFTMAX = ("Softmax", "LogSoftmax", "Hardmax")
NORMALISING = ("LayerNormalization", "RMSNormalization")
FINDING = ("ArgMax", "ArgMin")
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
    if node.op in SOFTMAX:
        along = int(node.attrs.get("axis", -1 if at.opset >= 13 else 1)) % parts.rank
        free = parts.axis != along if at.opset >= 13 else parts.axis < along
        return parts.axis if free else None
    if node.op in NORMALISING:
        along = int(node.attrs.get("axis", -1)) % parts.rank
        free = parts.axis < along and all(_is_within(v, along, parts, at) for v in node.inputs[1:])
        return parts.axis if free else None
    if node.op == "Slice":
        axes = at.integers(node.inputs[3]) if node.has_input(3) else None
        return parts.axis if axes and parts.axis not in [a % parts.rank for a in axes] else None
    if node.op == "Split":
        return parts.axis if int(node.attrs.get("axis", 0)) % parts.rank != parts.axis else None
    if node.op == "Gather":
        rank, along = at.fact(node.inputs[1]).rank, int(node.attrs.get("axis", 0)) % parts.rank
        if rank is None or along == parts.axis or not at.is_once(node.inputs[1]) or at.is_user(node.inputs[1]):
            return None
        return parts.axis if parts.axis < along else parts.axis + rank - 1
    if node.op == "DequantizeLinear":
        scales = [at.fact(v).shape for v in node.inputs[1:] if v]
        # Where there is no zero point, ONNX Runtime 1.31 takes the integers for unsigned when it moves the operator.
        single = len(scales) == 2 and all(shape in SINGLE for shape in scales)
        return parts.axis if single and all(_is_looked_up(v, at) for v in parts.values) else None
    if node.op == "TopK":
        # How many are taken is one number for all rows; each row is sorted by itself, ties by their places in it.
        is_other = int(node.attrs.get("axis", -1)) % parts.rank != parts.axis
        return parts.axis if is_other and at.is_weight(node.inputs[1]) else None
    axes = (int(node.attrs.get("axis", 0)),) if node.op in FINDING else at.axes(node)
    return _behind_reduction(axes, parts, keeps=bool(node.attrs.get("keepdims", 1)))


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


def _is_within(parameter: str, along: int, parts: Parts, at: Workspace) -> bool:
    """Whether a scale or bias has entries for the normalised axes only, which are those from ``along`` on."""
    shape = at.fact(parameter).shape if parameter else ()
    return shape is not None and all(size == 1 for size in shape[: max(0, len(shape) - parts.rank + along)])


def _behind_reduction(axes: Sequence[int] | None, parts: Parts, *, keeps: bool) -> int | None:
    if not axes:
        return None
    gone = {int(a) % parts.rank for a in axes}
    if parts.axis in gone:
        return None
    return parts.axis if keeps else parts.axis - sum(a < parts.axis for a in gone)
