"""Fixed numbers in the place of random ones, so that a model that draws them can be compared.

The original and the result draw numbers of their own, and each run others: not even the original agrees with itself.
But any numbers of the right shape and range may have been drawn. So both get the same ones, which follow from where
they stand::

    RandomUniformLike(x)   ->   low + (high - low) u     u = hash(0, 1, 2, ...) as many as x has, in the shape of x

Numbers are hashed as integers, which come out the same in every precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, helper

from mari_onnx.ir.subgraphs import all_graphs
from mari_onnx.verification.source import ModelSource, inlined

MODULUS, FACTOR, OFFSET = 10007, 7919, 4099
"""Primes: neighbours get numbers that are far from each other."""
STANDARD = ("", "ai.onnx")
OLDEST, OLDEST_UNNAMED = 14, 15
"""The operator sets from which on there are fixed numbers, and those of the type of another value."""


@dataclass(frozen=True)
class Settled:
    """A model with fixed numbers in the place of random ones, and the nodes that drew them, as messages call them."""

    source: ModelSource
    drawing: tuple[str, ...]

    @property
    def note(self) -> str:
        """What to say of it."""
        if not self.drawing:
            return ""
        others = f" and {len(self.drawing) - 1} more" if len(self.drawing) > 1 else ""
        return (
            f"the model draws random numbers ({self.drawing[0]}{others}), so that its scores differ from run to run:"
            " both were compared with the same fixed numbers in their place"
        )


def settled(source: ModelSource) -> Settled:
    """The model with fixed numbers wherever it draws some; itself where it draws none, or in another way.

    Args:
        source: The model, not changed.
    """
    proto = inlined(source.proto)
    opset = next((o.version for o in proto.opset_import if o.domain in STANDARD), 0)
    found = [node for graph in all_graphs(proto.graph) for node in graph.node if _stands_in(node, opset)]
    if not found:
        return Settled(source, ())
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    for graph in list(all_graphs(model.graph)):
        _settle(graph, opset)
    names = tuple(f"{node.op_type} '{node.name or node.output[0]}'" for node in found)
    return Settled(source.replaced(model, source.role), names)


def _settle(graph: onnx.GraphProto, opset: int) -> None:
    """Puts fixed numbers in the place of those that nodes of a graph draw, graphs within them aside."""
    places = [index for index, node in enumerate(graph.node) if _stands_in(node, opset)]
    for index in reversed(places):
        node = onnx.NodeProto()
        node.CopyFrom(graph.node[index])
        del graph.node[index]
        for made in reversed(STAND_INS[node.op_type](_Numbers(node))):
            graph.node.insert(index, made)


def _stands_in(node: onnx.NodeProto, opset: int) -> bool:
    """Whether there are fixed numbers for a node: their type is that of its input where it names none."""
    named = any(a.name == "dtype" for a in node.attribute) or node.op_type in ("RandomUniform", "RandomNormal")
    return node.op_type in STAND_INS and node.domain in STANDARD and opset >= (OLDEST if named else OLDEST_UNNAMED)


class _Numbers:
    """Makes the nodes that take the place of one."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.node = node
        self.attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.made: list[onnx.NodeProto] = []

    def call(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"{self.node.output[0]}/drawn/{len(self.made)}"
        self.made.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def integer(self, number: int) -> str:
        return self.call("Constant", value_int=number)

    def real(self, number: float) -> str:
        return self.call("Constant", value_float=float(number))

    def shares(self) -> str:
        """Numbers between 0 and 1, in the shape that is asked for."""
        if self.node.input:
            shape = self.call("Shape", self.node.input[0])
        else:
            shape = self.call("Constant", value_ints=list(self.attributes["shape"]))
        count = self.call("ReduceProd", shape, keepdims=0)
        places = self.call("Range", self.integer(0), count, self.integer(1))
        spread = self.call("Add", self.call("Mul", places, self.integer(FACTOR)), self.integer(OFFSET))
        hashed = self.call("Cast", self.call("Mod", spread, self.integer(MODULUS)), to=TensorProto.FLOAT)
        return self.call("Reshape", self.call("Div", hashed, self.real(MODULUS)), shape, allowzero=1)

    def between(self, low: float, high: float) -> str:
        return self.call("Add", self.call("Mul", self.shares(), self.real(high - low)), self.real(low))

    def typed(self, value: str) -> list[onnx.NodeProto]:
        """All nodes, the last of which gives the numbers the type that the node gave them."""
        dtype = self.attributes.get("dtype", None if self.node.input else TensorProto.FLOAT)
        if dtype is None:
            last = helper.make_node("CastLike", [value, self.node.input[0]], list(self.node.output))
        else:
            last = helper.make_node("Cast", [value], list(self.node.output), to=dtype)
        return [*self.made, last]


def _uniform(numbers: _Numbers) -> list[onnx.NodeProto]:
    given = numbers.attributes
    return numbers.typed(numbers.between(given.get("low", 0.0), given.get("high", 1.0)))


def _normal(numbers: _Numbers) -> list[onnx.NodeProto]:
    """As wide as most of what is drawn: two deviations to either side."""
    mean, scale = numbers.attributes.get("mean", 0.0), numbers.attributes.get("scale", 1.0)
    return numbers.typed(numbers.between(mean - 2 * scale, mean + 2 * scale))


def _bernoulli(numbers: _Numbers) -> list[onnx.NodeProto]:
    chance = numbers.call("Cast", numbers.node.input[0], to=TensorProto.FLOAT)
    return numbers.typed(numbers.call("Less", numbers.shares(), chance))


STAND_INS: dict[str, Callable[[_Numbers], list[onnx.NodeProto]]] = {
    "RandomUniform": _uniform,
    "RandomUniformLike": _uniform,
    "RandomNormal": _normal,
    "RandomNormalLike": _normal,
    "Bernoulli": _bernoulli,
}
