"""User and item parts of a Concat that take turns::

    f( Concat(u, i, v, j) )   ->   f'( Concat( Concat(u, v), i, j ) )

    x W = (x P) (P^T W)

The order of the parts matters to nobody where all that reads them ends in a sum: the weights on the way there are put
in the new order once. What follows then works on one user part and one item part, not on a run of each in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.errors import RuleError
from mari_onnx.ir import Node
from mari_onnx.patterns._orders import Orders, arrangement, axis_joined, orders_from, reordered, wanted_by
from mari_onnx.patterns._parts import joined, mixed_parts, runs_of
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace


class ConcatOrder(Rule[Orders]):
    """Sorts the parts of a Concat by side where nothing depends on their order."""

    name = "concat-order"
    algebra = "x W = (x P) (P^T W)"
    rival = True
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Concat"})
    early = True
    clearing = True

    def match(self, node: Node, at: Workspace) -> Orders | Refusal | None:
        parts = mixed_parts(node.output, at)
        if parts is None or len(runs_of(parts, at)) < 3:
            return None
        once = [at.is_once(v) for v in parts.values]
        sorted_parts = sorted(zip(once, parts.offsets, parts.sizes, strict=True), key=lambda part: not part[0])
        order = tuple(entry for _, start, size in sorted_parts for entry in range(start, start + size))
        found = orders_from(node.output, parts.axis, order, at)
        return Refusal("the order of its parts matters to something that reads them") if found is None else found

    def rewrite(self, node: Node, found: Orders, at: Workspace) -> Sequence[str]:
        made: dict[str, str] = {}
        built: dict[Node, list[str]] = {}
        for each in found.nodes:
            at.working_for(each, self.name)
            built[each] = _built(each, found, made, at)
            made |= {old: new for old, new in zip(each.outputs, built[each], strict=True) if found.axes(old)}
        for each in reversed(found.nodes):
            if each is not node:
                at.replace(each, built[each])
        at.working_for(node, self.name)
        return built[node]


def _built(node: Node, orders: Orders, made: dict[str, str], at: Workspace) -> list[str]:
    """The node on operands in their new order."""
    if node.op in VIEWS:
        shape = at.fact(node.output).shape
        assert shape is not None
        return [at.reshape(made.get(node.inputs[0], node.inputs[0]), shape)]
    axis = axis_joined(node, at)
    if axis is not None and (node.output, axis) in orders.places:
        return [_joined_anew(node, axis, orders, made, at)]
    inputs = [
        reordered(value, row, wanted, at) if at.is_weight(value) else made.get(value, value)
        for value, row, wanted in wanted_by(node, orders)
    ]
    if at.lifting.is_repetition(node):
        return [_repeated(inputs[0], node, at)]
    return list(at.emit_many(node.op, inputs, len(node.outputs), **dict(node.attrs)))


def _joined_anew(node: Node, axis: int, orders: Orders, made: dict[str, str], at: Workspace) -> str:
    places = arrangement(node, orders.places, at)
    if places is None:
        raise RuleError("its parts cannot be put in that order")
    values = [made.get(v, v) for v in (node.inputs[index] for index in places)]
    first = next((i for i, v in enumerate(values) if not at.is_user(v)), len(values))
    leading = [joined(values[:first], axis, at)] if first else []
    return joined([*leading, *values[first:]], axis, at)


def _repeated(once: str, node: Node, at: Workspace) -> str:
    value = at.graph.unique_name(f"{node.output}/sorted")
    at.lifting.repeat(once, value, at.fact(node.output))
    return value
