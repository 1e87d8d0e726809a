"""A summand behind a product that was laid out anew::

    Add( Reshape( Gemm(x, W, c) ), v )   ->   Reshape( Gemm(x, W, c + v) )

    view(x W + c) + v = view(x W + (c + v))

``v`` is computed once and has the axes that the columns of the product were taken apart into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, same
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._parts import one_row
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Behind:
    """The product, what the Reshape makes of its columns, and the summand."""

    inner: Node
    columns: Shape
    outer: str


class SumIntoBias(Rule[Behind]):
    """Adds what is computed once to the bias of a product, through a Reshape."""

    name = "sum-into-bias"
    algebra = "view(x W + c) + v = view(x W + (c + v))"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Add"})

    def match(self, node: Node, at: Workspace) -> Behind | None:
        for value, outer in (node.inputs, reversed(node.inputs)):
            view = at.graph.producer(value)
            if view is None or view.op != "Reshape" or view.domain or not at.is_once(outer) or at.is_once(value):
                continue
            inner = at.graph.producer(view.inputs[0])
            if (
                inner is None
                or inner.domain
                or not at.graph.is_private(value)
                or not at.graph.is_private(view.inputs[0])
            ):
                continue
            columns = _columns(at.fact(view.inputs[0]).shape, at.fact(value).shape)
            if columns is not None and _takes_bias(inner, at) and _goes_with(one_row(outer, at), columns, at):
                return Behind(inner, columns, outer)
        return None

    def rewrite(self, node: Node, found: Behind, at: Workspace) -> Sequence[str]:
        inner, bias = found.inner, one_row(found.outer, at)
        after = at.fact(node.output).shape
        assert after is not None
        if inner.has_input(2):
            own = one_row(inner.inputs[2], at)
            size = (at.fact(own).shape or (1,))[-1]
            bias = at.emit("Add", [own if same(size, 1) else at.reshape(own, found.columns), bias])
        whole = at.fact(bias).shape or ()
        if not same(product(whole), product(found.columns)):
            bias = at.emit("Expand", [bias, at.sizes.known(found.columns)])
        if at.fact(bias).rank != 1:
            bias = at.reshape(bias, (1, product(found.columns)))
        attrs = {k: v for k, v in inner.attrs.items() if k != "beta"} if inner.op == "Gemm" else {}
        return [at.reshape(at.emit("Gemm", [*inner.inputs[:2], bias], **attrs), after)]


def _columns(before: Shape | None, after: Shape | None) -> Shape | None:
    """The last axes of a view, those that the columns of a matrix were taken apart into."""
    if before is None or after is None or len(before) != 2:
        return None
    for count in range(1, len(after) + 1):
        if same(product(after[-count:]), before[1]) and same(product(after[:-count]), before[0]):
            return after[-count:]
    return None


def _takes_bias(inner: Node, at: Workspace) -> bool:
    """Whether the product is a Gemm that has room for a row, or can become one."""
    if at.fact(inner.output).dtype not in FLOATS or any(at.fact(v).rank != 2 for v in inner.inputs[:2]):
        return False
    if inner.op == "MatMul" or (inner.op == "Gemm" and not inner.has_input(2)):
        return True
    if inner.op != "Gemm" or inner.attrs.get("beta", 1.0) != 1.0 or not at.is_once(inner.inputs[2]):
        return False
    shape, whole = at.fact(one_row(inner.inputs[2], at)).shape, at.fact(inner.output).shape
    if shape is None or whole is None or not all(same(d, 1) for d in shape[:-1]):
        return False
    # What has one entry is repeated, and an open size may be one.
    return not shape or same(shape[-1], 1) or same(shape[-1], whole[-1])


def _goes_with(value: str, columns: Shape, at: Workspace) -> bool:
    """Whether a value has none but the axes of the columns."""
    shape = at.fact(value).shape
    if shape is None:
        return False
    pairs = zip(reversed(shape), reversed(columns), strict=False)
    fits = all(same(own, 1) or same(own, size) for own, size in pairs)
    return fits and all(same(d, 1) for d in shape[: max(0, len(shape) - len(columns))])
