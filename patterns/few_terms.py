"""A sum of few entries along an axis in the middle::

    ReduceSum( x: [B, n, d], axis 1 )   ->   Sum( x[:, 0], x[:, 1], .. )

    sum_k x_k = x_0 + x_1 + ..

A reduction along an axis in the middle starts over for each candidate; a sum of whole tensors is started once. So the
two or three fields that are left of a factorization machine once the user's are apart are added up directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._parts import split
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

VARIADIC = {"ReduceSum": "Sum", "ReduceMean": "Mean"}
"""The operator that does the same to whole tensors; of a maximum, what is no number would come out differently."""

MOST = 12
"""Entries; for more, a part for each is no gain."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The axis that is reduced, and how many entries it has."""

    axis: int
    count: int


class FewTerms(Rule[Terms]):
    """Adds up the slices of a tensor instead of reducing along an axis in the middle."""

    name = "few-terms"
    algebra = "sum_k x_k = x_0 + x_1 + .."
    exactness = Exactness.REASSOCIATING
    ops = frozenset(VARIADIC)

    def match(self, node: Node, at: Workspace) -> Terms | None:
        fact = at.fact(node.inputs[0])
        axes = at.axes(node)
        if fact.shape is None or not axes or len(axes) != 1 or at.is_once(node.inputs[0]):
            return None
        # ONNX Runtime has no Mean of doubles.
        if fact.dtype not in (PRECISE if node.op == "ReduceSum" else (onnx.TensorProto.FLOAT,)):
            return None
        axis = int(axes[0]) % len(fact.shape)
        count = fact.shape[axis]
        if not isinstance(count, int) or not 2 <= count <= MOST or not 0 < axis < len(fact.shape) - 1:
            return None
        return Terms(axis, count)

    def rewrite(self, node: Node, found: Terms, at: Workspace) -> Sequence[str]:
        total = at.emit(VARIADIC[node.op], split(node.inputs[0], found.axis, [1] * found.count, at))
        return [total if node.attrs.get("keepdims", 1) else at.squeeze(total, [found.axis])]
