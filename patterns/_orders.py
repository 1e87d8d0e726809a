"""What has to change in a graph for the entries along one axis of a value to lie in another order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, same
from mari_onnx.patterns._axes import Label, Row
from mari_onnx.patterns._labels import labels_of
from mari_onnx.patterns._listed import listed_of
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

Order = tuple[int, ...]
"""Where each entry along an axis was before."""
Place = tuple[str, int]
"""An axis of a value."""

MAX_PLACES = 300


@dataclass(frozen=True)
class Orders:
    """New orders along axes of values, and the nodes that read or make them.

    Attributes:
        at: The graph.
        places: Order by place.
        nodes: Producers before those that read them.
    """

    at: Workspace
    places: dict[Place, Order]
    nodes: tuple[Node, ...]

    def axes(self, value: str) -> dict[int, Order]:
        """The axes of a value along which its order changes."""
        rank = self.at.fact(value).rank or 0
        return {axis: self.places[value, axis] for axis in range(rank) if (value, axis) in self.places}


def orders_from(value: str, axis: int, order: Order, at: Workspace) -> Orders | None:
    """Follows a new order to where nothing depends on it; ``None`` where something does."""
    places: dict[Place, Order] = {(value, axis): order}
    queue, touched = [(value, axis)], dict[Node, None]()
    while queue:
        known, _ = queue.pop()
        producer = at.graph.producer(known)
        if producer is None or at.graph.is_pinned(known) or len(places) > MAX_PLACES:
            return None
        for node in (producer, *at.graph.consumers(known)):
            touched[node] = None
            implied = _implied(node, places, at)
            if implied is None:
                return None
            for place, found in implied:
                if place not in places:
                    places[place] = found
                    queue.append(place)
                elif places[place] != found:
                    return None
    nodes = tuple(at.graph.sorted_among(touched))
    consistent = all(_holds(node, places, at) for node in nodes)
    return Orders(at, places, nodes) if consistent else None


def _holds(node: Node, places: dict[Place, Order], at: Workspace) -> bool:
    implied = _implied(node, places, at)
    return implied is not None and all(places.get(place) == order for place, order in implied)


def _implied(node: Node, places: dict[Place, Order], at: Workspace) -> list[tuple[Place, Order]] | None:
    """The orders that a node asks of the values around it, ``None`` where it depends on the order."""
    if is_list_in(node, places, at):
        return []
    if node.op in VIEWS and not node.domain:
        return _through_view(node, places, at)
    labels = labels_of(node, at)
    if labels is None:
        return None
    rows = list(zip((*node.inputs, *node.outputs), (*labels.inputs, *labels.outputs), strict=True))
    joined = axis_joined(node, at)
    wanted: dict[Label, Order] = {}
    for value, row in rows:
        for axis, label in enumerate(row):
            order = places.get((value, axis))
            if order is None or (joined is not None and axis == joined):
                continue
            if label is None or wanted.setdefault(label, order) != order:
                return None
    implied = [
        ((value, axis), wanted[label])
        for value, row in rows
        for axis, label in enumerate(row)
        if label in wanted and not at.is_weight(value)
    ]
    if joined is None:
        return implied
    along = _along_join(node, joined, places, at)
    return None if along is None else implied + along


def is_list_in(node: Node, places: Mapping[Place, Order], at: Workspace) -> bool:
    """Whether a node does nothing but list entries, and these alone are to be in another order."""
    listed = listed_of(node, at)
    if listed is None:
        return False
    rank = at.fact(node.output).rank or 0
    ordered = [axis for axis in range(rank) if (node.output, axis) in places]
    inside = [(value, axis) for value in node.inputs for axis in range(rank) if (value, axis) in places]
    return ordered == [listed.axis] and not inside


def axis_joined(node: Node, at: Workspace) -> int | None:
    """The axis on which a Concat joins."""
    rank = at.fact(node.output).rank if node.op == "Concat" and not node.domain else None
    return int(node.attrs["axis"]) % rank if rank else None


def _along_join(node: Node, axis: int, places: dict[Place, Order], at: Workspace) -> list[tuple[Place, Order]] | None:
    if (node.output, axis) in places:
        return [] if arrangement(node, places, at) is not None else None
    if not any((v, axis) in places for v in node.inputs):
        return []
    parts = _parts(node, axis, places, at)
    return None if parts is None else [((node.output, axis), tuple(entry for part in parts for entry in part))]


def _parts(node: Node, axis: int, places: dict[Place, Order], at: Workspace) -> list[Order] | None:
    """For each input of a Concat the entries of the result it holds, in its own new order."""
    parts, start = [], 0
    for value in node.inputs:
        shape = at.fact(value).shape
        if shape is None or not isinstance(shape[axis], int):
            return None
        own = places.get((value, axis), tuple(range(shape[axis])))
        parts.append(tuple(start + entry for entry in own))
        start += shape[axis]
    return parts


def arrangement(node: Node, places: dict[Place, Order], at: Workspace) -> list[int] | None:
    """In which order the inputs of a Concat make the new order of its result; ``None`` where none does."""
    axis = axis_joined(node, at)
    parts = None if axis is None else _parts(node, axis, places, at)
    if axis is None or parts is None:
        return None
    order, found, start = places[node.output, axis], list[int](), 0
    by_first = {part[0]: index for index, part in enumerate(parts) if part}
    while start < len(order):
        index = by_first.get(order[start])
        if index is None or order[start : start + len(parts[index])] != parts[index]:
            return None
        found.append(index)
        start += len(parts[index])
    return found if len(found) == len(parts) else None


def _through_view(node: Node, places: dict[Place, Order], at: Workspace) -> list[tuple[Place, Order]] | None:
    source, result = node.inputs[0], node.output
    before, after = at.fact(source).shape, at.fact(result).shape
    if before is None or after is None or any(place[0] in node.inputs[1:] for place in places):
        return None
    implied = []
    for value, own, other, target in ((source, before, after, result), (result, after, before, source)):
        for axis in range(len(own)):
            if (value, axis) in places:
                moved = _moved(own, other, axis, places[value, axis])
                if moved is None or at.is_weight(target):
                    return None
                implied.append(((target, moved[0]), moved[1]))
    return implied


def _moved(before: Shape, after: Shape, axis: int, order: Order) -> tuple[int, Order] | None:
    """An order along an axis, as it is after the sizes were renamed."""
    left, count = product(before[:axis]), len(order)
    for index, size in enumerate(after):
        if not isinstance(size, int) or size <= 1 or not same(product(after[:index]), left):
            continue
        if size % count == 0:
            each = size // count
            return index, tuple(entry * each + k for entry in order for k in range(each))
        if count % size == 0:
            each = count // size
            rows = np.array(order).reshape(size, each)
            whole = rows[:, :1] // each * each + np.arange(each)
            return (index, tuple((rows[:, 0] // each).tolist())) if np.array_equal(rows, whole) else None
    return None


def reordered(weight: str, row: Row, wanted: dict[Label, Order], at: Workspace) -> str:
    """A weight with its entries in the new order."""
    moves = [(axis, wanted[label]) for axis, label in enumerate(row) if label in wanted]
    for axis, order in moves:
        weight = _taken(weight, axis, order, at)
    return weight


def _taken(weight: str, axis: int, order: Order, at: Workspace) -> str:
    def take() -> np.ndarray:
        array = at.constant(weight)
        assert array is not None
        return np.ascontiguousarray(np.take(array, order, axis=axis))

    return at.cached_weight(("order", weight, axis, order), take, f"{weight}/sorted")


def wanted_by(node: Node, orders: Orders) -> Iterator[tuple[str, Row, dict[Label, Order]]]:
    """For each input of a node its labels and the orders they call for."""
    labels = labels_of(node, orders.at)
    assert labels is not None
    wanted: dict[Label, Order] = {}
    rows: Sequence[tuple[str, Row]] = list(
        zip((*node.inputs, *node.outputs), (*labels.inputs, *labels.outputs), strict=True)
    )
    for value, row in rows:
        for axis, label in enumerate(row):
            if label is not None and (value, axis) in orders.places:
                wanted[label] = orders.places[value, axis]
    for value, row in rows[: len(node.inputs)]:
        yield value, row, wanted
