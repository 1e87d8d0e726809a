"""What the engine makes smaller: the time that requests take, large ones and small ones.

A rewrite is looked at for requests with the nominal number of candidates and with fewer, down to one. For each size
counts what it saves in proportion to the time the whole graph took there; a smaller size counts for less. So what is
done once per request, to save something for each candidate, may not make small requests many times slower.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mari_onnx.analysis.facts import Fact
from mari_onnx.analysis.recall import Recall
from mari_onnx.ir import Node
from mari_onnx.rewrite.cost import CostModel, node_cost

FEWER = 8
"""By what factor each size of requests is smaller than the one before."""
LESS = 0.25
"""By what factor it counts for less."""
SLOWER = 0.25
"""What any size counts besides, for the part by which it takes longer than before, where results are compared."""

Times = tuple[float, ...]
"""Microseconds for each size of requests, the nominal one first."""


@dataclass(frozen=True)
class Objective:
    """Sizes of requests and what they count.

    Attributes:
        models: Prices for each size, the nominal one first.
        weights: What a microsecond counts at each size; 1 at the nominal one.
    """

    models: tuple[CostModel, ...]
    weights: tuple[float, ...]
    _known: dict[Node, tuple[tuple[Fact | None, ...], Times]] = field(default_factory=dict, repr=False, compare=False)
    _alike: Recall[Times] = field(default_factory=Recall, repr=False, compare=False)

    @property
    def start(self) -> float:
        """What it counts to start one more operator in every request."""
        return sum(w * m.launch for w, m in zip(self.weights, self.models, strict=True))

    def cost(self, nodes: Iterable[Node], facts: Mapping[str, Fact]) -> float:
        """What a graph takes, counted in microseconds of a nominal request."""
        return sum(w * cost for w, cost in zip(self.weights, self.times(nodes, facts), strict=True))

    def gain(self, added: Iterable[Node], removed: Iterable[Node], facts: Mapping[str, Fact]) -> float:
        """What is won by an edit of a graph, counted in microseconds of a nominal request.

        That is what such a request saves, less what small ones lose. What they win does not make up for a loss there.
        """
        before, after = self.times(removed, facts), self.times(added, facts)
        saved = [weight * (b - a) for weight, b, a in zip(self.weights, before, after, strict=True)]
        return min(saved[0], sum(saved))

    def times(self, nodes: Iterable[Node], facts: Mapping[str, Fact]) -> Times:
        """For each size of requests what the nodes take together."""
        each = [self._cost_of(node, facts) for node in nodes]
        return tuple(sum(costs) for costs in zip(*each, strict=True)) or (0.0,) * len(self.models)

    def _cost_of(self, node: Node, facts: Mapping[str, Fact]) -> Times:
        """What a node takes for each size; asked for again with the same facts, it is not found anew."""
        given = tuple(map(facts.get, node.inputs + node.outputs))
        known = self._known.get(node)
        if known is None or known[0] != given:
            costs = self._alike.get(node, given, lambda: tuple(node_cost(node, facts, m) for m in self.models))
            known = given, costs
            self._known[node] = known
        return known[1]


def objective(nodes: Iterable[Node], facts: Mapping[str, Fact], model: CostModel, less: float = LESS) -> Objective:
    """The objective for a graph.

    Args:
        nodes: The graph.
        facts: What is known of its values.
        model: Prices, with the nominal number of candidates.
        less: What each size of requests counts, in proportion to the one before.
    """
    numbers = [model.candidates]
    while numbers[-1] > 1:
        numbers.append(max(numbers[-1] // FEWER, 1))
    models = tuple(replace(model, candidates=number) for number in numbers)
    graph = list(nodes)
    costs = [_cost(graph, facts, each) for each in models]
    weights = tuple(less**place * costs[0] / cost if cost else 1.0 for place, cost in enumerate(costs))
    return Objective(models, weights)


def merit(before: Times, after: Times) -> float:
    """How good a result is: how many times faster each size of requests is, as a logarithm, less what is slower."""
    found = 0.0
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        if old > 0 and new > 0:
            found += LESS**place * math.log(old / new) - SLOWER * max(new / old - 1, 0.0)
    return found


def _cost(nodes: Iterable[Node], facts: Mapping[str, Fact], model: CostModel) -> float:
    return sum(node_cost(node, facts, model) for node in nodes)
