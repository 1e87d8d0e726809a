"""An Einsum over an axis that stays, some of whose entries are the user's::

    Einsum( "btd,tde->bte", Concat(u, i; axis t), W )   ->   Concat( Einsum(u, W_u), Einsum(i, W_i); axis t )

    [u; i] x_t [W; V] = [u x W; i x V]

Layers with weights of their own for each token run once for the user's tokens. Other operands that have the axis are
cut along with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._equation_parts import CutEquation, cut_apart, cut_equation
from mari_onnx.patterns._equations import plain_terms
from mari_onnx.patterns._parts import joined
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class ConcatEinsum(Rule[CutEquation]):
    """Takes an Einsum apart along an axis that its result has as well."""

    name = "concat-einsum"
    algebra = "[u; i] x_t [W; V] = [u x W; i x V]"
    exactness = Exactness.EXACT
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> CutEquation | None:
        equation = plain_terms(node)
        return None if equation is None else cut_equation(node, equation[0], set(equation[1]), at)

    def rewrite(self, node: Node, found: CutEquation, at: Workspace) -> Sequence[str]:
        axis = str(node.attrs["equation"]).replace(" ", "").partition("->")[2].index(found.letter)
        return [joined(cut_apart(node, found, at), axis, at)]
