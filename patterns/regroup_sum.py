"""Two summands that are computed once, one after the other::

    Add( Add(x, u), v )            ->   Add( x, Add(u, v) )
    Add( Gemm(x, W, C = u), v )    ->   Gemm( x, W, C = Add(u, v) )

    (x + u) + v = x + (u + v)

The second sum runs once per request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import one_row
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Summands:
    """The node that has the inner sum, the position of its summand computed once, and the outer one."""

    inner: Node
    position: int
    outer: str


class RegroupSum(Rule[Summands]):
    """Adds what is computed once before it meets the candidates."""

    name = "regroup-sum"
    algebra = "(x + u) + v = x + (u + v)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Add"})

    def match(self, node: Node, at: Workspace) -> Summands | None:
        for inner_value, outer in (node.inputs, reversed(node.inputs)):
            inner = at.graph.producer(inner_value)
            if inner is None or inner.domain or not at.is_once(outer) or at.is_once(inner_value):
                continue
            if not at.graph.is_private(inner_value):
                continue
            position = _once_summand(inner, at)
            if position is not None:
                return Summands(inner, position, outer)
        return None

    def rewrite(self, node: Node, found: Summands, at: Workspace) -> Sequence[str]:
        inputs = list(found.inner.inputs)
        total = at.emit("Add", [one_row(inputs[found.position], at), one_row(found.outer, at)])
        inputs[found.position] = one_row(total, at)
        return [at.emit(found.inner.op, inputs, **dict(found.inner.attrs))]


def _once_summand(inner: Node, at: Workspace) -> int | None:
    if inner.op == "Gemm":
        # A missing bias has room for one; one that is scaled has not.
        unscaled = inner.has_input(2) and inner.attrs.get("beta", 1.0) == 1.0
        return 2 if unscaled and at.is_once(inner.inputs[2]) else None
    if inner.op != "Add":
        return None
    return next((i for i, v in enumerate(inner.inputs) if at.is_once(v)), None)
