"""An Einsum that sums over an axis some of whose entries are the user's::

    Einsum( "btd,tde->be", Concat(u, i; axis t), W )   ->   Einsum(u, W_u) + Einsum(i, W_i)

    sum_t [u; i]_t [W; V]_t = sum_t u_t W_t + sum_t i_t V_t

The sum over the user's entries runs once, and where other operands are the items', with fewer entries of the user's.
Other operands that have the axis are cut along with it: a layer over all tokens with weights of their own, and pairs of
fields that are summed with a weight for each.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._equation_parts import CutEquation, cut_apart, cut_equation
from mari_onnx.patterns._equations import plain_terms
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._parts import summed
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class SplitEinsum(Rule[CutEquation]):
    """Takes an Einsum apart along an axis that it sums over."""

    name = "split-einsum"
    algebra = "sum_t [u; i]_t [W; V]_t = sum_t u_t W_t + sum_t i_t V_t"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> CutEquation | None:
        equation = plain_terms(node)
        if equation is None or at.fact(node.output).dtype not in FLOATS:
            return None
        terms, result = equation
        return cut_equation(node, terms, {*"".join(terms)} - {*result}, at)

    def rewrite(self, node: Node, found: CutEquation, at: Workspace) -> Sequence[str]:
        return [summed(cut_apart(node, found, at), at)]
