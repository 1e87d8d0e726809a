"""What is proven of If, Loop and Scan: their bodies are graphs like any other.

A loop is proven by induction: what is carried is assumed to be what it was before the first step, and the body has to
make the same of it. Where it makes something of the items, it is assumed to have been that from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx

from mari_onnx.analysis.facts import Fact
from mari_onnx.ir.dims import alike, fresh, same
from mari_onnx.ir.graph import Node
from mari_onnx.ir.proto import read_nodes, read_weight

if TYPE_CHECKING:
    from mari_onnx.analysis.analyze import Judge

CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})


class UnprovenError(Exception):
    """Nothing is proven of a body; the message says why."""


def body_facts(judge: Judge, node: Node, inputs: Sequence[Fact | None], captures: Sequence[Fact]) -> tuple[Fact, ...]:
    """The facts of what an If, Loop or Scan makes of values that treat candidates alike, or one by one.

    One that reads values of the items stays as it is, and so do all its results for every candidate.

    Args:
        judge: Knows what single nodes make.
        node: The node.
        inputs: Facts of its inputs, ``None`` for absent ones.
        captures: Facts of what its bodies read from outside.

    Raises:
        UnprovenError: Something in a body is not proven to treat candidates alike, or one by one.
    """
    given = [f for f in inputs if f is not None] + list(captures)
    if any(f.sized for f in given):
        raise UnprovenError("reads how many candidates there are")
    if judge.batch is not None:
        raise UnprovenError("its body may count candidates, for the model has a fixed number of them")
    found = RULES[node.op](_Body(judge, dict(zip(node.captures, captures, strict=True))), node, inputs)
    items = any(f.item or f.varies for f in given)
    return tuple(replace(f, varies=True, item=True) if items and f.axis is not None else f for f in found)


class _Body:
    def __init__(self, judge: Judge, outer: Mapping[str, Fact]) -> None:
        self._judge = judge
        self._outer = outer

    def run(self, graph: onnx.GraphProto, inputs: Sequence[Fact]) -> list[Fact]:
        """The facts of a body's outputs, from those of its inputs."""
        facts = {**self._outer, **dict(zip((v.name for v in graph.input), inputs, strict=True))}
        if graph.sparse_initializer:
            raise UnprovenError("its body has sparse constants")
        facts |= {t.name: self._judge.constant_fact(read_weight(t, None)) for t in graph.initializer}
        for node in read_nodes(graph):
            given = tuple(facts.get(v, Fact(opaque="unknown")) if v else None for v in node.inputs)
            captures = tuple(facts.get(v, Fact(opaque="unknown")) for v in node.captures)
            found = self._judge.facts_inside(node, given, captures)
            if any(f.sized for f in found):
                # Out there Shape reads all rows still; in here it would count the one that is left.
                raise UnprovenError(f"in its body, {node.where()} depends on how many candidates there are")
            facts |= {v: f for v, f in zip(node.outputs, found, strict=True) if v}
        results = [facts[v.name] for v in graph.output]
        for fact in results:
            if fact.opaque:
                raise UnprovenError(f"in its body: {fact.opaque}")
        return [replace(fact, content=None) for fact in results]


def _branches(body: _Body, node: Node, inputs: Sequence[Fact | None]) -> tuple[Fact, ...]:
    condition = inputs[0]
    if condition is None or condition.axis is not None or condition.opaque:
        raise UnprovenError("its condition differs from candidate to candidate")
    one, other = (body.run(_graph(node, name), []) for name in ("then_branch", "else_branch"))
    return tuple(_either(a, b) for a, b in zip(one, other, strict=True))


def _either(one: Fact, other: Fact) -> Fact:
    if one.axis != other.axis or one.dtype != other.dtype:
        raise UnprovenError("its branches make different things")
    if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
        raise UnprovenError("the sizes of what its branches make differ")
    kept = one.axis.index if one.axis is not None else -1
    sizes = zip(one.shape, other.shape, strict=True)
    shape = tuple(a if k == kept or same(a, b) else fresh() for k, (a, b) in enumerate(sizes))
    return replace(_of_both(one, other), shape=shape, request=True)


