"""Rows of each candidate behind a layer, in heads or not, as keys and values of attention are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._linear import is_linear_layer, matrix_of_layer
from mari_onnx.rewrite.workspace import Workspace

ROWS = {4: (0, 2, 1, 3), 3: (0, 1, 2)}
"""How rows in heads, or in none, are laid out as ``[B, h, T, d]`` or ``[B, T, d]``, by the number of axes."""
COLUMNS = {4: (0, 2, 3, 1), 3: (0, 2, 1)}
"""And how as ``[B, h, d, T]`` or ``[B, d, T]``."""


@dataclass(frozen=True, slots=True)
class Projected:
    """Rows behind a layer.

    Attributes:
        rows: What the layer reads, ``[B, T, D]``.
        layer: The layer.
        heads: How many heads its columns are laid out in; 0 where there is no axis for them.
        width: The columns of a head.
        bias: The constant that is added to each row, or nothing.
    """

    rows: str
    layer: Node
    heads: int
    width: int
    bias: str

    def weight(self, at: Workspace, order: tuple[int, int]) -> str:
        """The weight for each head, ``[h, D, d]`` with the last two axes in an order."""
        return self._in_heads(self.layer.inputs[1], matrix_of_layer(self.layer, at), order, at)

    def added(self, at: Workspace, order: tuple[int, int]) -> str:
        """The bias for each head, ``[h, 1, d]`` with the last two axes in an order."""
        array = at.constant(self.bias)
        assert array is not None
        return self._in_heads(self.bias, array.reshape(-1, self.width * max(self.heads, 1))[:1], order, at)

    def _in_heads(self, name: str, matrix: np.ndarray, order: tuple[int, int], at: Workspace) -> str:
        def laid_out() -> np.ndarray:
            cube = matrix.reshape(len(matrix), max(self.heads, 1), self.width).transpose(1, 0, 2)
            turned = cube.transpose(0, 1 + order[0], 1 + order[1])
            return np.ascontiguousarray(turned if self.heads else turned[0])

        return at.cached_weight(("projected", name, self.heads, self.width, order), laid_out, f"{name}/heads")


def projected(value: str, layout: dict[int, tuple[int, ...]], at: Workspace) -> Projected | None:
    """What a value is, if it is rows of each candidate behind a layer, in one of the layouts above."""
    shape, node = at.fact(value).shape, at.graph.producer(value)
    if shape is None or len(shape) not in layout or at.fact(value).dtype not in PRECISE:
        return None
    order = tuple(range(len(shape)))
    while node is not None and node.op == "Transpose" and not node.domain:
        inner = node.attrs.get("perm", order[::-1])
        order, value = tuple(inner[axis] for axis in order), node.inputs[0]
        node = at.graph.producer(value)
    if node is None or order != layout[len(shape)]:
        return None
    heads = 0
    if len(shape) == 4:
        sizes, whole = at.fact(value).shape or (), _source_shape(node, at)
        if len(whole) != 3 or not alike(sizes[:2], whole[:2]) or not isinstance(sizes[2], int):
            return None
        heads, node = sizes[2], at.graph.producer(node.inputs[0])
    return _layer(node, heads, at) if node is not None else None


def _source_shape(node: Node, at: Workspace) -> Shape:
    return at.fact(node.inputs[0]).shape or () if node.op == "Reshape" and not node.domain else ()


def _layer(node: Node, heads: int, at: Workspace) -> Projected | None:
    bias, total = "", at.fact(node.output).shape or ()
    if node.op == "Add" and not node.domain:
        for value, row in (node.inputs, node.inputs[::-1]):
            inner = at.graph.producer(value)
            if inner is not None and _is_one_row(row, total, at) and alike(at.fact(value).shape, total):
                node, bias = inner, row
                break
    if node.op != "MatMul" or node.domain or not is_linear_layer(node, at):
        return None
    rows = node.inputs[0]
    columns = (at.fact(node.inputs[1]).shape or (0,))[-1]
    if at.fact(rows).rank != 3 or at.is_once(rows) or not isinstance(columns, int) or columns == 0:
        return None
    return Projected(rows, node, heads, columns // max(heads, 1), bias)


def _is_one_row(value: str, total: Shape, at: Workspace) -> bool:
    """Whether a value is a constant that adds the same numbers to each row."""
    array = at.constant(value) if at.is_weight(value) else None
    if array is None or array.ndim == 0 or not total or array.shape[-1] != total[-1] or array.size == 0:
        return False
    table = array.reshape(-1, array.shape[-1])
    return bool((table == table[0]).all())
