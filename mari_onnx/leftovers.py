"""What a result still does for every candidate though it need not, and which node stands in the way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from mari_onnx.analysis.facts import Fact
from mari_onnx.ir.dims import substitute
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.rewrite.arithmetic import FLOPS
from mari_onnx.rewrite.cost import CostModel, node_cost, node_flops, width
from mari_onnx.tidy import LAYOUTS

if TYPE_CHECKING:
    from mari_onnx.pipeline import Built

LONGEST_CHAIN = 40
NOT_WORTH = "does not pay"
BARRIERS = {
    "DynamicQuantizeLinear": "its scale depends on all rows of all candidates",
    "DynamicQuantizeMatMul": "its scale depends on all rows of all candidates",
    **dict.fromkeys(
        ("QLinearConcat", "QLinearMatMul", "QGemm", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits"),
        "it multiplies integers, and only products between DequantizeLinear and QuantizeLinear are split",
    ),
    **dict.fromkeys(
        ("QuantizeLinear", "DequantizeLinear"),
        "it rounds to integers, which only a product directly behind it or in front of it passes",
    ),
}
"""Operators that no rule passes, and why."""


class Kind(Enum):
    """Why something runs for every candidate."""

    UNPROVEN = "unproven"
    """It depends on the user alone, but an operator on the way is not understood."""
    REPEATED = "repeated"
    """A value of the user is repeated, as the node that reads it needs all rows."""
    MIXED = "mixed"
    """A product multiplies rows that hold parts of the user and parts of the item."""


@dataclass(frozen=True)
class Leftover:
    """One thing that could be cheaper.

    Attributes:
        kind: Why it runs for every candidate.
        node: The node that stands in the way.
        reason: What is the matter, in a sentence.
        nodes: The nodes that run for every candidate on its account.
        microseconds: Estimated time per request that this takes.
        flops: Floating-point operations among it.
        elements: Entries written for every candidate.
        bytes: Their size.
    """

    kind: Kind
    node: str
    reason: str
    nodes: tuple[str, ...]
    microseconds: float
    flops: float
    elements: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "kind": self.kind.value, "nodes": list(self.nodes)}


def leftovers(built: Built, model: CostModel) -> list[Leftover]:
    """What is left in a result, the costliest first.

    Args:
        built: The result.
        model: Prices and the number of candidates.
    """
    search = _Search(built.graph, built.after.facts, model, _reasons(built.rewritten.refused))
    found = [*search.unproven(), *search.repeated(), *search.mixed()]
    return sorted(found, key=lambda left: -left.microseconds)


def _reasons(refused: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Why nothing was done at a node; that a rewrite did not pay counts only where nothing else is known."""
    reasons: dict[str, str] = {}
    for (rule, node), reason in refused.items():
        if reason != NOT_WORTH or node not in reasons:
            reasons[node] = f"{rule}: {reason}"
    return reasons


