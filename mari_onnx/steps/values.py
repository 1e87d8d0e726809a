"""What the body of a loop sees of a value at one of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import sympy

from mari_onnx.analysis.facts import Content, Fact
from mari_onnx.ir.dims import Dim, free_symbols, simplified

STEP: Dim = sympy.Symbol("step", integer=True, nonnegative=True)
"""The number of the step, from 0."""


class DependentError(Exception):
    """The steps cannot be run at once; the message says why."""


@dataclass(frozen=True)
class Numbers:
    """Small integers that follow from the number of the step: their content speaks of :data:`STEP`."""

    fact: Fact

    @property
    def content(self) -> Content:
        assert self.fact.content is not None
        return self.fact.content


@dataclass(frozen=True)
class Whole:
    """A value of the graph around the loop, the same at each step."""

    name: str


@dataclass(frozen=True)
class Rows:
    """A value of the graph around the loop, of which step i sees entry i of the first axis."""

    name: str


@dataclass(frozen=True)
class Appended:
    """A list to which each step appends what it makes; ``row`` is ``None`` until it has."""

    row: Rows | None = None


@dataclass(frozen=True)
class Unknown:
    """Nothing is known for all steps at once, and why."""

    reason: str


Value: TypeAlias = Numbers | Whole | Rows | Appended | Unknown


def substituted(fact: Fact, known: Mapping[Dim, Dim]) -> Fact:
    """The fact with symbols in its entries replaced."""
    if fact.content is None or not known:
        return fact
    return replace(fact, content=Content(fact.content.shape, tuple(_replaced(i, known) for i in fact.content.items)))


def _replaced(item: Any, known: Mapping[Dim, Dim]) -> Any:
    return simplified(item.subs(known)) if free_symbols(item) else item
