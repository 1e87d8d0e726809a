"""What is known of the values of a graph at work, noting what was looked at."""

from __future__ import annotations

import numpy as np

from mari_onnx.analysis.analyze import Analysis
from mari_onnx.analysis.facts import Fact
from mari_onnx.ir.graph import Graph, Node


class Reading:
    """What a rule may ask; as soon as any of it changes, the rule is tried again.

    Args:
        graph: The graph.
        analysis: Facts of its values.

    Attributes:
        graph: The graph.
        inputs: Which of its inputs are whose.
        facts: Fact by value name.
        singles: For each user-side value the one that holds it for a single candidate.
    """

    def __init__(self, graph: Graph, analysis: Analysis) -> None:
        self.graph = graph
        self.inputs = analysis.inputs
        self.facts: dict[str, Fact] = dict(analysis.facts)
        self.singles: dict[str, str] = {}

    @property
    def opset(self) -> int:
        return self.graph.opset

    def fact(self, value: str) -> Fact:
        self.graph.looked_at.add(value)
        return self.facts[value]

    def single(self, value: str) -> str:
        """The value for one candidate: another value for a user-side one, the value itself otherwise."""
        self.graph.looked_at.add(value)
        return self.singles.get(value, value)

    def is_user(self, value: str) -> bool:
        """Whether the value is user-side and its form for one candidate is at hand."""
        self.graph.looked_at.add(value)
        return value in self.singles

    def is_once(self, value: str) -> bool:
        """Whether the value is computed once per request: shared, or user-side."""
        fact = self.fact(value)
        return value in self.singles or (fact.axis is None and not fact.opaque)

    def constant(self, value: str) -> np.ndarray | None:
        """The numbers of a weight."""
        return self.graph.constant(value)

    def is_weight(self, value: str) -> bool:
        return value in self.graph.weights

    def integers(self, value: str) -> tuple[int, ...] | None:
        return self.fact(value).integers

    def axes(self, node: Node) -> tuple[int, ...] | None:
        """The axes that an operator names in its second input or, in older operator sets, in an attribute."""
        return self.integers(node.inputs[1]) if node.has_input(1) else node.attrs.get("axes")
