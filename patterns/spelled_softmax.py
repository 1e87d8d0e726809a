"""A softmax written out::

    m = ReduceMax(x);  e = Exp( Sub(x, m) );  Div( e, ReduceSum(e) )   ->   Softmax( x )

    exp(x - max x) / sum exp(x - max x) = softmax(x)

JAX writes it so, and models that have their own attention; other rules know masks by the Softmax behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._totals import reduced
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace

ANY_AXIS = 13
"""The operator set from which on a Softmax goes along one axis wherever it is."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a softmax is of, and along which axis."""

    value: str
    axis: int


class SpelledSoftmax(Rule[Written]):
    """Writes a softmax as the operator."""

    name = "spelled-softmax"
    algebra = "exp(x - max x) / sum exp(x - max x) = softmax(x)"
    exactness = Exactness.REASSOCIATING
    phases = Phase.EARLY | Phase.MAIN
    ops = frozenset({"Div"})

    def match(self, node: Node, at: Workspace) -> Written | None:
        powers, total = node.inputs
        exp = at.graph.producer(powers)
        summed = _reduced(total, "ReduceSum", powers, at)
        difference = at.graph.producer(exp.inputs[0]) if exp is not None and exp.kind == "Exp" else None
        if summed is None or difference is None or difference.kind != "Sub":
            return None
        value, largest = difference.inputs
        rank = at.fact(value).rank or 0
        if _reduced(largest, "ReduceMax", value, at) != summed or (at.opset < ANY_AXIS and summed != rank - 1):
            return None
        return Written(value, summed) if alike(at.fact(value).shape, at.fact(node.output).shape) else None

    def rewrite(self, node: Node, found: Written, at: Workspace) -> Sequence[str]:
        return [at.emit("Softmax", [found.value], axis=found.axis)]


def _reduced(result: str, op: str, value: str, at: Workspace) -> int | None:
    """The axis along which a value was reduced, where the result has one entry in its place."""
    found = reduced(result, op, at)
    return found[1] if found is not None and found[0] == value else None
