"""Rows of a tensor, seen as rows of the user that were multiplied with numbers of the candidate's own.

A gate weighs whole fields, ``x[f] * g[f]``. What is linear in each field, and products of fields, keep the numbers in
front: ``(g u) W = g (u W)`` and ``(g u) * (h v) = (g h) (u * v)``. Each row is followed by itself, as far as it is cut
out of others or joined with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, same
from mari_onnx.patterns._linear import is_linear_layer
from mari_onnx.patterns._row_sources import RowSources, source_of
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

MAX_DEPTH = 40
"""What lies further up is not looked at."""


@dataclass(frozen=True, slots=True)
class Number:
    """An entry of a value that has so many for each candidate."""

    source: str
    entry: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """A row of a value that is computed once."""

    value: str
    row: int


@dataclass(frozen=True, slots=True)
class Times:
    """The products of two rows' entries."""

    left: Row
    right: Row


@dataclass(frozen=True, slots=True)
class Layer:
    """What a linear layer makes of a row."""

    node: Node
    row: Row


Row: TypeAlias = Leaf | Times | Layer
"""A row of the user, and how it is computed."""


@dataclass(frozen=True, slots=True)
class Gated:
    """A row of the user times numbers of the candidate, none where it is the user's alone."""

    numbers: tuple[Number, ...]
    row: Row


class GatedRows:
    """Finds out what rows are made of, each once.

    Values have candidates on their first axis, and rows on the second where there are three.
    """

    def __init__(self, at: Workspace) -> None:
        self._at = at
        self._sources = RowSources(at)
        self._known: dict[tuple[str, int], Gated | None] = {}

    def of(self, value: str, row: int, depth: int = 0) -> Gated | None:
        """A row of a value; ``None`` where it is something else."""
        key = (value, row)
        if key not in self._known:
            self._known[key] = self._found(value, row, depth + 1) if depth < MAX_DEPTH else None
        return self._known[key]

    def _found(self, value: str, row: int, depth: int) -> Gated | None:
        at, shape = self._at, self._at.fact(value).shape
        if not shape or len(shape) not in (2, 3) or not isinstance(shape[-1], int):
            return None
        if at.is_once(value):
            return Gated((), Leaf(value, row)) if is_row_for_each(value, at) else None
        node = at.graph.producer(value)
        if node is None or node.domain:
            return None
        if node.op == "Mul":
            return self._product(node, shape, row, depth)
        if node.op in ("MatMul", "Gemm"):
            return self._layer(node, row, depth)
        source = self._sources.of(node, value, row)
        return None if source is None else self.of(*source, depth)

    def _product(self, node: Node, shape: Shape, row: int, depth: int) -> Gated | None:
        for wide, narrow in (node.inputs, node.inputs[::-1]):
            number = self._number(narrow, shape, row)
            rows = self._operand(wide, shape, row, depth) if number is not None else None
            if number is not None and rows is not None:
                return Gated((*rows.numbers, number), rows.row)
        left, right = (self._operand(v, shape, row, depth) for v in node.inputs)
        if left is None or right is None:
            return None
        return Gated((*left.numbers, *right.numbers), Times(left.row, right.row))

    def _operand(self, value: str, shape: Shape, row: int, depth: int) -> Gated | None:
        """The row of an operand that meets a row of the product."""
        met = row_met(value, shape, row, self._at)
        return None if met is None else self.of(value, met, depth)

    def _number(self, value: str, shape: Shape, row: int) -> Number | None:
        """The number of each candidate that a row is multiplied with."""
        own = self._at.fact(value).shape or ()
        if self._at.is_once(value) or len(own) != len(shape) or not same(own[-1], 1) or same(shape[-1], 1):
            return None
        if not has_candidates_first(value, self._at):
            return None
        return number_of(value, 0 if len(own) == 2 or same(own[1], 1) else row, self._at)

    def _layer(self, node: Node, row: int, depth: int) -> Gated | None:
        if not is_linear_layer(node, self._at) or node.has_input(2):
            return None
        found = self.of(node.inputs[0], row, depth)
        return None if found is None or not found.numbers else Gated(found.numbers, Layer(node, found.row))


def row_met(value: str, shape: Shape, row: int, at: Workspace) -> int | None:
    """The row of an operand that meets a row of what is made of it, where they are of one width."""
    own = at.fact(value).shape or ()
    if len(own) != len(shape) or not same(own[-1], shape[-1]):
        return None
    return 0 if len(own) == 3 and same(own[1], 1) else row


def has_candidates_first(value: str, at: Workspace) -> bool:
    """Whether the first axis of a value is that of the candidates, all sizes behind it known."""
    fact = at.fact(value)
    if fact.opaque or fact.axis is None or fact.axis.index or not fact.axis.is_whole:
        return False
    return all(isinstance(size, int) for size in (fact.shape or ())[1:])


def is_row_for_each(value: str, at: Workspace) -> bool:
    """Whether a value that is computed once is one for all candidates, with its rows behind their axis."""
    fact = at.fact(value)
    if fact.axis is not None:
        return has_candidates_first(value, at)
    return fact.shape is not None and same(fact.shape[0], 1) and all(isinstance(size, int) for size in fact.shape)


def number_of(value: str, entry: int, at: Workspace) -> Number:
    """Where an entry that each candidate has comes from."""
    while True:
        node = at.graph.producer(value)
        source = None
        if node is not None and not node.domain and _has_entries_alone(node.inputs[0], at):
            if node.op in VIEWS:
                source = (node.inputs[0], entry)
            elif _has_entries_alone(value, at):
                found = source_of(node, value, at)
                source = None if found is None else found(entry)
        if source is None or not has_candidates_first(source[0], at):
            return Number(value, entry)
        value, entry = source


def _has_entries_alone(value: str, at: Workspace) -> bool:
    """Whether a value has one axis behind that of the candidates, but for axes of size 1."""
    shape = at.fact(value).shape if value else None
    return bool(shape) and shape is not None and product(shape[1:]) == product(shape[1:2])
