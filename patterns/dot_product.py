"""Dot products of an item's row with each of the user's, written entry by entry, as one product::

    ReduceSum( x: [B, 1, d] * u: [1, T, d], axis -1 )   ->   MatMul( x: [B, d], u^T: [d, T] )
    ReduceSum( x: [B, T, d] * u: [1, 1, d], axis -1 )   ->   MatMul( x: [B, T, d], u^T: [d, 1] )

    sum_k x_k u_k = x u^T

The scores of an attention, and of two towers. A ReduceMean is the same of ``u / d``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.sizes import broadcast
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, alike, product, same
from mari_onnx.patterns._linear import narrowest
from mari_onnx.patterns._sums import summed_product
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Dots:
    """Rows of the items, laid out for a product, and the user's, of which there are so many."""

    rows: str
    layout: Shape
    once: str
    count: Dim


class DotProduct(Rule[Dots]):
    """Writes dot products with rows of the user as a product."""

    name = "dot-product"
    algebra = "sum_k x_k u_k = x u^T"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"ReduceSum", "ReduceMean"})

    def match(self, node: Node, at: Workspace) -> Dots | None:
        taken, fact = summed_product(node, at), at.fact(node.inputs[0])
        lane, shape = fact.axis, fact.shape
        if taken is None or taken[1] != -1 or shape is None or len(shape) < 2:
            return None
        if lane is None or lane.index != 0 or not lane.is_whole:
            return None
        scaled, _ = taken
        for rows, once in (scaled.inputs, scaled.inputs[::-1]):
            found = _dots(narrowest(rows, at), narrowest(once, at), shape, at)
            if found is not None:
                return found
        return None

    def rewrite(self, node: Node, found: Dots, at: Workspace) -> Sequence[str]:
        width = found.layout[-1]
        once = at.reshape(found.once, (found.count, width))
        if node.op == "ReduceMean":
            share = np.array(1 / width, onnx.helper.tensor_dtype_to_np_dtype(at.fact(once).dtype))
            once = at.emit("Mul", [once, at.weight(share)])
        made = at.emit("MatMul", [at.reshape(found.rows, found.layout), at.emit("Transpose", [once], perm=[1, 0])])
        shape = at.fact(node.output).shape
        assert shape is not None
        return [at.reshape(made, shape)]


def _dots(rows: str, once: str, shape: Shape, at: Workspace) -> Dots | None:
    """The operands of products of rows of ``shape``, where one has all the rows of a candidate, and the other one."""
    own, others = _full(rows, shape, at), _full(once, shape, at)
    if not at.is_once(once) or at.is_once(rows) or own is None or others is None or not same(others[0], 1):
        return None
    width = shape[-1]
    if not isinstance(width, int) or not same(own[-1], width) or not same(others[-1], width):
        return None
    if not same(own[0], shape[0]) or not alike(broadcast([own, others]), shape):
        return None
    if all(same(d, 1) for d in own[1:-1]):
        return Dots(rows, (own[0], width), once, product(others[1:-1]))
    return Dots(rows, own, once, 1) if all(same(d, 1) for d in others[1:-1]) else None


def _full(value: str, shape: Shape, at: Workspace) -> Shape | None:
    """The shape of a value with as many axes as another."""
    own = at.fact(value).shape
    return None if own is None or len(own) > len(shape) else (*(1,) * (len(shape) - len(own)), *own)
