"""Lists of evenly spaced numbers, as long as there are candidates: where the bags of a long list of ids begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import onnx

from mari_onnx.analysis.facts import Fact
from mari_onnx.analysis.transfer.layouts import FAR
from mari_onnx.ir.dims import Dim, difference, is_size, quotient, same, simplified
from mari_onnx.ir.graph import Graph, Node


@dataclass(frozen=True)
class Progression:
    """The numbers ``start``, ``start + step``, ..., ``count`` of them."""

    start: Dim
    step: Dim
    count: Dim

    def at(self, index: Dim) -> Dim:
        return simplified(self.start + self.step * index)


def progression(graph: Graph, facts: Mapping[str, Fact], value: str) -> Progression | None:
    """The numbers of a list of one axis, where they are evenly spaced."""
    listed = _listed(graph, facts, value)
    if listed is not None:
        return _spaced(listed)
    node = graph.producer(value)
    if node is None or node.domain:
        return None
    if node.op in ("Identity", "Cast"):
        return progression(graph, facts, node.inputs[0]) if _is_whole(facts[value]) else None
    rule = {"Range": _range, "Slice": _slice, "Concat": _concat}.get(node.op)
    return rule(graph, facts, node) if rule is not None else None


def _is_whole(fact: Fact) -> bool:
    return fact.dtype in (onnx.TensorProto.INT32, onnx.TensorProto.INT64)


def _listed(graph: Graph, facts: Mapping[str, Fact], value: str) -> Sequence[Dim] | None:
    fact = facts[value]
    if fact.content is not None:
        return fact.content.items if len(fact.content.shape) == 1 else None
    weight = graph.weights.get(value)
    if weight is None or len(weight.shape) != 1 or not _is_whole(fact):
        return None
    return [int(i) for i in weight.load()]


def _spaced(items: Sequence[Dim]) -> Progression | None:
    if not items:
        return None
    step = difference(items[1], items[0]) if len(items) > 1 else 0
    if any(not same(b, a + step) for a, b in pairwise(items)):
        return None
    return Progression(items[0], step, len(items))


def _range(graph: Graph, facts: Mapping[str, Fact], node: Node) -> Progression | None:
    start, limit, step = (facts[v].entry for v in node.inputs)
    if start is None or limit is None or not isinstance(step, int) or step <= 0:
        return None
    count = quotient(difference(limit, start), step)
    return None if count is None else Progression(start, step, count)


def _slice(graph: Graph, facts: Mapping[str, Fact], node: Node) -> Progression | None:
    """Without some of the first numbers."""
    if not node.has_input(2):
        return None
    whole = progression(graph, facts, node.inputs[0])
    start, end = (facts[node.inputs[i]].entry for i in (1, 2))
    step = facts[node.inputs[4]].entry if node.has_input(4) else 1
    if whole is None or not isinstance(start, int) or start < 0 or not isinstance(end, int) or end < FAR or step != 1:
        return None
    left = difference(whole.count, start)
    return Progression(whole.at(start), whole.step, left) if is_size(left) else None


def _concat(graph: Graph, facts: Mapping[str, Fact], node: Node) -> Progression | None:
    """One list, and the number that comes next."""
    first = progression(graph, facts, node.inputs[0])
    last = facts[node.inputs[1]].entry if len(node.inputs) == 2 else None
    if first is None or last is None or not same(last, first.at(first.count)):
        return None
    return Progression(first.start, first.step, simplified(first.count + 1))
