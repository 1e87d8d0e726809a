"""Pairs of fields of which both are the user's, in front of those that have a field of the item::

    Gather( Concat(u, i), [l_1, l_2, ..] )   ->   Concat( Gather(u, [l_1, ..]), Gather( Concat(u, i), [l_2, ..] ) )

    x[k] = [u[k_u], x[k_i]]

Models that list the pairs of fields take the left ones and the right ones of all by constant numbers. Where nothing
depends on the order of the pairs but weights, which are put in the new order, those of the user are worked out once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.patterns._listed import LISTS, Listed, listed_of
from mari_onnx.patterns._orders import Orders, orders_from
from mari_onnx.patterns._parts import joined, mixed_parts, taken
from mari_onnx.patterns._reordering import in_new_order, in_order
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True)
class Pairs:
    """How pairs are sorted.

    Attributes:
        orders: The new order, and whom it touches.
        lists: What lists their left ones, and their right ones.
        count: How many of them are the user's alone, which come first.
    """

    orders: Orders
    lists: Mapping[Node, Listed]
    count: int


class UserPairs(Rule[Pairs]):
    """Looks up the user's pairs of fields by themselves."""

    name = "user-pairs"
    algebra = "x[k] = [u[k_u], x[k_i]]"
    rival = True
    exactness = Exactness.REASSOCIATING
    ops = frozenset(LISTS)

    def match(self, node: Node, at: Workspace) -> Pairs | Refusal | None:
        listed = listed_of(node, at)
        if listed is None or mixed_parts(listed.source, at) is None:
            return None
        pairs = tuple(range(len(listed.numbers)))
        linked = orders_from(node.output, listed.axis, pairs, at)
        if linked is None:
            return Refusal("the order of its pairs matters to something that reads them")
        lists = {n: each for n in linked.nodes if (each := listed_of(n, at)) is not None}
        lists = {n: each for n, each in lists.items() if linked.places.get((n.output, each.axis)) == pairs}
        once = np.array([_are_once(each, at) for each in lists.values()]).all(axis=0)
        if not once.any() or once.all():
            return None
        order = tuple(np.argsort(~once, kind="stable").tolist())
        orders = orders_from(node.output, listed.axis, order, at)
        return None if orders is None else Pairs(orders, lists, int(once.sum()))

    def rewrite(self, node: Node, found: Pairs, at: Workspace) -> Sequence[str]:
        def build(each: Node, orders: Orders, made: dict[str, str], at: Workspace) -> list[str]:
            listed = found.lists.get(each)
            if listed is None:
                return in_order(each, orders, made, at)
            return [_apart(listed, orders.places[each.output, listed.axis], found.count, at)]

        return in_new_order(node, found.orders, self.name, build, at)


def _are_once(listed: Listed, at: Workspace) -> np.ndarray:
    """Which entries of a list are computed once."""
    parts = mixed_parts(listed.source, at)
    if parts is None or parts.axis != listed.axis:
        return np.full(len(listed.numbers), at.is_once(listed.source))
    sides = np.repeat([at.is_once(v) for v in parts.values], parts.sizes)
    return np.take(sides, listed.numbers)


def _apart(listed: Listed, places: Sequence[int], count: int, at: Workspace) -> str:
    """A list in a new order, in two pieces, of which the first one has so many entries."""
    parts = mixed_parts(listed.source, at)
    if parts is None or parts.axis != listed.axis:
        return joined([listed.entries(piece, at) for piece in (places[:count], places[count:])], listed.axis, at)
    first = [listed.numbers[place] for place in places[:count]]
    wanted = sorted(set(first))
    user = joined([taken(parts, number, 1, at) for number in wanted], listed.axis, at)
    own = Listed(user, listed.axis, tuple(np.searchsorted(wanted, first).tolist()))
    return joined([own.all_entries(at), listed.entries(places[count:], at)], listed.axis, at)