def _loop(body: _Body, node: Node, inputs: Sequence[Fact | None]) -> tuple[Fact, ...]:
    if any(f is not None and (f.axis is not None or f.opaque) for f in inputs[:2]):
        raise UnprovenError("how often it runs differs from candidate to candidate")
    step, going = Fact(onnx.TensorProto.INT64, ()), Fact(onnx.TensorProto.BOOL, ())

    def run(carried: Sequence[Fact]) -> list[Fact]:
        condition, *results = body.run(_graph(node, "body"), [step, going, *carried])
        if condition.axis is not None:
            raise UnprovenError("it ends at different steps for different candidates")
        return results

    carried, made = _settled(_states(inputs[2:]), run)
    return (*carried, *(_stacked(f, 0) for f in made))


def _scan(body: _Body, node: Node, inputs: Sequence[Fact | None]) -> tuple[Fact, ...]:
    count = int(node.attrs["num_scan_inputs"])
    start, sequences = _states(inputs[: len(inputs) - count]), _states(inputs[len(inputs) - count :])
    along = [int(a) for a in node.attrs.get("scan_input_axes", [0] * count)]
    slices = [_slice(fact, axis) for fact, axis in zip(sequences, along, strict=True)]
    carried, made = _settled(start, lambda states: body.run(_graph(node, "body"), [*states, *slices]))
    behind = [int(a) for a in node.attrs.get("scan_output_axes", [0] * len(made))]
    return (*carried, *(_stacked(fact, axis) for fact, axis in zip(made, behind, strict=True)))


def _states(facts: Sequence[Fact | None]) -> list[Fact]:
    """What goes into the first step: its numbers forgotten, and whether its rows are alike, for later steps differ."""
    if any(f is None or f.opaque or f.shape is None for f in facts):
        raise UnprovenError("what goes into its first step is not known")
    axes = [None if f is None or f.axis is None else replace(f.axis, alike=False) for f in facts]
    return [replace(f, axis=a, content=None, request=True) for f, a in zip(facts, axes, strict=True) if f is not None]


def _settled(carried: list[Fact], run: Callable[[Sequence[Fact]], list[Fact]]) -> tuple[list[Fact], list[Fact]]:
    """What is carried in any step, and what else each step makes: a value of the items in one comes into the next."""
    while True:
        results = run(carried)
        _check_carried(carried, results)
        joined = [_of_both(one, other) for one, other in zip(carried, results, strict=False)]
        if joined == carried:
            return carried, results[len(carried) :]
        carried = joined


def _of_both(one: Fact, other: Fact) -> Fact:
    """A fact that holds for either of two values of the same layout."""
    axis = one.axis.common(other.axis) if one.axis is not None and other.axis is not None else None
    return replace(one, axis=axis, varies=one.varies or other.varies, item=one.item or other.item)


def _check_carried(before: Sequence[Fact], after: Sequence[Fact]) -> None:
    for one, other in zip(before, after, strict=False):
        if one.axis != other.axis or one.dtype != other.dtype or not alike(one.shape, other.shape):
            raise UnprovenError("what it carries from step to step changes its layout")


def _slice(fact: Fact, axis: int) -> Fact:
    """One step of a sequence."""
    assert fact.shape is not None
    axis %= len(fact.shape)
    own = fact.axis
    if own is not None and own.index == axis:
        raise UnprovenError("it goes from candidate to candidate")
    moved = None if own is None else own.at(own.index - (own.index > axis))
    return replace(fact, shape=(*fact.shape[:axis], *fact.shape[axis + 1 :]), axis=moved)


def _stacked(fact: Fact, axis: int) -> Fact:
    """The results of all steps, next to each other on an axis of their own."""
    if fact.shape is None:
        raise UnprovenError("the sizes of what its body makes are not known")
    axis %= len(fact.shape) + 1
    moved = None if fact.axis is None else fact.axis.at(fact.axis.index + (fact.axis.index >= axis))
    return replace(fact, shape=(*fact.shape[:axis], fresh(), *fact.shape[axis:]), axis=moved, request=True)


def _graph(node: Node, name: str) -> onnx.GraphProto:
    attribute = node.attrs.get(name)
    if not isinstance(attribute, onnx.AttributeProto):
        raise UnprovenError("it has no body")
    return attribute.g


RULES: Mapping[str, Callable[[_Body, Node, Sequence[Fact | None]], tuple[Fact, ...]]] = {
    "If": _branches,
    "Loop": _loop,
    "Scan": _scan,
}
"""By operator."""
