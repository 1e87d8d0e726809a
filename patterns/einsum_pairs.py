"""An Einsum of three or more operands::

    Einsum( "bi,ij,btj->bt", y, W, u )   ->   Einsum( "bi,bti->bt", y, Einsum( "ij,btj->bti", W, u ) )

    sum_ij y_i W_ij u_j = sum_i y_i (sum_j W_ij u_j)

ONNX Runtime takes the operands from the left to the right, two at a time. Which two are taken first decides how much
there is to do: what is made of the user's values and of weights alone is made once. Each of the new ones is an equation
of two operands then, of which the other rules know more. Another order is chosen only where nothing can be infinite,
which would be added up with either sign in front of a sum and not behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from mari_onnx.ir import Node
from mari_onnx.ir.dims import may_be_zero, substitute
from mari_onnx.patterns._equations import agree, plain_terms
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.rewrite.contractions import Contraction, contracted, from_left
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

MOST = 5
"""Operands: for more there are too many orders to look at."""

TYPICAL = CostModel()
"""Says what open sizes count when orders are compared."""


@dataclass(frozen=True, slots=True)
class Operand:
    """The letters of an operand, and whether it is there once per request."""

    term: str
    once: bool


@dataclass(frozen=True, slots=True)
class Step:
    """The places of two operands; what is made of them takes the place of the first, and the other is gone."""

    first: int
    second: int
    contraction: Contraction


@dataclass(frozen=True, slots=True)
class Order:
    """Steps, and the products of single numbers that they take."""

    work: float
    steps: tuple[Step, ...]


class EinsumPairs(Rule[tuple[Step, ...]]):
    """Writes an Einsum as several of two operands."""

    name = "einsum-pairs"
    algebra = "sum_ij y_i W_ij u_j = sum_i y_i (sum_j W_ij u_j)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> tuple[Step, ...] | None:
        equation = plain_terms(node)
        if equation is None or not 2 < len(node.inputs) <= MOST or at.is_once(node.output):
            return None
        terms, result = equation
        if at.fact(node.output).dtype not in FLOATS or not agree(node.inputs, terms, at):
            return None
        # ONNX Runtime's Einsum does not survive operands without entries that have little in common.
        if any(may_be_zero(d) for v in node.inputs for d in at.fact(v).shape or ()):
            return None
        if all(never_infinite(v, at) for v in node.inputs):
            return _least(node.inputs, terms, result, at)
        return tuple(Step(0, 1, step) for step in from_left(terms, result))

    def rewrite(self, node: Node, found: tuple[Step, ...], at: Workspace) -> Sequence[str]:
        values = list(node.inputs)
        for step in found:
            other = values.pop(step.second)
            pair = [values[step.first], other]
            values[step.first] = at.emit("Einsum", pair, equation=step.contraction.equation)
        return values


def _least(values: Sequence[str], terms: Sequence[str], result: str, at: Workspace) -> tuple[Step, ...]:
    """The steps that take the fewest products; from the left to the right where that is no more than others."""
    pairs = [
        (x, d) for v, term in zip(values, terms, strict=True) for x, d in zip(term, at.fact(v).shape or (), strict=True)
    ]
    many, single = (
        {x: int(substitute(d, count, TYPICAL.other)) for x, d in pairs} for count in (TYPICAL.candidates, 1)
    )

    def work(term: str, once: bool) -> float:
        return math.prod((single if once else many)[x] for x in term)

    def ordered(operands: tuple[Operand, ...]) -> Order:
        best = Order(math.inf, ())
        for first, second in combinations(range(len(operands)), 2):
            one, two = operands[first], operands[second]
            rest = [o for k, o in enumerate(operands) if k not in (first, second)]
            made = contracted(one.term, two.term, result + "".join(o.term for o in rest))
            step = Step(first, second, made if rest else Contraction(one.term, two.term, result))
            once = one.once and two.once
            now = work("".join({*one.term, *two.term}), once)
            left = (*operands[:first], Operand(made.made, once), *operands[first + 1 : second], *operands[second + 1 :])
            after = ordered(left) if rest else Order(0.0, ())
            best = min(best, Order(now + after.work, (step, *after.steps)), key=lambda order: order.work)
        return best

    return ordered(tuple(Operand(t, at.is_once(v)) for v, t in zip(values, terms, strict=True))).steps
