"""A mean written out::

    Div( ReduceSum(x), n )   ->   ReduceMean( x )

    sum(x) / n = mean(x)

JAX writes it so, and its views bring back the axis that the sum has dropped. A normalization in Keras has one mean in
the variance and another one in front of it: they are one then, and other rules know normalizations by it. Where nothing
is less that mean, it stays a sum, of which other rules know more.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._sums import reduced_along
from mari_onnx.patterns._totals import DIVISIONS, divided_total
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


class SpelledMean(Rule[tuple[str, int]]):
    """Writes a mean as the operator."""

    name = "spelled-mean"
    algebra = "sum(x) / n = mean(x)"
    exactness = Exactness.REASSOCIATING
    phases = Phase.EARLY | Phase.MAIN
    ops = DIVISIONS

    def match(self, node: Node, at: Workspace) -> tuple[str, int] | None:
        found = divided_total(node, "ReduceSum", at) if at.fact(node.output).dtype in PRECISE else None
        if found is None:
            return None
        readers = at.graph.consumers(node.output)
        return found if any(r.kind == "Sub" and r.inputs == (found[0], node.output) for r in readers) else None

    def rewrite(self, node: Node, found: tuple[str, int], at: Workspace) -> Sequence[str]:
        return [reduced_along("ReduceMean", *found, at)]
