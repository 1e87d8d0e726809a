"""Scores of few queries among rows that each candidate has of its own, behind a layer::

    MatMul( q, Transpose( MatMul(G, W) + c ) )   ->   MatMul( MatMul(q, W^T), Transpose(G) ) + MatMul( q, c^T )

    q (G W + c)^T = (q W^T) G^T + q c^T

The weight meets a few queries and not the many rows that a candidate has chosen, among a long history for one. With
heads, the queries of all of them meet the same rows. A query that is infinite would meet columns of either sign first.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._projected import Projected, are_few, projected, stacked
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class LateKeys(Rule[Projected]):
    """Multiplies queries with the weight that makes keys."""

    name = "late-keys"
    algebra = "q (G W + c)^T = (q W^T) G^T + q c^T"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Projected | None:
        found = projected(node.inputs[1], (1, 0), at)
        if found is None or not are_few(node.inputs[0], found, node.inputs[1], at):
            return None
        return found if never_infinite(node.inputs[0], at) else None

    def rewrite(self, node: Node, found: Projected, at: Workspace) -> Sequence[str]:
        queries, whole = found.split(node.inputs[0], at), at.fact(node.output).shape or ()
        shape = at.fact(queries).shape or ()
        meeting = stacked(at.emit("MatMul", [queries, found.weight(at, (1, 0))]), at)
        turned = at.emit("Transpose", [found.rows(at)], perm=[0, 2, 1])
        scores = at.reshape(at.emit("MatMul", [meeting, turned]), (*shape[:-1], whole[-1]))
        if found.bias:
            scores = at.emit("Add", [scores, at.emit("MatMul", [queries, found.added(at, (1, 0))])])
        return [at.reshape(scores, whole)]
