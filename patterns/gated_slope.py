"""Dice, the activation of DIN: the gate chooses between the value and a fraction of it::

    x * p + x * (1 - p) * a   ->   x * (a + p * (1 - a))      a constant
    x * p + x * (1 - p) * 0   ->   x * p

    x p + x (1 - p) a = x (a + p (1 - a))

Three operators on as many entries as there are steps and candidates, instead of five.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

DEEPEST = 3
"""How many products are looked into, one inside the other."""


@dataclass(frozen=True, slots=True)
class Gated:
    """The value, its gate, and the fraction of it where the gate is shut; the fraction is a constant."""

    value: str
    gate: str
    slope: str


class GatedSlope(Rule[Gated]):
    """Multiplies the value once."""

    name = "gated-slope"
    algebra = "x p + x (1 - p) a = x (a + p (1 - a))"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Add"})

    def match(self, node: Node, at: Workspace) -> Gated | None:
        fact = at.fact(node.output)
        if fact.dtype not in PRECISE:
            return None
        for one, other in (node.inputs, node.inputs[::-1]):
            found = _gated(list(_factors(one, at)), list(_factors(other, at)), at)
            if found is not None and all(alike(at.fact(v).shape, fact.shape) for v in (found.value, found.gate)):
                # What is infinite is no number behind a gate that is shut.
                return found if never_infinite(found.value, at) else None
        return None

    def rewrite(self, node: Node, found: Gated, at: Workspace) -> Sequence[str]:
        slope = at.constant(found.slope)
        assert slope is not None
        if not slope.any():
            return [at.emit("Mul", [found.value, found.gate])]
        rest = at.weight((1 - slope).astype(slope.dtype), f"{found.slope}/rest")
        return [at.emit("Mul", [found.value, at.emit("Add", [at.emit("Mul", [found.gate, rest]), found.slope])])]


def _gated(opened: list[str], shut: list[str], at: Workspace) -> Gated | None:
    """What ``x p`` and ``x (1 - p) a`` have in common, from their factors."""
    if len(opened) != 2 or len(shut) != 3:
        return None
    for value, gate in (opened, opened[::-1]):
        rest = [v for v in shut if v != value]
        slopes = [v for v in rest if not _is_rest_of(v, gate, at)]
        if len(rest) == 2 and len(slopes) == 1 and at.is_weight(slopes[0]):
            return Gated(value, gate, slopes[0])
    return None


def _is_rest_of(value: str, gate: str, at: Workspace) -> bool:
    """Whether a value is one less the gate."""
    node = at.graph.producer(value)
    if node is None or node.op != "Sub" or node.domain or node.inputs[1] != gate:
        return False
    one = at.constant(node.inputs[0])
    return one is not None and one.size == 1 and bool(np.all(one == 1))


def _factors(value: str, at: Workspace, depth: int = DEEPEST) -> Iterator[str]:
    """What a value is the product of, where nothing else reads the products in between."""
    node = at.graph.producer(value)
    if node is None or node.op != "Mul" or node.domain or not depth or not at.graph.is_private(value):
        yield value
        return
    for factor in node.inputs:
        yield from _factors(factor, at, depth - 1)
