"""A reduction along the axis of a Concat::

    ReduceSum( Concat(u, i, v; axis a), axis a )   ->   ReduceSum([u, v]) + ReduceSum(i)
    ReduceMean, ReduceProd, ReduceL1, ReduceL2, ReduceSumSquare likewise

    sum([u, i]) = sum(u) + sum(i)

So the sums of a factorization machine, ``(sum v)^2 - sum v^2``, run over the user's fields once.

ReduceMax and ReduceMin have a rule of their own, ``concat-extreme``, for the sake of NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns._floats import FLOATS, PRECISE
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, one_row
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

COMBINED = {
    "ReduceSum": "Add",
    "ReduceMean": "Add",
    "ReduceProd": "Mul",
    "ReduceL1": "Add",
    "ReduceL2": "Add",
    "ReduceSumSquare": "Add",
}
"""What puts partial results together."""

IDEMPOTENT_ON_ONE = frozenset({"ReduceSum", "ReduceMean", "ReduceProd"})
"""Reductions that leave a single entry as it is."""

MAX_CHAIN = 3
"""So many parts of the items with one entry are combined one by one; more of them are joined and reduced."""


@dataclass(frozen=True, slots=True)
class Reduced:
    """The parts, and whether no axis but theirs is reduced."""

    parts: Parts
    alone: bool


class ConcatReduce(Rule[Reduced]):
    """Reduces the user's parts of a Concat apart from those of the items."""

    name = "concat-reduce"
    algebra = "sum([u, i]) = sum(u) + sum(i)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset(COMBINED)

    def match(self, node: Node, at: Workspace) -> Reduced | None:
        parts = mixed_parts(node.inputs[0], at)
        # The squares of what half precision holds may not fit in it.
        kinds = PRECISE if node.op == "ReduceL2" else FLOATS
        if parts is None or at.fact(node.output).dtype not in kinds:
            return None
        axes = at.axes(node)
        if not axes:
            return None
        gone = {int(a) % parts.rank for a in axes}
        return Reduced(parts, len(gone) == 1) if parts.axis in gone else None

    def rewrite(self, node: Node, found: Reduced, at: Workspace) -> Sequence[str]:
        user = _half(node, found, True, at)
        item = _half(node, found, False, at)
        total = _combined(node, [item, one_row(user, at)], at)
        return [at.emit("Sqrt", [total]) if node.op == "ReduceL2" else total]


def _half(node: Node, found: Reduced, once: bool, at: Workspace) -> str:
    """The result over the parts that are computed once, or over the others; of a mean, its share."""
    parts = found.parts
    chosen = [(v, size) for v, _, size in parts if size and at.is_once(v) == once]
    ones = [v for v, size in chosen if size == 1]
    if once or not found.alone or node.op not in IDEMPOTENT_ON_ONE or len(ones) > MAX_CHAIN:
        ones = []
    rest = [(v, size) for v, size in chosen if size > 1 or not ones]
    results = []
    if rest:
        op = "ReduceSumSquare" if node.op == "ReduceL2" else node.op
        whole = at.emit(op, [joined([v for v, _ in rest], parts.axis, at), *node.inputs[1:]], **dict(node.attrs))
        results.append(_share(node, whole, sum(size for _, size in rest) / parts.total, at))
    if ones:
        total = _combined(node, ones, at)
        total = total if node.attrs.get("keepdims", 1) else at.squeeze(total, [parts.axis])
        results.append(_share(node, total, 1 / parts.total, at))
    return _combined(node, results, at)


def _combined(node: Node, values: Sequence[str], at: Workspace) -> str:
    return reduce(lambda a, b: at.emit(COMBINED[node.op], [a, b]), values)


def _share(node: Node, value: str, factor: float, at: Workspace) -> str:
    """A partial mean with the weight it has in the whole; any other result as it is."""
    if node.op != "ReduceMean":
        return value
    kind = onnx.helper.tensor_dtype_to_np_dtype(at.fact(value).dtype)
    return at.emit("Mul", [value, at.weight(np.array(factor, kind))])
