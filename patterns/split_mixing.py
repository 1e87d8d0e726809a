"""A product that mixes tokens, some of them the user's::

    MatMul( P, Concat(V_u, V_i) )   ->   MatMul(P_u, V_u) + MatMul(P_i, V_i)

    [P_u, P_i] [V_u; V_i] = P_u V_u + P_i V_i

Attention of a candidate over the user's tokens and its own: the user's values are neither repeated nor copied. P is
computed in two pieces wherever it can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._knowledge import Knowledge
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, one_row
from mari_onnx.patterns._pieces import Pieces, neighbours
from mari_onnx.patterns._quantized import is_left_to_runtime
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Mixed:
    """Parts of the operand that is joined on the axis that is summed over, and its position, 0 or 1."""

    parts: Parts
    operand: int


class SplitMixing(Rule[Mixed]):
    """Splits a product of two computed operands into a half with the user's tokens and one with the items'."""

    name = "split-mixing"
    algebra = "[P_u, P_i] [V_u; V_i] = P_u V_u + P_i V_i"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Mixed | None:
        for operand in (1, 0):
            parts, other = mixed_parts(node.inputs[operand], at), node.inputs[1 - operand]
            if (
                parts is None
                or min(parts.rank, at.fact(other).rank or 0) < 2
                or at.is_weight(other)
                or is_left_to_runtime(node, other, at)
            ):
                continue
            if parts.axis == parts.rank - 1 - operand:
                return Mixed(parts, operand)
        return None

    def rewrite(self, node: Node, found: Mixed, at: Workspace) -> Sequence[str]:
        mixing, pieces = node.inputs[1 - found.operand], Pieces(at, Knowledge(at))
        summed = (at.fact(mixing).rank or 2) - 2 + found.operand
        halves = []
        for once in (True, False):
            chosen = [part for part in found.parts if at.is_once(part[0]) == once]
            value = joined([v for v, _, _ in chosen], found.parts.axis, at)
            mixed = joined([pieces.of(mixing, {summed: run}) for run in neighbours(chosen)], summed, at)
            halves.append(at.emit("MatMul", [mixed, value] if found.operand == 1 else [value, mixed]))
        return [at.emit("Add", [halves[1], one_row(halves[0], at)])]
