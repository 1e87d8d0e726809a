"""Nodes that take the place of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from mari_onnx.inlining import inlined
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.normalise import rebuilt

WITHOUT_WHERE = frozenset({0, TensorProto.BFLOAT16, TensorProto.INT16, TensorProto.UINT16, TensorProto.UINT64})
"""Types of which entries cannot be chosen: ONNX Runtime has no Where for them on the CPU, or they are not known."""


class Replacement:
    """Collects nodes, and the constants that they read.

    Args:
        graph: Where the node is.
        node: Whose place they take.
        weights: Those of the new graph, to which constants are added.
    """

    def __init__(self, graph: Graph, node: Node, weights: dict[str, Weight]) -> None:
        self._graph = graph
        self._node = node
        self._weights = weights
        self._nodes: list[Node] = []

    def constant(self, array: np.ndarray) -> str:
        """A new constant, under a name of its own."""
        name = self._graph.unique_name(f"{self._node.output}/constant")
        self._weights[name] = Weight.of(array)
        return name

    def integers(self, numbers: int | Sequence[int]) -> str:
        """The same, of the type of sizes and indices."""
        return self.constant(np.array(numbers, np.int64))

    def call(self, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        """The one output of an operator."""
        name = self._graph.unique_name(f"{self._node.output}/{op.lower()}")
        self._nodes.append(Node(op, tuple(inputs), (name,), attrs, name=name))
        return name

    def again(self, node: Node, inputs: Sequence[str], attrs: Mapping[str, Any]) -> str:
        """The one output of the operator of another node, called in another way."""
        name = self._graph.unique_name(f"{self._node.output}/{node.op.lower()}")
        self._nodes.append(Node(node.op, tuple(inputs), (name,), dict(attrs), domain=node.domain, name=name))
        return name

    def squeezed(self, value: str, axes: Sequence[int]) -> str:
        """A value without some axes of size 1."""
        return self._with_numbers("Squeeze", value, "axes", axes)

    def unsqueezed(self, value: str, axes: Sequence[int]) -> str:
        """A value with some more axes of size 1."""
        return self._with_numbers("Unsqueeze", value, "axes", axes)

    def split(self, value: str, axis: int, sizes: Sequence[int]) -> list[str]:
        """All of a value in pieces of these sizes."""
        names = [self._graph.unique_name(f"{self._node.output}/split") for _ in sizes]
        given = [value, self.integers(sizes)] if self._graph.opset >= 13 else [value]
        attrs = {"axis": axis} if self._graph.opset >= 13 else {"axis": axis, "split": list(sizes)}
        self._nodes.append(Node("Split", tuple(given), tuple(names), attrs, name=names[0]))
        return names

    def inlined(self, body: onnx.GraphProto, given: Mapping[str, str]) -> list[str]:
        """What the outputs of a body are, whose nodes become nodes of the graph; its inputs are given by name."""
        nodes, results = inlined(self._graph, self._node, body, given, self._weights)
        self._nodes += nodes
        return results

    def _with_numbers(self, op: str, value: str, name: str, numbers: Sequence[int]) -> str:
        """The output of an operator that reads numbers as an input since operator set 13, as an attribute before."""
        if self._graph.opset >= 13:
            return self.call(op, [value, self.integers(numbers)])
        return self.call(op, [value], **{name: list(numbers)})

    def ended(self, op: str, inputs: Sequence[str], attrs: dict[str, Any]) -> list[Node]:
        """All nodes, with a last one that makes what the node made."""
        return [*self._nodes, Node(op, tuple(inputs), self._node.outputs, attrs, name=self._node.name)]

    def ended_as(self, values: Sequence[str]) -> list[Node]:
        """All nodes, with each output of the node as another name of a value."""
        named = zip(values, self._node.outputs, strict=True)
        return [*self._nodes, *(Node("Identity", (value,), (output,)) for value, output in named if output)]

    def ended_reading(self, inputs: Sequence[str]) -> list[Node]:
        """All nodes, with the node itself behind them, which reads other values."""
        return [*self._nodes, self._node.reading(inputs)]

    def ended_unsqueezed(self, value: str, axes: Sequence[int]) -> list[Node]:
        """All nodes, with a last one that gives a value more axes of size 1; with none, leaves it as it is."""
        if not axes:
            return self.ended("Identity", [value], {})
        if self._graph.opset >= 13:
            return self.ended("Unsqueeze", [value, self.integers(axes)], {})
        return self.ended("Unsqueeze", [value], {"axes": list(axes)})

    def chosen(self, here: str, new: str, old: str, dtype: int) -> list[Node]:
        """All nodes, where a mask ends them: one value where it holds, the other elsewhere.

        ONNX Runtime has no Where for booleans on the CPU.
        """
        if dtype != TensorProto.BOOL:
            return self.ended("Where", [here, new, old], {})
        kept = self.call("And", [old, self.call("Not", [here])])
        return self.ended("Or", [kept, self.call("And", [new, here])], {})


def with_replacements(graph: Graph, replacement: Callable[[Replacement, Node], list[Node]]) -> Graph:
    """The graph with what takes the place of each of its nodes, where there is something.

    Returns:
        The graph itself where there is nothing.
    """
    weights, nodes, found = dict(graph.weights), list[Node](), False
    for node in graph.sorted_nodes():
        made = replacement(Replacement(graph, node, weights), node)
        found = found or bool(made)
        nodes += made or [node]
    return rebuilt(graph, nodes, weights) if found else graph