@dataclass(frozen=True)
class _Search:
    graph: Graph
    facts: Mapping[str, Fact]
    model: CostModel
    reasons: Mapping[str, str]

    # -- operators that are not understood ---------------------------------------------------------------------------

    def unproven(self) -> Iterator[Leftover]:
        groups: dict[str, list[Node]] = {}
        for node in self.graph.sorted_nodes():
            fact = self._first_fact(node)
            if fact.opaque and fact.request and not fact.item:
                groups.setdefault(fact.opaque, []).append(node)
        for reason, nodes in groups.items():
            # An operator that gets no rows of candidates runs once, whatever we know of it.
            if any(self._fact(v).axis is not None or self._fact(v).sized for v in nodes[0].reads):
                yield self._leftover(Kind.UNPROVEN, nodes[0], reason, nodes)

    # -- values that are repeated ------------------------------------------------------------------------------------

    def repeated(self) -> Iterator[Leftover]:
        groups: dict[Node, list[Node]] = {}
        for node in self.graph.sorted_nodes():
            made = [v for v in node.outputs if v]
            if not any(self._fact(v).is_user for v in made) or any(map(self.graph.is_output, made)):
                continue  # an output has as many rows as there are candidates: the caller expects them
            readers = [c for v in made for c in self.graph.consumers(v)]
            blocker = next((c for c in readers if not self._makes_user_rows(c)), None)
            if blocker is not None and not self._is_unproven(blocker):
                groups.setdefault(blocker, []).append(node)
        for blocker, nodes in groups.items():
            found = self._leftover(Kind.REPEATED, blocker, self._why_repeated(blocker, nodes), nodes)
            behind = sum(node_cost(n, self.facts, self.model) for n in self._repeating_for(nodes))
            yield replace(found, microseconds=found.microseconds + behind)

    def _repeating_for(self, nodes: list[Node]) -> list[Node]:
        """What repeats rows for nobody but these nodes: where they are views, the rows are written in front of them."""
        known, queue, found = set(nodes), list(nodes), []
        while queue:
            for value in queue.pop().inputs:
                node = self.graph.producer(value) if value else None
                if node is None or node in known or not self._makes_user_rows(node):
                    continue
                if all(c in known for v in node.outputs if v for c in self.graph.consumers(v)):
                    known.add(node)
                    queue.append(node)
                    found.append(node)
        return found

    def _why_repeated(self, blocker: Node, nodes: list[Node]) -> str:
        told = f"it reads {', '.join(n.where() for n in nodes)} in full"
        readers = self._readers(blocker.output)
        if blocker.op in BARRIERS:
            return f"{told}: {BARRIERS[blocker.op]}"
        reader = next((r for r in readers if r.op in BARRIERS), next(iter(readers), None))
        barred = blocker.op == "Concat" and reader is not None and reader.op in BARRIERS
        if blocker.where() in self.reasons and not barred:
            return f"{told}; {self.reasons[blocker.where()]}"
        if blocker.op == "Concat" and reader is not None:
            barrier = f": {BARRIERS[reader.op]}" if reader.op in BARRIERS else ""
            return f"{told}, and {reader.where()} wants user and item in one value{barrier}"
        return f"{told}; no rule takes equal rows apart from the others there"

    def _readers(self, value: str) -> list[Node]:
        """What reads a value, also through views of ours, which a reader would not find in the model."""
        readers: list[Node] = []
        for node in self.graph.consumers(value):
            behind = self._readers(node.output) if node.rule and node.op in LAYOUTS else []
            readers += behind or [node]
        return readers

    def _is_unproven(self, node: Node) -> bool:
        """Whether the node is listed as one that is not understood."""
        fact = self._first_fact(node)
        return bool(fact.opaque) and not fact.item

    def _makes_user_rows(self, node: Node) -> bool:
        return all(self._fact(v).is_user for v in node.outputs if v)

    # -- products of mixed rows --------------------------------------------------------------------------------------

    def mixed(self) -> Iterator[Leftover]:
        for node in self.graph.sorted_nodes():
            flops = node_flops(node, self.facts, self.model)
            if not flops or not self._first_fact(node).varies:
                continue
            for value in dict.fromkeys(node.inputs):
                share, chain = self._users_share(value)
                if share:
                    yield self._mixed(node, share, chain, flops)
                    break

    def _mixed(self, node: Node, share: float, chain: list[Node], flops: float) -> Leftover:
        way = [*reversed(chain[:-1]), node]
        told = [n for n in way if NOT_WORTH not in self.reasons.get(n.where(), NOT_WORTH)]
        known = [n for n in way if n.where() in self.reasons or n.op in BARRIERS]
        blocker = next(iter((*told, *known, *(n for n in way if not n.rule), *way)))
        unknown = "no rule splits it" if blocker is node else BARRIERS.get(blocker.op, "no rule passes it")
        why = self.reasons.get(blocker.where(), unknown)
        reason = f"{node.where()} reads rows of {chain[-1].where()}, {share:.0%} of which are the user's; {why}"
        saved = flops * share
        return Leftover(
            Kind.MIXED,
            blocker.where(),
            reason,
            (node.where(),),
            saved / self.model.flops,
            saved,
            *self._written([node]),
        )

    def _users_share(self, value: str) -> tuple[float, list[Node]]:
        """How much of a value's rows is the user's, and the nodes from there up to the Concat that mixed them."""
        chain: list[Node] = []
        while len(chain) < LONGEST_CHAIN:
            node = self.graph.producer(value)
            if node is None or node.domain or not self._fact(value).varies or node.op in FLOPS:
                return 0.0, []
            chain.append(node)
            if node.op == "Concat":
                share = self._share_of_parts(node)
                if share:
                    return share, chain
            varying = [v for v in dict.fromkeys(node.inputs) if v and self._fact(v).varies]
            if len(varying) != 1:
                return 0.0, []
            value = varying[0]
        return 0.0, []

    def _share_of_parts(self, concat: Node) -> float:
        axis = int(concat.attrs.get("axis", 0))
        sizes = [self.model.sizes(self._fact(v)) for v in concat.inputs]
        if any(s is None or not -len(s) <= axis < len(s) for s in sizes):
            return 0.0
        widths = [s[axis] for s in sizes if s is not None]
        once = sum(w for v, w in zip(concat.inputs, widths, strict=True) if self._is_once(v))
        return once / sum(widths) if sum(widths) else 0.0

    def _is_once(self, value: str) -> bool:
        fact = self._fact(value)
        return not fact.opaque and not fact.varies

    # -- shared ------------------------------------------------------------------------------------------------------

    def _fact(self, value: str) -> Fact:
        return self.facts.get(value, Fact())

    def _first_fact(self, node: Node) -> Fact:
        return next((self._fact(v) for v in node.outputs if v), Fact())

    def _leftover(self, kind: Kind, blocker: Node, reason: str, nodes: list[Node]) -> Leftover:
        flops = sum(node_flops(n, self.facts, self.model) for n in nodes)
        cost = sum(node_cost(n, self.facts, self.model) for n in nodes)
        names = tuple(n.where() for n in nodes)
        return Leftover(kind, blocker.where(), reason, names, cost, flops, *self._written(nodes))

    def _written(self, nodes: Iterable[Node]) -> tuple[int, int]:
        elements = size = 0
        for fact in (self._fact(v) for n in nodes for v in n.outputs if v):
            if fact.shape is not None:
                count = math.prod(int(substitute(d, self.model.candidates, self.model.other)) for d in fact.shape)
                elements += count
                size += count * width(fact)
        return elements, size
