"""Building nodes anew on values whose entries lie in another order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mari_onnx.errors import RuleError
from mari_onnx.ir import Node
from mari_onnx.patterns._listed import listed_of
from mari_onnx.patterns._orders import Orders, arrangement, axis_joined, is_list_in, reordered, wanted_by
from mari_onnx.patterns._parts import joined
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

Build = Callable[[Node, Orders, dict[str, str], Workspace], list[str]]
"""Makes what takes the place of a node's outputs, given what has taken the place of its inputs."""


def in_new_order(node: Node, orders: Orders, rule: str, build: Build, at: Workspace) -> Sequence[str]:
    """Puts all nodes that new orders touch in their place, but for one, whose place the caller takes.

    Args:
        node: That one.
        orders: The orders, and the nodes.
        rule: The rule that works.
        build: How a node is built.
        at: The graph.
    """
    made: dict[str, str] = {}
    built: dict[Node, list[str]] = {}
    for each in orders.nodes:
        at.working_for(each, rule, orders.nodes)
        built[each] = build(each, orders, made, at)
        made |= {old: new for old, new in zip(each.outputs, built[each], strict=True) if orders.axes(old)}
    for each in reversed(orders.nodes):
        if each is not node:
            at.replace(each, built[each])
    at.working_for(node, rule)
    return built[node]


def in_order(node: Node, orders: Orders, made: dict[str, str], at: Workspace) -> list[str]:
    """The node on operands in their new order."""
    listed = listed_of(node, at)
    if listed is not None and is_list_in(node, orders.places, at):
        return [listed.entries(orders.places[node.output, listed.axis], at)]
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
