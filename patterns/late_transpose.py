"""Axes that are put in another order in front of an operator that does not mind::

    Mul( Transpose(x), Transpose(y) )      ->   Transpose( Mul(x, y) )
    ReduceSum( Transpose(x); axis a )      ->   ReduceSum( x; axis p(a) ), transposed if axes are left in another order

f(x^T, y^T) = f(x, y)^T

ONNX Runtime does so as well: what is priced and what runs are then the same, and there is less to transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.transfer.elementwise import BROADCASTING
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, same
from mari_onnx.ir.orders import order_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Turned:
    """What the operator reads instead, in which order axes were put, and what is reduced of the new order."""

    inputs: tuple[str, ...]
    order: tuple[int, ...]
    axes: tuple[int, ...] = ()


class LateTranspose(Rule[Turned]):
    """Puts axes in order behind an operator instead of in front of it."""

    name = "late-transpose"
    algebra = "f(x^T, y^T) = f(x, y)^T"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({*BROADCASTING, *REDUCTIONS})

    def match(self, node: Node, at: Workspace) -> Turned | None:
        return _reduced(node, at) if node.op in REDUCTIONS else _combined(node, at)

    def rewrite(self, node: Node, found: Turned, at: Workspace) -> Sequence[str]:
        if node.op not in REDUCTIONS:
            result = at.emit(node.op, found.inputs, **dict(node.attrs))
            return [at.emit("Transpose", [result], perm=list(found.order))]
        inner = [found.order[a] for a in found.axes]
        inputs, attrs = [found.inputs[0]], dict(node.attrs)
        if node.has_input(1):
            inputs.append(at.weight(np.array(inner, np.int64)))
        else:
            attrs["axes"] = inner
        result, order = at.emit(node.op, inputs, **attrs), list(found.order)
        if not node.attrs.get("keepdims", 1):
            left = [axis for index, axis in enumerate(found.order) if index not in found.axes]
            order = [sorted(left).index(axis) for axis in left]
        return [result if order == sorted(order) else at.emit("Transpose", [result], perm=order)]


def _order(value: str, at: Workspace) -> tuple[str, tuple[int, ...]] | None:
    """What a Transpose reads, and the order it makes."""
    node, rank = at.graph.producer(value), at.fact(value).rank
    if node is None or node.op != "Transpose" or node.domain or rank is None:
        return None
    return node.inputs[0], order_of(node, rank)


def _combined(node: Node, at: Workspace) -> Turned | None:
    """Several operands that were transposed alike; the others are single numbers."""
    found = [_order(v, at) if v else None for v in node.inputs]
    orders = {f[1] for f in found if f is not None}
    alike = sum(f is not None for f in found)
    if len(orders) != 1 or alike < 2:
        return None
    single = all(f is not None or not v or _is_one_number(v, at) for v, f in zip(node.inputs, found, strict=True))
    inputs = tuple(f[0] if f is not None else v for v, f in zip(node.inputs, found, strict=True))
    return Turned(inputs, orders.pop()) if single else None


def _is_one_number(value: str, at: Workspace) -> bool:
    shape = at.fact(value).shape
    return shape is not None and same(product(shape), 1) and len(shape) <= 1


def _reduced(node: Node, at: Workspace) -> Turned | None:
    found = _order(node.inputs[0], at)
    axes = at.axes(node)
    if found is None or not axes:
        return None
    return Turned((found[0],), found[1], tuple(sorted(int(a) % len(found[1]) for a in axes)))
