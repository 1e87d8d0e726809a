"""A product of a product::

    MatMul( MatMul(x, V), W )         ->   MatMul( x, V W )
    Gemm( Gemm(x, V, c), W, b )       ->   Gemm( x, V W, C = c W + b )

    (x V + c) W = x (V W) + c W

``V`` and ``c`` are computed once; what is constant in ``V W`` is multiplied when the model is optimized. It pays where
the value in between is wider than ``x``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._linear import is_linear_layer, weight_of
from mari_onnx.patterns._parts import joined, one_row, summed
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class ChainedProducts(Rule[Node]):
    """Multiplies the right operands of two products in a row."""

    name = "chained-products"
    algebra = "(x V + c) W = x (V W) + c W"
    rival = True
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Node | None:
        inner = at.graph.producer(node.inputs[0])
        if inner is None or inner.op not in self.ops or inner.domain or at.is_once(node.inputs[0]):
            return None
        if not is_linear_layer(node, at) or not _is_plain(inner, at) or not at.fact(inner.output).shape:
            return None
        if inner.has_input(2) and not _is_row(inner, at):
            return None
        # What is infinite times numbers of either sign adds up to no number, times their sum it is infinite.
        return inner if never_infinite(inner.inputs[0], at) else None

    def rewrite(self, node: Node, found: Node, at: Workspace) -> Sequence[str]:
        width = (at.fact(found.output).shape or ())[-1]
        second = weight_of(node, [(0, width)], at)
        weight = through(one_row(found.inputs[1], at), second, at)
        bias = [node.inputs[2]] if node.has_input(2) else []
        fixed = [one_row(b, at) for b in bias if at.is_once(b)]
        if found.has_input(2):
            fixed.insert(0, through(one_row(found.inputs[2], at), second, at))
        late = [b for b in bias if not at.is_once(b)]
        if fixed and at.fact(node.output).rank == 2:
            total = at.emit("Gemm", [found.inputs[0], weight, one_row(summed(fixed, at), at)])
        else:
            total = summed([at.emit("MatMul", [found.inputs[0], weight]), *fixed], at)
        return [summed([total, *late], at)]


def _is_plain(inner: Node, at: Workspace) -> bool:
    """Whether the first product has a matrix of floats on the right that is computed once, and nothing is scaled."""
    fact = at.fact(inner.inputs[1])
    scaled = inner.attrs.get("alpha", 1.0) != 1.0 or inner.attrs.get("beta", 1.0) != 1.0
    turned = inner.attrs.get("transA", 0) or inner.attrs.get("transB", 0)
    return at.is_once(inner.inputs[1]) and fact.axis is None and fact.rank == 2 and not scaled and not turned


def _is_row(inner: Node, at: Workspace) -> bool:
    """Whether the bias of the first product is one row, as wide as the product."""
    if not at.is_once(inner.inputs[2]):
        return False
    shape, whole = at.fact(one_row(inner.inputs[2], at)).shape, at.fact(inner.output).shape
    return bool(shape and whole and same(shape[-1], whole[-1]) and all(same(d, 1) for d in shape[:-1]))


def through(value: str, second: str, at: Workspace) -> str:
    """``value W``: a constant of constants; of a Concat of rows and of a product, piece by piece."""
    if at.is_weight(value):
        return at.cached_weight(("chained", value, second), lambda: _product(value, second, at), f"{second}/chained")
    node = at.graph.producer(value)
    if node is None or node.domain or at.fact(value).rank != 2:
        return at.emit("MatMul", [value, second])
    if node.op == "Concat" and int(node.attrs["axis"]) % 2 == 0:
        return joined([through(v, second, at) for v in node.inputs], 0, at)
    if node.op == "MatMul" and at.is_weight(node.inputs[1]) and _is_less_at_once(node.inputs[1], second, at):
        return at.emit("MatMul", [node.inputs[0], through(node.inputs[1], second, at)])
    return at.emit("MatMul", [value, second])


def _is_less_at_once(first: str, second: str, at: Workspace) -> bool:
    """Whether the product of two weights has no more entries than the two."""
    left, right = at.fact(first).shape or (), at.fact(second).shape or ()
    sizes = [d for d in (*left, *right) if isinstance(d, int)]
    if len(left) != 2 or len(sizes) != 4:
        return False
    return sizes[0] * sizes[3] <= sizes[0] * sizes[1] + sizes[2] * sizes[3]


def _product(first: str, second: str, at: Workspace) -> np.ndarray:
    left, right = at.constant(first), at.constant(second)
    assert left is not None
    assert right is not None
    return np.asarray((left.astype(np.float64) @ right.astype(np.float64)).astype(right.dtype))
