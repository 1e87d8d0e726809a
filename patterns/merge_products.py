"""Two products that are added up, both computed once per request::

    Gemm( y, V, C = Gemm(x, W, b) )   ->   Gemm( Concat(x, y), [W; V], b )
    Gemm( x, V, C = Gemm(x, W, b) )   ->   Gemm( x, W + V, b )

    (x W + b) + y V = [x, y] [W; V] + b

User features that come to light one after the other end in one product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._parts import joined, parts_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Chain:
    """The product in the bias, and whether weights are stored transposed."""

    inner: Node
    turned: tuple[bool, bool]


class MergeProducts(Rule[Chain]):
    """Joins the operands of two products into one."""

    name = "merge-products"
    algebra = "(x W + b) + y V = [x, y] [W; V] + b"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Gemm"})

    def match(self, node: Node, at: Workspace) -> Chain | None:
        if not node.has_input(2) or not _is_plain(node, at):
            return None
        bias = node.inputs[2]
        inner = at.graph.producer(bias)
        if inner is None or inner.op != "Gemm" or inner.domain or not _is_plain(inner, at):
            return None
        if not at.graph.is_private(bias) or not alike(at.fact(bias).shape, at.fact(node.output).shape):
            return None
        return Chain(inner, (_is_turned(inner), _is_turned(node)))

    def rewrite(self, node: Node, found: Chain, at: Workspace) -> Sequence[str]:
        left, right = found.inner, node
        same = left.inputs[0] == right.inputs[0]

        def merged() -> np.ndarray:
            blocks = []
            for weight, turned in zip((left.inputs[1], right.inputs[1]), found.turned, strict=True):
                array = at.constant(weight)
                assert array is not None
                blocks.append(array.T if turned else array)
            whole = np.add(*blocks) if same else np.concatenate(blocks, axis=0)
            return np.ascontiguousarray(whole)

        operands = [left.inputs[0]] if same else [*_flat(left.inputs[0], at), *_flat(right.inputs[0], at)]
        key = ("merged", left.inputs[1], right.inputs[1], found.turned, same)
        weight = at.cached_weight(key, merged, f"{right.inputs[1]}/merged")
        bias = [left.inputs[2]] if left.has_input(2) else []
        return [at.emit("Gemm", [joined(operands, 1, at), weight, *bias])]


def _is_plain(node: Node, at: Workspace) -> bool:
    """Whether the node is computed once, is neither scaled nor turned on the left, and has a constant weight."""
    once = all(at.fact(v).axis is None and not at.fact(v).opaque for v in node.inputs if v)
    scaled = node.attrs.get("alpha", 1.0) != 1.0 or node.attrs.get("beta", 1.0) != 1.0
    return once and not scaled and not node.attrs.get("transA", 0) and at.is_weight(node.inputs[1])


def _is_turned(node: Node) -> bool:
    return bool(node.attrs.get("transB", 0))


def _flat(value: str, at: Workspace) -> tuple[str, ...]:
    parts = parts_of(value, at)
    return parts.values if parts is not None and parts.axis == 1 else (value,)
