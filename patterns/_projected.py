"""Rows of each candidate behind a layer, in heads or not, as keys and values of attention are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._factors import COLUMNS, Factor, Layout, after, moved, places
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._linear import is_linear_layer, matrix_of_layer
from mari_onnx.rewrite.workspace import Workspace

MAX_STEPS = 12


@dataclass(frozen=True, slots=True)
class Projected:
    """Rows behind a layer.

    Attributes:
        layer: The layer; it reads ``[B, T, D]``, or ``[T, B, D]``.
        turned: Whether it reads the latter.
        in_heads: Whether there are heads.
        columns: Which of its columns each head has.
        scale: What it is scaled with.
        bias: The constant that is added to each row before, or nothing.
    """

    layer: Node
    turned: bool
    in_heads: bool
    columns: tuple[tuple[int, ...], ...]
    scale: float
    bias: str

    @property
    def width(self) -> int:
        """The columns of a head."""
        return len(self.columns[0])

    def rows(self, at: Workspace) -> str:
        """What the layer reads, as ``[B, T, D]``."""
        value = self.layer.inputs[0]
        return at.emit("Transpose", [value], perm=[1, 0, 2]) if self.turned else value

    def split(self, value: str, at: Workspace) -> str:
        """What meets the heads, ``[B, h, n, k]`` or ``[B h, n, k]``, as the former."""
        shape = at.fact(value).shape or ()
        batch = (at.fact(self.layer.inputs[0]).shape or ())[int(self.turned)]
        return at.reshape(value, (batch, len(self.columns), *shape[-2:])) if self.in_heads else value

    def weight(self, at: Workspace, order: tuple[int, int]) -> str:
        """The weight for each head, ``[h, D, d]`` with the last two axes in an order."""
        return self._in_heads(self.layer.inputs[1], matrix_of_layer(self.layer, at), order, at)

    def added(self, at: Workspace, order: tuple[int, int]) -> str:
        """The bias for each head, ``[h, 1, d]`` with the last two axes in an order."""
        array = at.constant(self.bias)
        assert array is not None
        return self._in_heads(self.bias, array.reshape(-1, array.shape[-1])[:1], order, at)

    def _in_heads(self, name: str, matrix: np.ndarray, order: tuple[int, int], at: Workspace) -> str:
        def laid_out() -> np.ndarray:
            cube = matrix[:, np.array(self.columns)].transpose(1, 0, 2).transpose(0, 1 + order[0], 1 + order[1])
            scaled = cube if self.scale == 1.0 else (cube.astype(np.float64) * self.scale).astype(cube.dtype)
            return np.ascontiguousarray(scaled if self.in_heads else scaled[0])

        return at.cached_weight(("projected", name, self.columns, self.scale, order), laid_out, f"{name}/heads")


def projected(value: str, order: tuple[int, int], at: Workspace) -> Projected | None:
    """What a value is, if it is rows of each candidate behind a layer.

    Args:
        value: ``[B, h, T, d]``, ``[B h, T, d]`` or ``[B, T, d]``, with the last two axes in an order.
        order: That order.
        at: The graph.
    """
    shape, steps, bias = at.fact(value).shape, list[Node](), ""
    if shape is None or len(shape) not in (3, 4) or at.fact(value).dtype not in PRECISE or at.is_once(value):
        return None
    node = at.graph.producer(value)
    while node is not None and not node.domain and moved(node, at) and len(steps) < MAX_STEPS:
        steps.append(node)
        node = at.graph.producer(moved(node, at))
    if node is None or node.domain:
        return None
    total = at.fact(node.output).shape or ()
    if node.op == "Add":
        node, bias = _without_bias(node, total, at)
    if node is None or node.op != "MatMul" or node.domain or not is_linear_layer(node, at):
        return None
    if len(total) != COLUMNS + 1 or not isinstance(total[-1], int) or at.is_once(node.inputs[0]):
        return None
    layout: Layout | None = Layout(tuple((Factor(axis, size),) for axis, size in enumerate(total)))
    for step in reversed(steps):
        layout = after(step, layout, at)
    return _found(node, layout, order, bias) if layout is not None else None


def are_few(left: str, found: Projected, right: str, at: Workspace) -> bool:
    """Whether a value has few rows for each head of each candidate: fewer than the head has columns."""
    shape, other = at.fact(left).shape, at.fact(right).shape
    width = (at.fact(found.layer.inputs[0]).shape or (None,))[-1]
    if shape is None or other is None or not isinstance(width, int) or not alike(shape[:-2], other[:-2]):
        return False
    return isinstance(shape[-2], int) and shape[-2] < found.width


def stacked(value: str, at: Workspace) -> str:
    """The rows of all heads of a candidate below each other."""
    shape = at.fact(value).shape or ()
    return at.reshape(value, (shape[0], shape[1] * shape[2], shape[3])) if len(shape) == 4 else value


def _found(layer: Node, layout: Layout, order: tuple[int, int], bias: str) -> Projected | None:
    """The layer's columns by head, where the axes are those of heads, rows and columns."""
    leading = [f for axis in layout.axes[:-2] for f in axis]
    rows, columns = (layout.axes[len(layout.axes) - 2 + order.index(place)] for place in (0, 1))
    if [f.axis for f in (*leading[:1], *rows)] not in ([0, 1], [1, 0]):
        return None
    heads = leading[1:]
    if any(f.axis != COLUMNS for f in (*heads, *columns)) or not columns:
        return None
    table = layout.first + places(heads)[:, np.newaxis] + places(columns)
    in_heads = len(layout.axes) == 4 or bool(heads)
    chosen = tuple(tuple(int(c) for c in row) for row in table)
    return Projected(layer, leading[0].axis == 1, in_heads, chosen, layout.scale, bias)


def _without_bias(node: Node, total: Shape, at: Workspace) -> tuple[Node | None, str]:
    """What a constant is added to, the same for each row."""
    for value, row in (node.inputs, node.inputs[::-1]):
        if _is_one_row(row, total, at) and alike(at.fact(value).shape, total):
            return at.graph.producer(value), row
    return None, ""


def _is_one_row(value: str, total: Shape, at: Workspace) -> bool:
    """Whether a value is a constant that adds the same numbers to each row."""
    array = at.constant(value) if at.is_weight(value) else None
    if array is None or array.ndim == 0 or not total or array.shape[-1] != total[-1] or array.size == 0:
        return False
    table = array.reshape(-1, array.shape[-1])
    return bool((table == table[0]).all())
