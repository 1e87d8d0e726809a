"""A LayerNormalization over columns of user and item, as a product with a few columns::

    LayerNormalization( Concat(u, i), g, b )   ->   Gemm( Concat(z * r, r), [G; (u - mean(u)) G_u], b )

    LN([u, i]) = [z r, r] [G; (u - mean(u)) G_u] + b, z = [i, mean(u)] - mean

``r`` is one over the standard deviation. ``z`` has a column for each column of the items and one for all of the
user's, which counts as often as there are of them in mean and variance. All sums of squares are of differences from a
mean. ``G`` has the scale and puts columns in their places: a product behind takes it in, and the wide value is gone.
A normalization that is written out in steps counts as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._layernorms import STEPS, Normal, normal_of, row_of
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, one_row
from mari_onnx.patterns._sums import reduced_along
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Mixed:
    """A normalization of columns of both sides.

    Attributes:
        normal: What it does.
        parts: The columns.
        scale: The constant row that it scales with.
    """

    normal: Normal
    parts: Parts
    scale: np.ndarray


class ConcatLayernorm(Rule[Mixed]):
    """Computes the user's share of a normalization once."""

    name = "concat-layernorm"
    algebra = "LN([u, i]) = [z r, r] [G; (u - mean(u)) G_u] + b, z = [i, mean(u)] - mean"
    exactness = Exactness.REASSOCIATING
    enabling = True
    ops = frozenset({"LayerNormalization", *STEPS})

    def match(self, node: Node, at: Workspace) -> Mixed | Refusal | None:
        dtype = at.fact(node.output).dtype
        normal = normal_of(node, at) if dtype in PRECISE else None
        parts = mixed_parts(normal.value, at) if normal is not None else None
        if normal is None or parts is None or parts.axis != parts.rank - 1:
            return None
        scale = row_of(normal.scale, parts.total, onnx.helper.tensor_dtype_to_np_dtype(dtype), at)
        if scale is None:
            return Refusal("the scale is not a constant row")
        for value in parts.values:
            shape = at.fact(one_row(value, at)).shape or ()
            if at.is_once(value) and not all(same(d, 1) for d in shape[:-1]):
                return Refusal("the user's columns differ from token to token")
        return Mixed(normal, parts, scale)

    def rewrite(self, node: Node, found: Mixed, at: Workspace) -> Sequence[str]:
        kind, parts = found.scale.dtype, found.parts
        user = [part for part in parts if part[2] and at.is_once(part[0])]
        item = [part for part in parts if part[2] and not at.is_once(part[0])]
        count = sum(size for _, _, size in user)

        columns = one_row(joined([v for v, _, _ in user], parts.axis, at), at)
        mean = reduced_along("ReduceMean", columns, -1, at)
        centred = at.emit("Sub", [columns, mean])
        squares = reduced_along("ReduceSumSquare", centred, -1, at)
        rest = at.emit("Mul", [squares, at.weight(np.array(1 / parts.total, kind))])
        rest = at.emit("Add", [rest, at.weight(np.array(found.normal.epsilon, kind))])

        share = np.full((parts.total - count + 1, 1), 1 / parts.total, kind)
        share[-1] = count / parts.total
        weight = at.weight(share)
        z = _centred([v for v, _, _ in item], mean, weight, parts, at)
        variance = _affine(at.emit("Mul", [z, z]), weight, rest, at)
        factor = at.emit("Reciprocal", [at.emit("Sqrt", [variance])])
        rows = joined([at.emit("Mul", [z, factor]), factor], parts.axis, at)

        places, own = _places(user, item, found.scale)
        row = at.emit("MatMul", [at.reshape(centred, (1, count)), at.weight(own)])
        table = joined([at.weight(places), row], 0, at)
        if found.normal.shift:
            return [_affine(rows, table, found.normal.shift, at)]
        return [at.emit("MatMul", [rows, table])]


def _centred(items: Sequence[str], mean: str, weight: str, parts: Parts, at: Workspace) -> str:
    """The columns of the items and the mean of the user's, less the mean of all."""
    whole = at.fact(items[0]).shape or ()
    total = joined([*items, at.emit("Expand", [mean, at.sizes.known((*whole[:-1], 1))])], parts.axis, at)
    return at.emit("Sub", [total, at.emit("MatMul", [total, weight])])


def _places(
    user: Sequence[tuple[str, int, int]], item: Sequence[tuple[str, int, int]], scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where columns go, with their scale: those of ``z``, and those of the user."""
    sides = []
    for side in (item, user):
        columns = [column for _, start, size in side for column in range(start, start + size)]
        table = np.zeros((len(columns), len(scale)), scale.dtype)
        table[range(len(columns)), columns] = scale[columns]
        sides.append(table)
    return np.concatenate([sides[0], sides[1].sum(axis=0, keepdims=True)]), sides[1]


def _affine(value: str, weight: str, row: str, at: Workspace) -> str:
    """A product, and a row that is added to it."""
    if at.fact(value).rank == 2:
        return at.emit("Gemm", [value, weight, one_row(row, at)])
    return at.emit("Add", [at.emit("MatMul", [value, weight]), one_row(row, at)])
