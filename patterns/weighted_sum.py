"""A sum of rows, each times a number of its own, as a product::

    ReduceSum( a: [.., n, 1] * x: [.., n, d], axis -2 )   ->   MatMul( a: [.., 1, n], x )

    sum_k a_k x_k = a^T x

A mixture of experts, and a history pooled with weights, are such sums. The product reads ``x`` once and writes nothing
of its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._sums import summed_product
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Mixture:
    """One number for each row, and the rows."""

    weights: str
    rows: str


class WeightedSum(Rule[Mixture]):
    """Writes a weighted sum of rows as a product."""

    name = "weighted-sum"
    algebra = "sum_k a_k x_k = a^T x"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"ReduceSum"})

    def match(self, node: Node, at: Workspace) -> Mixture | None:
        found = summed_product(node, at)
        if found is None or found[1] != -2:
            return None
        scaled, _ = found
        for weights, rows in (scaled.inputs, scaled.inputs[::-1]):
            narrow, wide = at.fact(weights).shape, at.fact(rows).shape
            if not narrow or not wide or min(len(narrow), len(wide)) < 2:
                continue
            if same(narrow[-1], 1) and not same(wide[-1], 1) and same(narrow[-2], wide[-2]):
                return Mixture(weights, rows)
        return None

    def rewrite(self, node: Node, found: Mixture, at: Workspace) -> Sequence[str]:
        *lead, count, one = at.fact(found.weights).shape or ()
        total = at.emit("MatMul", [at.reshape(found.weights, (*lead, one, count)), found.rows])
        return [total if node.attrs.get("keepdims", 1) else at.squeeze(total, [(at.fact(total).rank or 0) - 2])]
