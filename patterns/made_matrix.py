"""A matrix that a layer makes of the item, multiplied with the user's vector::

    MatMul( Reshape( MatMul(y, V) -> [B, p, q] ), a )   ->   Reshape( MatMul(y, V a) )

    reshape(y V + c) a = reshape(y (V a) + c a)      with V and c as matrices for each row of y, on either side of a

The user's vector is multiplied into the weight, once, and the matrices are never made: bilinear forms, and layers whose
weights come out of another layer. It pays where the user has few vectors: what is made of each item is to be half as
wide at least. What is infinite in them would be added up with either sign in front, which is no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._linear import is_bias, is_linear_layer, matrix_of_layer
from mari_onnx.patterns._parts import one_row, summed
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

NARROWER = 2
"""How many times; for less, a request of few candidates loses more than one of many gains."""


@dataclass(frozen=True, slots=True)
class Made:
    """Matrices and what they are multiplied with.

    Attributes:
        layer: The product that makes their entries.
        bias: The row that is added to them, or none.
        sizes: Rows and columns of a matrix as the layer lays them out.
        summed: The axis of the two that the product with the user's vectors sums over.
        vectors: The user's vectors, for one candidate.
        count: Their number.
        behind: Whether they are the right operand.
    """

    layer: Node
    bias: tuple[str, ...]
    sizes: tuple[int, int]
    summed: int
    vectors: str
    count: int
    behind: bool

    @property
    def wide(self) -> int:
        """What the layer makes for each candidate instead."""
        return self.sizes[1 - self.summed] * self.count


class MadeMatrix(Rule[Made]):
    """Multiplies the weight that makes a matrix of the item with the user's vector."""

    name = "made-matrix"
    algebra = "reshape(y V + c) a = reshape(y (V a) + c a)"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Made | None:
        left, right = node.inputs
        for matrix, vectors, behind in ((left, right, True), (right, left, False)):
            if at.is_once(vectors) and not at.is_once(matrix):
                found = _made(matrix, vectors, behind, at)
                return found if found is not None and never_infinite(vectors, at) else None
        return None

    def rewrite(self, node: Node, found: Made, at: Workspace) -> Sequence[str]:
        rows, source = _as_rows(found, at), found.layer.inputs[0]
        weight = _applied(rows, _laid_out(found, at), found, at)
        bias = [_applied(rows, _bias_laid_out(found, at), found, at) for _ in found.bias]
        if bias and at.fact(source).rank == 2:
            total = at.emit("Gemm", [source, weight, *bias])
        else:
            total = summed([at.emit("MatMul", [source, weight]), *bias], at)
        return [at.reshape(total, at.fact(node.output).shape or ())]


def _made(matrix: str, vectors: str, behind: bool, at: Workspace) -> Made | None:
    sizes, given = (at.fact(matrix).shape or ())[-2:], at.fact(one_row(vectors, at)).shape
    if len(sizes) != 2 or not given or not all(isinstance(d, int) for d in (*sizes, *given[-2:])):
        return None
    if not all(same(d, 1) for d in given[:-2]):
        return None
    turned = _is_turned(node := at.graph.producer(matrix))
    if turned and node is not None:
        sizes, node = sizes[::-1], at.graph.producer(node.inputs[0])
    view = node
    while node is not None and node.op in VIEWS and not node.domain:
        view, node = node, at.graph.producer(node.inputs[0])
    if node is None or view is node or not same((at.fact(node.output).shape or (0,))[-1], sizes[0] * sizes[1]):
        return None
    layer, bias = _layer(node, at)
    count, summed_axis = 1 if len(given) == 1 else given[-1 if behind else -2], int(behind != turned)
    if layer is None or count * NARROWER > sizes[summed_axis]:
        return None
    return Made(layer, bias, sizes, summed_axis, one_row(vectors, at), count, behind)


def _is_turned(node: Node | None) -> bool:
    """Whether a node exchanges the last two axes."""
    if node is None or node.op != "Transpose" or node.domain:
        return False
    order = list(node.attrs.get("perm", ()))
    last = len(order) - 1
    return last > 0 and order == [*range(last - 1), last, last - 1]


def _layer(node: Node, at: Workspace) -> tuple[Node | None, tuple[str, ...]]:
    """The product with a weight that a node is, or is the sum of with one row."""
    if node.domain:
        return None, ()
    if node.op == "Add":
        for value, row in (node.inputs, node.inputs[::-1]):
            inner = at.graph.producer(value)
            if inner is not None and is_bias(row, node.output, at) and not at.is_once(value):
                layer, bias = _layer(inner, at)
                return (layer, (row,)) if not bias else (None, ())
        return None, ()
    if node.op not in ("MatMul", "Gemm") or not is_linear_layer(node, at) or at.is_once(node.inputs[0]):
        return None, ()
    bias = tuple(node.inputs[2:3]) if node.has_input(2) else ()
    return (node, bias) if all(is_bias(b, node.output, at) for b in bias) else (None, ())


def _as_rows(found: Made, at: Workspace) -> str:
    """The user's vectors as rows: ``[count, summed]``."""
    size = found.sizes[found.summed]
    if found.behind and found.count > 1:
        return at.emit("Transpose", [at.reshape(found.vectors, (size, found.count))], perm=[1, 0])
    return at.reshape(found.vectors, (found.count, size))


def _applied(rows: str, weight: str, found: Made, at: Workspace) -> str:
    """The vectors multiplied with ``[summed, (n, free)]``: ``n`` rows, laid out as the product with a matrix is."""
    free, columns = found.sizes[1 - found.summed], (at.fact(weight).shape or ())[1]
    product = at.emit("MatMul", [rows, weight])
    if found.count > 1:
        order = [1, 2, 0] if found.behind else [1, 0, 2]
        product = at.emit("Transpose", [at.reshape(product, (found.count, columns // free, free))], perm=order)
    return at.reshape(product, (columns // free, found.wide))


def _laid_out(found: Made, at: Workspace) -> str:
    """The weight with the entries that are summed over in front: ``[summed, (k, free)]``."""
    name, sizes, summed_axis = found.layer.inputs[1], found.sizes, found.summed
    turned, scale = bool(found.layer.attrs.get("transB", 0)), float(found.layer.attrs.get("alpha", 1.0))

    def moved() -> np.ndarray:
        return _summed_first(matrix_of_layer(found.layer, at), found)

    return at.cached_weight(("made", name, turned, scale, sizes, summed_axis), moved, f"{name}/made")


def _bias_laid_out(found: Made, at: Workspace) -> str:
    """The bias likewise: ``[summed, free]``."""
    row = one_row(found.bias[0], at)
    array = at.constant(row) if at.is_weight(row) else None
    if array is not None:
        known = array.reshape(1, -1)
        return at.cached_weight(
            ("made", row, found.sizes, found.summed), lambda: _summed_first(known, found), f"{row}/made"
        )
    matrix = at.reshape(row, found.sizes)
    return at.emit("Transpose", [matrix], perm=[1, 0]) if found.summed else matrix


def _summed_first(array: np.ndarray, found: Made) -> np.ndarray:
    cube = np.moveaxis(array.reshape(-1, *found.sizes), 1 + found.summed, 0)
    return np.ascontiguousarray(cube.reshape(len(cube), -1))
