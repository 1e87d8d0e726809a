"""A convolution with one window on each row, which is a layer of all that the row has::

    Conv( x: [B, C, T], W: [M, C, T], b )            ->   Gemm( x as [B, C T], W as [C T, M], b ), as [B, M, 1]
    Conv( x: [B, G c, 1], W: [G m, c, 1]; G groups ) ->   MatMul( x as [G, B, c], W as [G, c, m] ), as [B, G m, 1]

    conv(x, W) = flat(x) flat(W)^T

Models write layers as convolutions with windows of one entry, experts as groups of their channels, and filters as
long as a history. ONNX Runtime multiplies each row, and each of its groups, with the filters by itself, one number at
a time; a layer takes all rows at once, and is split over columns of user and item like any other. With further
positions a convolution is as good as a product, and spares that channels and positions change places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim
from mari_onnx.patterns._parts import joined, parts_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Layer:
    """What a convolution does to each row.

    Attributes:
        rows: How many rows there are.
        groups: Groups of channels.
        read: How many entries a group reads.
        made: How many it makes.
    """

    rows: Dim
    groups: int
    read: int
    made: int


class LoneWindow(Rule[Layer]):
    """Writes a convolution as a product where it has nothing to slide over."""

    name = "lone-window"
    algebra = "conv(x, W) = flat(x) flat(W)^T"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Conv"})

    def match(self, node: Node, at: Workspace) -> Layer | None:
        shape, kernel = at.fact(node.inputs[0]).shape, at.fact(node.inputs[1]).shape
        if shape is None or kernel is None or not all(map(at.is_weight, filter(None, node.inputs[1:]))):
            return None
        if at.fact(node.output).shape is None or not _is_alone(node, shape[2:], kernel[2:]):
            return None
        groups = int(node.attrs.get("group", 1))
        return Layer(shape[0], groups, math.prod(kernel[1:]), kernel[0] // groups)

    def rewrite(self, node: Node, found: Layer, at: Workspace) -> Sequence[str]:
        shape = at.fact(node.output).shape
        assert shape is not None
        made = _one_layer(node, found, at) if found.groups == 1 else _layers(node, found, at)
        return [at.reshape(made, shape)]


def _is_alone(node: Node, sizes: Shape, kernel: Shape) -> bool:
    """Whether a window covers all positions, entry by entry, and nothing is padded."""
    if node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or any(node.attrs.get("pads", ())):
        return False
    steps = node.attrs.get("dilations", [1] * len(kernel))
    return all(
        isinstance(size, int) and size == window and (window == 1 or step == 1)
        for size, window, step in zip(sizes, kernel, steps, strict=True)
    )


def _one_layer(node: Node, layer: Layer, at: Workspace) -> str:
    return at.emit(
        "Gemm",
        [_flat(node.inputs[0], layer.rows, at), _filters(node.inputs[1], layer, at), *filter(None, node.inputs[2:])],
    )


def _flat(value: str, rows: Dim, at: Workspace) -> str:
    """The entries of each row one behind the other; channels that are joined are joined as they are."""
    shape, parts = at.fact(value).shape or (), parts_of(value, at)
    if parts is None or parts.axis != 1 or not at.graph.is_private(value):
        return at.reshape(value, [rows, math.prod(shape[1:])])
    positions = math.prod(shape[2:])
    return joined([at.reshape(v, [rows, size * positions]) for v, _, size in parts if size], 1, at)


def _layers(node: Node, layer: Layer, at: Workspace) -> str:
    """One layer for each group: the groups of all rows are put in front, and back behind their rows."""
    apart = at.reshape(node.inputs[0], [layer.rows, layer.groups, layer.read])
    made = at.emit("MatMul", [at.emit("Transpose", [apart], perm=[1, 0, 2]), _filters(node.inputs[1], layer, at)])
    if node.has_input(2):
        made = at.emit("Add", [made, _biases(node.inputs[2], layer, at)])
    return at.emit("Transpose", [made], perm=[1, 0, 2])


def _filters(weight: str, layer: Layer, at: Workspace) -> str:
    """The filters as a matrix that multiplies rows, or as one for each group."""

    def matrices() -> np.ndarray:
        array = at.constant(weight)
        assert array is not None
        each = array.reshape(layer.groups, layer.made, layer.read).transpose(0, 2, 1)
        return np.ascontiguousarray(each if layer.groups > 1 else each[0])

    return at.cached_weight(("filters", weight, layer.groups), matrices, f"{weight}/matrix")


def _biases(bias: str, layer: Layer, at: Workspace) -> str:
    """The biases of each group, for all of its rows."""

    def rows() -> np.ndarray:
        array = at.constant(bias)
        assert array is not None
        return array.reshape(layer.groups, 1, layer.made)

    return at.cached_weight(("biases", bias, layer.groups), rows, f"{bias}/rows")
