"""Scores of few queries among rows that each candidate has of its own, behind a layer::

    MatMul( q, Transpose( MatMul(G, W) + c ) )   ->   MatMul( MatMul(q, W^T), Transpose(G) ) + MatMul( q, c^T )

    q (G W + c)^T = (q W^T) G^T + q c^T

The weight meets a few queries and not the many rows that a candidate has chosen, among a long history for one. With
heads, the queries of all of them meet the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._projected import COLUMNS, Projected, projected
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class LateKeys(Rule[Projected]):
    """Multiplies queries with the weight that makes keys."""

    name = "late-keys"
    algebra = "q (G W + c)^T = (q W^T) G^T + q c^T"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Projected | None:
        found = projected(node.inputs[1], COLUMNS, at)
        return found if found is not None and are_few(node.inputs[0], found, at) else None

    def rewrite(self, node: Node, found: Projected, at: Workspace) -> Sequence[str]:
        queries, whole = node.inputs[0], at.fact(node.output).shape or ()
        meeting = stacked(at.emit("MatMul", [queries, found.weight(at, (1, 0))]), at)
        turned = at.emit("Transpose", [found.rows], perm=[0, 2, 1])
        scores = at.reshape(at.emit("MatMul", [meeting, turned]), whole)
        if not found.bias:
            return [scores]
        return [at.emit("Add", [scores, at.emit("MatMul", [queries, found.added(at, (1, 0))])])]


def are_few(left: str, found: Projected, at: Workspace) -> bool:
    """Whether a value has few rows for each head of each candidate: fewer than the head has columns."""
    shape, rows = at.fact(left).shape, at.fact(found.rows).shape
    if shape is None or rows is None or len(shape) != (4 if found.heads else 3) or not same(shape[0], rows[0]):
        return False
    if found.heads and not same(shape[1], found.heads):
        return False
    return isinstance(shape[-2], int) and shape[-2] < found.width and isinstance(rows[-1], int)


def stacked(value: str, at: Workspace) -> str:
    """The rows of all heads of a candidate below each other."""
    shape = at.fact(value).shape or ()
    return at.reshape(value, (shape[0], shape[1] * shape[2], shape[3])) if len(shape) == 4 else value
