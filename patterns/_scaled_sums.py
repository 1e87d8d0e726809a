"""A value as a sum of rows, each multiplied with numbers of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mari_onnx.ir.dims import alike, same
from mari_onnx.ir.graph import Order
from mari_onnx.patterns._parts import one_row, parts_of
from mari_onnx.rewrite.memory import kept
from mari_onnx.rewrite.workspace import Workspace

MOST = 32
"""So many summands, and products of numbers that one of them is multiplied with, are told apart."""

SIGNS = {"Add": (1.0, 1.0), "Sub": (1.0, -1.0), "Neg": (-1.0,)}

Coefficient = tuple[tuple[tuple[str, ...], float], ...]
"""A sum of products of numbers, each with how often it is added; no numbers at all are 1."""

Counts = dict[tuple[str, ...], float]
"""A coefficient that is still being added up."""


@dataclass(frozen=True, slots=True)
class Summand:
    """Rows, and where they are in the sum.

    Attributes:
        rows: Rows for all candidates, or one row for all.
        start: The column of the sum where theirs begin.
        size: How many columns there are.
        coefficient: What each row is multiplied with: values that have one number for it.
    """

    rows: str
    start: int
    size: int
    coefficient: Coefficient

    @property
    def is_plain(self) -> bool:
        """Whether the rows are multiplied with nothing but a constant."""
        return all(not numbers for numbers, _ in self.coefficient)


@kept
def summands(value: str, at: Workspace) -> tuple[Summand, ...]:
    """What a value is the sum of, for each of the parts that it is joined of along its last axis."""
    shape, parts = at.fact(value).shape, parts_of(value, at)
    if not shape or len(shape) < 2 or not isinstance(shape[-1], int):
        return ()
    if parts is None or parts.axis != parts.rank - 1:
        return tuple(_of_part(value, 0, shape[-1], at))
    return tuple(s for v, start, size in parts if size for s in _of_part(v, start, size, at))


def _of_part(value: str, start: int, size: int, at: Workspace) -> list[Summand]:
    """What some columns are the sum of; the columns as they are where that is too much.

    Values are taken apart from the last to the first, so all that is added of one is known when its turn comes. What
    was added up of several of the candidates' before it was scaled stays one, so as not to become several products.
    """
    waiting: dict[str, Counts] = {value: {(): 1.0}}
    scaled: dict[str, None] = {}
    found: list[Summand] = []
    while waiting:
        if len(waiting) + len(found) > MOST or any(len(c) > MOST for c in waiting.values()):
            return [Summand(value, start, size, (((), 1.0),))]
        last = max(waiting, key=lambda v: _place(v, at))
        coefficient, terms, number = waiting.pop(last), _terms(last, at), _scale(last, at)
        if number is not None:
            terms, scaled[number[0]] = [(number[0], 1.0)], None
            coefficient = {_sorted((*numbers, number[1]), at): f for numbers, f in coefficient.items()}
        elif not terms or (last in scaled and sum(not at.is_once(v) for v, _ in terms) > 1):
            found.append(Summand(last, start, size, _in_order(coefficient, at)))
            continue
        for v, sign in terms:
            known = waiting.setdefault(v, {})
            for numbers, f in coefficient.items():
                known[numbers] = known.get(numbers, 0.0) + sign * f
    return found


def _terms(value: str, at: Workspace) -> list[tuple[str, float]]:
    """What a value is the sum of, each with its sign: as many rows as it has, or one for all of them."""
    node = at.graph.producer(value)
    if node is None or node.domain or node.op not in SIGNS or at.is_once(value):
        return []
    fits = all(alike(at.fact(v).shape, at.fact(value).shape) or _is_row(v, value, at) for v in node.inputs)
    return list(zip(node.inputs, SIGNS[node.op], strict=True)) if fits else []


def _is_row(value: str, total: str, at: Workspace) -> bool:
    """Whether a value is computed once and is one row, of as many columns as a sum has."""
    shape, whole = at.fact(one_row(value, at)).shape, at.fact(total).shape or ()
    if not shape or not at.is_once(value):
        return False
    return alike(shape[-1:], whole[-1:]) and all(same(d, 1) for d in shape[:-1])


def _scale(value: str, at: Workspace) -> tuple[str, str] | None:
    """The rows that a value has, and what has the number that each of them is multiplied with."""
    node, shape = at.graph.producer(value), at.fact(value).shape
    if node is None or node.domain or node.op != "Mul" or at.is_once(value) or not shape or same(shape[-1], 1):
        return None
    for rows, number in (node.inputs, node.inputs[::-1]):
        size = at.fact(number).shape
        if alike(at.fact(rows).shape, shape) and size and same(size[-1], 1) and not at.is_weight(number):
            return rows, number
    return None


def _place(value: str, at: Workspace) -> Order:
    """Where a value is made; inputs and weights come before all others."""
    node = at.graph.producer(value)
    return at.graph.order(node) if node is not None else ()


def _sorted(numbers: Iterable[str], at: Workspace) -> tuple[str, ...]:
    return tuple(sorted(numbers, key=lambda v: (_place(v, at), v)))


def _in_order(coefficient: Counts, at: Workspace) -> Coefficient:
    """What is made first comes first: so the sums of one layer of a network begin as those of the layer before."""
    return tuple(sorted(coefficient.items(), key=lambda item: [(_place(v, at), v) for v in reversed(item[0])]))
