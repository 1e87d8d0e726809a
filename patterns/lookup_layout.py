"""Rows that candidates have looked up among those of the user, laid out anew::

    Transpose( Gather(u: [T, d], i: [B, K]) -> [B, K, d]; 1, 0, 2 )   ->   Gather( u, Transpose(i) )
    Reshape( Gather(u: [T, 2 d], i: [B, K]) -> [B, K, 2, d] )         ->   Gather( Reshape(u), i )

    move(u[i]) = move(u)[move(i)]

The axes of the indices stay together, in whatever order; what concerns the rows alone is done to those of the user.
The layers behind it, keys and values of an attention over chosen steps, then are worked on before they are looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, product, same
from mari_onnx.ir.orders import order_of
from mari_onnx.patterns._lookups import Lookup, lookup_of
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Order:
    """In which order the axes of rows and indices stand then."""

    rows: tuple[int, ...]
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Laid:
    """A layout done before a lookup.

    Attributes:
        lookup: The lookup.
        how: The order of axes, or the shape of the rows.
        axis: The axis of the rows that is looked up in then.
    """

    lookup: Lookup
    how: Order | Shape
    axis: int


class LookupLayout(Rule[Laid]):
    """Lays out the user's rows before candidates choose among them."""

    name = "lookup-layout"
    algebra = "move(u[i]) = move(u)[move(i)]"
    exactness = Exactness.EXACT
    ops = VIEWS | {"Transpose"}

    def match(self, node: Node, at: Workspace) -> Laid | None:
        lookup = lookup_of(at.graph.producer(node.inputs[0]), at)
        if lookup is None:
            return None
        return _turned(node, lookup, at) if node.op == "Transpose" else _viewed(node, lookup, at)

    def rewrite(self, node: Node, found: Laid, at: Workspace) -> Sequence[str]:
        rows, indices = found.lookup.rows, found.lookup.indices
        if isinstance(found.how, Order):
            rows, indices = _in_order(rows, found.how.rows, at), _in_order(indices, found.how.indices, at)
        else:
            rows = at.reshape(rows, found.how)
        return [at.emit("Gather", [rows, indices], axis=found.axis)]


def _turned(node: Node, lookup: Lookup, at: Workspace) -> Laid | None:
    rank = at.fact(node.output).rank or 0
    order = order_of(node, rank)
    places = [place for place, axis in enumerate(order) if not lookup.is_of_rows(axis)]
    if places != list(range(places[0], places[0] + lookup.count)):
        return None
    indices = tuple(order[place] - lookup.axis for place in places)
    rows = [lookup.axis if place == places[0] else lookup.own(order[place]) for place in _but(rank, places[1:])]
    return Laid(lookup, Order(tuple(rows), indices), places[0])


def _but(rank: int, gone: Sequence[int]) -> list[int]:
    return [place for place in range(rank) if place not in gone]


def _viewed(node: Node, lookup: Lookup, at: Workspace) -> Laid | None:
    """The indices' axes stand somewhere as they are, with as many entries in front of them and behind."""
    before, after, own = (at.fact(v).shape for v in (node.inputs[0], node.output, lookup.rows))
    if before is None or after is None or own is None:
        return None
    first, count = lookup.axis, lookup.count
    chosen, front, behind = before[first : first + count], product(before[:first]), product(before[first + count :])
    for place in range(len(after) - count + 1):
        shape = (*after[:place], own[first], *after[place + count :])
        fits = same(product(after[:place]), front) and same(product(after[place + count :]), behind)
        if fits and alike(after[place : place + count], chosen):
            return None if alike(shape, own) else Laid(lookup, shape, place)
    return None


def _in_order(value: str, order: tuple[int, ...], at: Workspace) -> str:
    return value if order == tuple(range(len(order))) else at.emit("Transpose", [value], perm=list(order))
