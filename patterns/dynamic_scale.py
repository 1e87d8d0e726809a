"""A product of integers whose scale is found while the model runs, over a Concat of user and item parts::

    q, s, z = DynamicQuantizeLinear( Concat(u, i) )
    MatMulInteger(q, W, z)

    ->   _, s, z = DynamicQuantizeLinear( Concat(min u, max u, min i, max i) )
         MatMulInteger(Q(i), W_i, z) + MatMulInteger(Q(u), W_u, z)

    Q([u, i]) W = Q(u) W_u + Q(i) W_i, with the scale of [u, i]

The scale and the zero point are made of the least and the greatest entry, and those of a row are those of its
repetitions: so they are the same numbers, ``Q(x)`` is QuantizeLinear with them, which rounds and saturates as
DynamicQuantizeLinear does, and integers add up to the same in any order. They hang on the candidates, so the user's
half is computed anew in each request, but for one row. A NaN leaves all integers undefined, before and behind the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, one_row, weight_rows
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Products:
    """The parts that are scaled together, and what multiplies them."""

    parts: Parts
    nodes: tuple[Node, ...]


class DynamicScale(Rule[Products]):
    """Splits products of integers into a user half and an item half, with one scale for both."""

    name = "dynamic-scale"
    algebra = "Q([u, i]) W = Q(u) W_u + Q(i) W_i, with the scale of [u, i]"
    exactness = Exactness.EXACT
    ops = frozenset({"DynamicQuantizeLinear"})

    def match(self, node: Node, at: Workspace) -> Products | None:
        parts = mixed_parts(node.inputs[0], at)
        if parts is None or parts.axis != parts.rank - 1 or not all(node.outputs) or at.graph.is_output(node.output):
            return None
        products = at.graph.consumers(node.output)
        if not products or not all(_is_product(n, node, at) for n in products):
            return None
        return Products(parts, tuple(products))

    def rewrite(self, node: Node, found: Products, at: Workspace) -> Sequence[str]:
        sides = [[p for p in found.parts if p[2] and at.is_once(p[0]) == once] for once in (True, False)]
        rows = [
            joined([one_row(v, at) if once else v for v, _, _ in side], found.parts.axis, at)
            for once, side in zip((True, False), sides, strict=True)
        ]
        ends = [at.emit(op, [row], keepdims=1) for row in rows for op in ("ReduceMin", "ReduceMax")]
        _, scale, zero = at.emit_many("DynamicQuantizeLinear", [joined(ends, 0, at)], 3)
        integers = [at.emit("QuantizeLinear", [row, scale, zero]) for row in rows]
        for product in found.nodes:
            halves = []
            for value, side in zip(integers, sides, strict=True):
                weight = weight_rows(product.inputs[1], 0, [(start, size) for _, start, size in side], at)
                halves.append(at.emit("MatMulInteger", [value, weight, zero, *product.inputs[3:]]))
            at.replace(product, [at.emit("Add", [halves[1], halves[0]])])
        return [at.emit("QuantizeLinear", [node.inputs[0], scale, zero]), scale, zero]


def _is_product(node: Node, scaling: Node, at: Workspace) -> bool:
    """Whether a reader multiplies the integers by a constant matrix, and takes off their zero point."""
    if (
        node.op != "MatMulInteger"
        or node.domain
        or node.inputs[0] != scaling.output
        or node.inputs[1] == scaling.output
    ):
        return False
    if not at.is_weight(node.inputs[1]) or at.fact(node.inputs[1]).rank != 2:
        return False
    return node.has_input(2) and node.inputs[2] == scaling.outputs[2] and all(map(at.is_weight, node.inputs[3:4]))
