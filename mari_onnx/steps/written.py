"""The nodes that take a loop's place, written to the graph around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from mari_onnx.analysis.analyze import Judge
from mari_onnx.analysis.facts import Fact, Shape
from mari_onnx.analysis.recall import frozen
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.steps.values import DependentError


class Written:
    """Collects nodes and weights, and knows the facts of what they make.

    The same call on the same values is written once: two branches that do the same have the same result.

    Args:
        graph: The graph around the loop, not changed.
        facts: What is proven of its values.
        judge: Finds the facts of new ones.
        name: Of the loop, for the names of what is new.
    """

    def __init__(self, graph: Graph, facts: Mapping[str, Fact], judge: Judge, name: str) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.weights: dict[str, Weight] = {}
        self.facts = facts
        self._own: dict[str, Fact] = {}
        self._judge = judge
        self._name = name
        self._known: dict[Any, str] = {}
        self._makers: dict[str, Node] = {}

    def fact(self, value: str) -> Fact:
        return self._own[value] if value in self._own else self.facts.get(value, Fact(opaque="unknown"))

    def shape(self, value: str) -> Shape:
        shape = self.fact(value).shape
        if shape is None:
            raise DependentError(f"the rank of '{value}' is not known")
        return shape

    def maker(self, value: str) -> Node | None:
        """The new node that makes a value."""
        return self._makers.get(value)

    def constant(self, value: str) -> np.ndarray | None:
        weight = self.weights.get(value)
        return weight.load() if weight is not None else self.graph.constant(value)

    def weight(self, weight: Weight) -> str:
        """A constant, under a name of its own."""
        name = self.graph.unique_name(f"{self._name}/constant")
        self.weights[name] = weight
        self._own[name] = self._judge.constant_fact(weight)
        return name

    def numbers(self, array: np.ndarray) -> str:
        """A small constant, written once."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.weight(Weight.of(array))
        return self._known[key]

    def call(self, op: str, inputs: Sequence[str], attrs: Mapping[str, Any]) -> str:
        """The one output of an operator of ai.onnx.

        Raises:
            DependentError: Nothing can be told of its size.
        """
        key = (op, tuple(inputs), frozen(attrs))
        if key in self._known:
            return self._known[key]
        constant = self.constant(inputs[0]) if op == "Cast" else None
        if constant is not None:
            return self.numbers(constant.astype(onnx.helper.tensor_dtype_to_np_dtype(attrs["to"])))
        output = self.graph.unique_name(f"{self._name}/{op.lower()}")
        node = Node(op, tuple(inputs), (output,), dict(attrs), name=output, rule="loop")
        (self._own[output],) = self._judge.facts(node, tuple(self.fact(v) if v else None for v in inputs), ())
        self.nodes.append(node)
        self._makers[output] = node
        self._known[key] = output
        return output
