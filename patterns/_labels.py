"""Which axes of a node belong together: moving entries along one is the same as moving them along all of its like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.ir.orders import order_of
from mari_onnx.patterns._floats import EXTREMES, FLOATS
from mari_onnx.rewrite.workspace import Workspace

Label = int | None
"""Axes of one number go together; the order of entries along an axis without one matters."""
Row = tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of the axes of all inputs and outputs of a node; an axis that the outputs lack is summed over."""

    inputs: tuple[Row, ...]
    outputs: tuple[Row, ...]


def labels_of(node: Node, at: Workspace) -> Labels | None:
    """The labels of a node, ``None`` where its operator is not in the table."""
    find = TABLE.get(node.op)
    if find is None or node.domain or node.captures or (len(node.outputs) > 1 and node.op != "Split"):
        return None
    shapes = [at.fact(v).shape if v else () for v in (*node.inputs, *node.outputs)]
    known = [s for s in shapes if s is not None]
    if len(known) < len(shapes):
        return None
    try:
        return find(node, known[: len(node.inputs)], known[len(node.inputs) :], at)
    except _UnclearError:
        return None


Finder = Callable[[Node, Sequence[Shape], Sequence[Shape], Workspace], Labels | None]


class _UnclearError(Exception):
    """Two sizes that may be equal or not."""


def _aligned(shape: Shape, after: Shape) -> Row:
    """Axes of a broadcast operand, by the axes of the result."""
    shift = len(after) - len(shape)
    if shift < 0:
        raise _UnclearError
    row: list[Label] = []
    for axis, size in enumerate(shape, shift):
        if not same(size, after[axis]) and size != 1:
            raise _UnclearError
        row.append(axis if same(size, after[axis]) else None)
    return tuple(row)


def _free(shape: Shape) -> Row:
    return (None,) * len(shape)


def _leading(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    """The first input goes entry by entry into the first output; the others are read whole."""
    rows = [_aligned(inputs[0], outputs[0]), *map(_free, inputs[1:])]
    return Labels(tuple(rows), (tuple(range(len(outputs[0]))), *map(_free, outputs[1:])))


def _broadcasting(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    after = outputs[0]
    return Labels(tuple(_aligned(s, after) for s in inputs), (tuple(range(len(after))),))


def _batch_normalization(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    if len(inputs[0]) < 2:
        return None
    whole = tuple(range(len(outputs[0])))
    return Labels((whole, *((1,),) * 4), (whole,))


def _matmul(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    left, right = inputs
    after = outputs[0]
    rank = len(after)
    if len(left) < 2 or len(right) < 2:
        return None
    batch = after[:-2]
    return Labels(
        ((*_aligned(left[:-2], batch), rank - 2, rank), (*_aligned(right[:-2], batch), rank, rank - 1)),
        (tuple(range(rank)),),
    )


def _gemm(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    left = (2, 0) if node.attrs.get("transA", 0) else (0, 2)
    right = (1, 2) if node.attrs.get("transB", 0) else (2, 1)
    bias = [_aligned(s, outputs[0]) for s in inputs[2:]]
    return Labels((left, right, *bias), ((0, 1),))


def _reduction(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    rank = len(inputs[0])
    axes = at.axes(node)
    if not axes:
        return None
    gone = {int(a) % rank for a in axes}
    ordered = node.op in EXTREMES and at.fact(node.output).dtype in FLOATS
    before = tuple(None if ordered and a in gone else a for a in range(rank))
    if node.attrs.get("keepdims", 1):
        after: Row = tuple(None if a in gone else a for a in range(rank))
    else:
        after = tuple(a for a in range(rank) if a not in gone)
    return Labels((before, *map(_free, inputs[1:])), (after,))


def _transpose(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    rank = len(inputs[0])
    return Labels((tuple(range(rank)),), (order_of(node, rank),))


def _but(axes: Sequence[int], shape: Shape) -> Row:
    gone = {a % len(shape) for a in axes}
    return tuple(None if axis in gone else axis for axis in range(len(shape)))


def _concat(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    row = _but([int(node.attrs["axis"])], outputs[0])
    return Labels((row,) * len(inputs), (row,))


def _split(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    row = _but([int(node.attrs.get("axis", 0))], inputs[0])
    return Labels((row, *map(_free, inputs[1:])), (row,) * len(outputs))


def _slice(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    axes = at.integers(node.inputs[3]) if node.has_input(3) else None
    if axes is None:
        return None
    row = _but(axes, inputs[0])
    return Labels((row, *map(_free, inputs[1:])), (row,))


def _gather(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    data, indices = inputs
    along = int(node.attrs.get("axis", 0)) % len(data)
    row = _free(data) if at.is_weight(node.inputs[0]) else _but([along], data)  # a table stays as it is
    places = tuple(range(len(data), len(data) + len(indices)))
    return Labels((row, places), ((*row[:along], *places, *row[along + 1 :]),))


def _einsum(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    terms, arrow, result = str(node.attrs["equation"]).replace(" ", "").partition("->")
    rows = [[ord(letter) for letter in term] for term in (*terms.split(","), result)]
    plain = arrow and "." not in terms + result and all(len(set(row)) == len(row) for row in rows)
    if not plain or [len(row) for row in rows] != [len(s) for s in (*inputs, *outputs)]:
        return None
    sizes: dict[int, object] = {}
    for row, shape in zip(rows, (*inputs, *outputs), strict=True):
        if not all(same(sizes.setdefault(label, size), size) for label, size in zip(row, shape, strict=True)):
            return None
    return Labels(tuple(tuple(row) for row in rows[:-1]), (tuple(rows[-1]),))


TABLE: Mapping[str, Finder] = {
    **dict.fromkeys(UNARY, _leading),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Expand", "Tile"), _leading),
    **dict.fromkeys((*BROADCASTING, "LayerNormalization", "RMSNormalization"), _broadcasting),
    "BatchNormalization": _batch_normalization,
    "MatMul": _matmul,
    "Gemm": _gemm,
    **dict.fromkeys(REDUCTIONS, _reduction),
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Einsum": _einsum,
}
