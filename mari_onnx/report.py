"""Figures of a result, for tables and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mari_onnx.analysis.facts import Fact
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.rewrite.cost import CostModel, node_cost, node_flops

if TYPE_CHECKING:
    from mari_onnx.pipeline import Built


@dataclass(frozen=True)
class Figures:
    """One graph in numbers.

    Attributes:
        nodes: Number of nodes.
        flops: Floating-point operations of matrix-like operators per request.
        microseconds: Estimated time per request on one CPU thread.
        expands: Nodes that do nothing but repeat a value for every candidate (Expand, Tile).
    """

    nodes: int
    flops: float
    microseconds: float
    expands: int


@dataclass(frozen=True)
class Report:
    """Before and after.

    Attributes:
        candidates: Number of candidates per request that the figures are for.
        before: The original.
        after: The result.
        rewrites: How often each rule was applied.
        user_inputs: The user-side inputs.
    """

    candidates: int
    before: Figures
    after: Figures
    rewrites: Mapping[str, int]
    user_inputs: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; the figures are those of the attributes."""
        return asdict(self)


def figures(graph: Graph, facts: Mapping[str, Fact], model: CostModel) -> Figures:
    """The figures of one graph."""
    nodes = graph.nodes
    return Figures(
        len(nodes),
        sum(node_flops(n, facts, model) for n in nodes),
        sum(node_cost(n, facts, model) for n in nodes),
        sum(repeats(n, facts) for n in nodes),
    )


def repeats(node: Node, facts: Mapping[str, Fact]) -> bool:
    """Whether a node makes equal rows for all candidates out of a value that is there once."""
    if node.op not in ("Expand", "Tile") or node.domain:
        return False
    given, made = facts.get(node.inputs[0]), facts.get(node.output)
    return given is not None and made is not None and given.axis is None and not given.opaque and made.is_user


def summarise(built: Built, model: CostModel) -> Report:
    """The figures of a result."""
    return Report(
        model.candidates,
        figures(built.original, built.analysis.facts, model),
        figures(built.graph, built.after.facts, model),
        dict(sorted(Counter(a.rule for a in built.rewritten.applied).items())),
        built.user_inputs,
    )
