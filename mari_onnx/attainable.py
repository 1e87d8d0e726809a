"""How much of a model's arithmetic could run once per request, seen in a run, and how much of that a result saves.

Nothing that was proven is trusted here: the model runs with one user and other items in every run, and what comes out
the same, entry by entry, does not depend on the items. That share of a product's arithmetic could be done once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from mari_onnx.ir.graph import Graph, Node
from mari_onnx.rewrite.cost import CostModel, node_flops
from mari_onnx.runtime import session

if TYPE_CHECKING:
    from mari_onnx.pipeline import Built

Feeds = Mapping[str, np.ndarray]

NOISE = 1e-5
"""Relative to the largest entry: equal rows may come out of a blocked kernel with different roundings."""

LEAK = 0.5

SEQUENCES = frozenset({"RNN", "GRU", "LSTM", "DynamicQuantizeLSTM"})


@dataclass(frozen=True, slots=True)
class NodeShare:
    """One matrix-like node of the original.

    Attributes:
        node: The node, as messages call it.
        flops: Its floating-point operations per request.
        share: The part of them that does not depend on the items.
    """

    node: str
    flops: float
    share: float


@dataclass(frozen=True)
class Attainable:
    """What could be saved, and what is.

    Attributes:
        before: Floating-point operations per request of the original's matrix-like nodes.
        attainable: How many of them running once what does not depend on the items would save.
        after: What the result has.
        nodes: The nodes of the original, the largest saving first.
    """

    before: float
    attainable: float
    after: float
    nodes: tuple[NodeShare, ...]

    @property
    def reached(self) -> float | None:
        """What the result saves, as a part of the attainable; above 1 where rules save more than repetition."""
        return (self.before - self.after) / self.attainable if self.attainable else None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "nodes": [asdict(n) for n in self.nodes], "reached": self.reached}


def attainable(built: Built, model: onnx.ModelProto, users: Sequence[Sequence[Feeds]], prices: CostModel) -> Attainable:
    """Measures what could run once.

    Args:
        built: The result, and the original as it was analysed.
        model: The original.
        users: For each of several users, full inputs with that user's rows and different items in each. One user
            with a short history, or one for whom a unit is silent, makes much equal that is not so for others.
        prices: The number of candidates per request that figures are for.
    """
    facts = built.analysis.facts
    nodes = [n for n in built.original.nodes if node_flops(n, facts, prices)]
    values = {v for n in nodes for v in (*n.inputs[:2], n.output) if v}
    same = _Same.seen(model, values, users, built) if nodes else _Same({})
    found, saved = [], 0.0
    single = replace(prices, candidates=1)
    for node in nodes:
        flops, share = node_flops(node, facts, prices), _share(node, built.original, same)
        saved += share * (flops - node_flops(node, facts, single))
        found.append(NodeShare(node.where(), flops, share))
    after = sum(node_flops(n, built.after.facts, prices) for n in built.graph.nodes)
    found.sort(key=lambda n: -n.flops * n.share)
    return Attainable(sum(n.flops for n in found), saved, after, tuple(found))


def _share(node: Node, graph: Graph, same: _Same) -> float:
    """The part of a node's arithmetic that needs no item."""
    computed = [v for v in node.inputs[:2] if v and v not in graph.weights]
    if node.op in SEQUENCES:
        return float(bool(computed) and same.share(computed[0]) == 1.0)
    return same.share(computed[0] if len(computed) == 1 else node.output)


@dataclass(frozen=True)
class _Same:
    """For each value, which entries are the same whatever the items are, for every user."""

    entries: Mapping[str, np.ndarray]

    def share(self, value: str) -> float:
        found = self.entries.get(value)
        return float(found.mean()) if found is not None and found.size else 0.0

    @classmethod
    def seen(cls, model: onnx.ModelProto, values: set[str], users: Sequence[Sequence[Feeds]], built: Built) -> _Same:
        exposed = _exposed(model, values)
        run = session(exposed, threads=1, optimized=False, folder=built.folder)
        names = [o.name for o in run.get_outputs() if o.name in values]
        fed = [v for v in values if v in users[0][0]]
        entries: dict[str, np.ndarray] = {}
        for index, draws in enumerate(users):
            runs = (dict(zip(names, run.run(names, dict(f)), strict=True)) for f in draws)
            first, *others = (found | {v: f[v] for v in fed} for found, f in zip(runs, draws, strict=True))
            for name in (*names, *fed):
                equal = np.logical_and.reduce([_alike(first[name], other[name]) for other in others])
                known = entries[name] if index else equal
                entries[name] = known & equal if known.shape == equal.shape else np.zeros(1, np.bool_)
        return cls(entries)


def _exposed(model: onnx.ModelProto, values: set[str]) -> onnx.ModelProto:
    """The model with some values as outputs.

    Its Relu are leaky: a unit that is silent for all of a few items would look independent of them.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for node in result.graph.node:
        if node.op_type == "Relu" and not node.domain:
            node.op_type = "LeakyRelu"
            node.attribute.append(onnx.helper.make_attribute("alpha", LEAK))
    made = {v for n in model.graph.node for v in n.output if v} - {o.name for o in model.graph.output}
    result.graph.output.extend(onnx.ValueInfoProto(name=v) for v in sorted(values & made))
    return result


def _alike(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    if left.shape != right.shape:
        return np.zeros(left.shape, np.bool_)
    if left.dtype.kind not in "fc":
        return np.asarray(left == right)
    with np.errstate(all="ignore"):
        finite = np.abs(left[np.isfinite(left)])
        scale = float(finite.max()) if finite.size else 0.0
        return np.asarray(np.isclose(left, right, rtol=NOISE, atol=NOISE * scale, equal_nan=True))
