"""A layer over all pairs of entries of two vectors, of which one is the user's::

    MatMul( Reshape( u[:, :, None] * y[:, None, :] ), W )   ->   MatMul( y, T ),  T = reshape( u W' )

    sum_ij u_i y_j W[(i, j), o] = sum_j y_j (sum_i u_i W[(i, j), o])

The user's vector is multiplied into the weight, once; pairs with it are never made. Tensor fusion is such a layer, with
any number of vectors in any order, a column of ones beside them or not. Pairs of the items' vectors are made as before.

Nothing of the items' may be infinite: with pairs of either sign, their sum is no number, and with sums of the user's it
is infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, product, same
from mari_onnx.patterns._equations import plain_terms
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._linear import is_linear_layer, matrix_of_layer
from mari_onnx.patterns._parts import one_row
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

MAX_VECTORS = 6


@dataclass(frozen=True, slots=True)
class Vector:
    """One of the vectors that are multiplied.

    Attributes:
        value: Has the entries of each candidate side by side, with axes of size 1 among its own.
        size: The number of entries.
    """

    value: str
    size: int


class OuterLayer(Rule[tuple[Vector, ...]]):
    """Multiplies the weight of a layer over an outer product with the user's vector."""

    name = "outer-layer"
    algebra = "sum_ij u_i y_j W[(i, j), o] = sum_j y_j (sum_i u_i W[(i, j), o])"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> tuple[Vector, ...] | None:
        shape = at.fact(node.inputs[0]).shape
        if not is_linear_layer(node, at) or not shape or not isinstance(shape[-1], int) or at.is_once(node.inputs[0]):
            return None
        found = _vectors(Vector(node.inputs[0], shape[-1]), at)
        users = [v for v in found if at.is_once(v.value)]
        if not users or len(found) > MAX_VECTORS or not all(_is_one_vector(v, at) for v in users):
            return None
        rows, items = product(shape[:-1]), [v for v in found if v not in users]
        full = all(same(product(_shape(v.value, at)), rows * v.size) for v in items)
        return tuple(found) if full and all(never_infinite(v.value, at) for v in items) else None

    def rewrite(self, node: Node, found: tuple[Vector, ...], at: Workspace) -> Sequence[str]:
        lead = _shape(node.inputs[0], at)[:-1]
        user = _outer([at.reshape(one_row(v.value, at), (1, v.size)) for v in found if at.is_once(v.value)], at)
        rest = [v for v in found if not at.is_once(v.value)]
        items = _outer([at.reshape(v.value, (*lead, v.size)) for v in rest], at)
        weight = _laid_out(node, found, at)
        wide = (product(v.size for v in rest), _shape(node.output, at)[-1])
        right = at.reshape(at.emit("MatMul", [user, weight]), wide)
        if node.has_input(2):
            return [at.emit("Gemm", [items, right, node.inputs[2]])]
        return [at.emit("MatMul", [items, right])]


def _shape(value: str, at: Workspace) -> Shape:
    return at.fact(value).shape or ()


def _is_one_vector(vector: Vector, at: Workspace) -> bool:
    return same(product(_shape(one_row(vector.value, at), at)), vector.size)


def _vectors(vector: Vector, at: Workspace) -> list[Vector]:
    """The vectors whose outer product, laid flat, a vector is; itself where it is none."""
    made = at.graph.producer(vector.value)
    while made is not None and made.op in VIEWS and not made.domain:
        made = at.graph.producer(made.inputs[0])
    if made is None or made.domain:
        return [vector]
    return [inner for v in _factors(made, vector.size, at) for inner in _vectors(v, at)] or [vector]


def _factors(made: Node, size: int, at: Workspace) -> tuple[Vector, ...]:
    """A column and a row for each candidate, where a node makes matrices of so many entries of them."""
    whole = _shape(made.output, at)
    if len(whole) < 2 or not all(isinstance(d, int) for d in whole[-2:]) or whole[-2] * whole[-1] != size:
        return ()
    operands = _by_equation(made) if made.op == "Einsum" else _by_shape(made, whole, at)
    return tuple(Vector(v, n) for v, n in zip(operands, whole[-2:], strict=True)) if operands else ()


def _by_equation(made: Node) -> tuple[str, ...]:
    """The operands of an Einsum that makes an outer product, the one that gives the rows first."""
    terms, result = plain_terms(made) or ([], "")
    expected = [result[:-1], result[:-2] + result[-1:]]
    if len(set(result)) < len(result) or sorted(terms) != sorted(expected):
        return ()
    return tuple(made.inputs if terms == expected else made.inputs[::-1])


def _by_shape(made: Node, whole: Shape, at: Workspace) -> tuple[str, ...]:
    """A column and a row that are multiplied, in that order."""
    orders = {"MatMul": [made.inputs], "Mul": [made.inputs, made.inputs[::-1]]}.get(made.op, [])
    for column, row in orders:
        if alike(_shape(column, at)[-2:], (whole[-2], 1)) and alike((1, *_shape(row, at))[-2:], (1, whole[-1])):
            return column, row
    return ()


def _outer(vectors: Sequence[str], at: Workspace) -> str:
    """The outer product of vectors along the last axis, laid flat."""

    def pair(one: str, other: str) -> str:
        left, right = _shape(one, at), _shape(other, at)
        column, row = at.reshape(one, (*left, 1)), at.reshape(other, (*right[:-1], 1, right[-1]))
        return at.reshape(at.emit("Mul", [column, row]), (*left[:-1], left[-1] * right[-1]))

    return reduce(pair, vectors)


def _laid_out(node: Node, found: Sequence[Vector], at: Workspace) -> str:
    """The weight with the entries of the user's vectors in front: ``[i, (j, o)]``."""
    user = [axis for axis, v in enumerate(found) if at.is_once(v.value)]
    order = (*user, *(axis for axis in range(len(found)) if axis not in user), len(found))
    sizes, turned = tuple(v.size for v in found), bool(node.attrs.get("transB", 0))
    scale = float(node.attrs.get("alpha", 1.0))

    def moved() -> np.ndarray:
        cube = matrix_of_layer(node, at).reshape(*sizes, -1).transpose(order)
        return np.ascontiguousarray(cube.reshape(product(sizes[axis] for axis in user), -1))

    return at.cached_weight(("outer", node.inputs[1], turned, scale, sizes, order), moved, f"{node.inputs[1]}/outer")
