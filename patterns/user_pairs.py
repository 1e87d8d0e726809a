"""Pairs of fields of which both are the user's, in front of those that have a field of the item::

    Gather( Concat(u, i), [l_1, l_2, ..] )   ->   Concat( Gather(u, [l_1, ..]), Gather( Concat(u, i), [l_2, ..] ) )

    x[k] = [u[k_u], x[k_i]]

Models that list the pairs of fields take the left ones and the right ones of all by constant numbers. Where nothing
depends on the order of the pairs but weights, which are put in the new order, those of the user are worked out once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
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
        gathers: The lookups that list them.
        count: How many of them are the user's alone, which come first.
    """

    orders: Orders
    gathers: tuple[Node, ...]
    count: int


class UserPairs(Rule[Pairs]):
    """Looks up the user's pairs of fields by themselves."""

    name = "user-pairs"
    algebra = "x[k] = [u[k_u], x[k_i]]"
    rival = True
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Gather"})

    def match(self, node: Node, at: Workspace) -> Pairs | Refusal | None:
        if not _is_list(node, at) or mixed_parts(node.inputs[0], at) is None:
            return None
        axis, pairs = _axis(node, at), tuple(range(len(_numbers(node, at))))
        linked = orders_from(node.output, axis, pairs, at)
        if linked is None:
            return Refusal("the order of its pairs matters to something that reads them")
        lists = [n for n in linked.nodes if _is_list(n, at)]
        gathers = tuple(n for n in lists if linked.places.get((n.output, _axis(n, at))) == pairs)
        once = np.array([_are_once(n, at) for n in gathers]).all(axis=0)
        if not once.any() or once.all():
            return None
        order = tuple(np.argsort(~once, kind="stable").tolist())
        orders = orders_from(node.output, axis, order, at)
        return None if orders is None else Pairs(orders, gathers, int(once.sum()))

    def rewrite(self, node: Node, found: Pairs, at: Workspace) -> Sequence[str]:
        def build(each: Node, orders: Orders, made: dict[str, str], at: Workspace) -> list[str]:
            return [_apart(each, found, at)] if each in found.gathers else in_order(each, orders, made, at)

        return in_new_order(node, found.orders, self.name, build, at)


def _is_list(node: Node, at: Workspace) -> bool:
    """Whether a node takes entries of a computed value by constant numbers."""
    if node.op != "Gather" or node.domain or not at.is_weight(node.inputs[1]) or at.is_weight(node.inputs[0]):
        return False
    return at.fact(node.inputs[1]).rank == 1 and at.fact(node.inputs[0]).rank is not None


def _axis(node: Node, at: Workspace) -> int:
    """The axis that entries are taken from."""
    return int(node.attrs.get("axis", 0)) % (at.fact(node.inputs[0]).rank or 1)


def _numbers(node: Node, at: Workspace) -> np.ndarray:
    found = at.constant(node.inputs[1])
    assert found is not None
    return found


def _are_once(node: Node, at: Workspace) -> np.ndarray:
    """Which of the entries that a lookup takes are computed once."""
    numbers, parts = _numbers(node, at), mixed_parts(node.inputs[0], at)
    if parts is None or parts.axis != _axis(node, at):
        return np.full(len(numbers), at.is_once(node.inputs[0]))
    sides = np.repeat([at.is_once(v) for v in parts.values], parts.sizes)
    return np.take(sides, numbers % parts.total)


def _apart(node: Node, found: Pairs, at: Workspace) -> str:
    """What a lookup takes, in two pieces."""
    data, parts = node.inputs[0], mixed_parts(node.inputs[0], at)
    axis = _axis(node, at)
    numbers = _numbers(node, at)[list(found.orders.places[node.output, axis])]
    first, rest = numbers[: found.count], numbers[found.count :]
    if parts is None or parts.axis != axis:
        pieces = [at.emit("Gather", [data, at.weight(piece)], axis=axis) for piece in (first, rest)]
        return joined(pieces, axis, at)
    wanted = sorted({int(n) for n in first % parts.total})
    user = joined([taken(parts, n, 1, at) for n in wanted], axis, at)
    places = np.searchsorted(wanted, first % parts.total).astype(np.int64)
    pieces = [
        at.emit("Gather", [user, at.weight(places)], axis=axis),
        at.emit("Gather", [data, at.weight(rest)], axis=axis),
    ]
    return joined(pieces, axis, at)
