"""What is told of operators, once for all that asks: which of their axes go together, and along which they mix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, regrouped, same
from mari_onnx.ir.orders import SOFTMAX, axis_of, order_of
from mari_onnx.patterns._axes import Label, Labels, Row
from mari_onnx.patterns._cuts import open_cuts_of
from mari_onnx.patterns._equations import spelled_terms
from mari_onnx.patterns._floats import EXTREMES, FLOATS
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

FINDING = ("ArgMax", "ArgMin")


def labels_of(node: Node, at: Workspace) -> Labels | None:
    """The labels of a node, ``None`` where its operator is not in the table."""
    find = TABLE.get(node.op)
    if find is None or node.domain or node.captures or (len(node.outputs) > 1 and node.op not in ("Split", "TopK")):
        return None
    shapes = [at.fact(v).shape if v else () for v in (*node.inputs, *node.outputs)]
    known = [s for s in shapes if s is not None]
    if len(known) < len(shapes):
        return None
    found = find(node, known[: len(node.inputs)], known[len(node.inputs) :], at)
    return None if found is None else _clear(found)


Finder = Callable[[Node, Sequence[Shape], Sequence[Shape], Workspace], Labels | None]


def _aligned(shape: Shape, after: Shape) -> Row:
    """Axes of a broadcast operand, by the axes of the result."""
    shift = len(after) - len(shape)
    return tuple(_label(axis, size, after[axis]) for axis, size in enumerate(shape, shift))


def _label(own: int, size: Dim, whole: Dim) -> Label:
    """Its own, unless it is repeated along it; ``~own`` if that is not clear, as an open size may be 1."""
    return own if same(size, whole) else None if same(size, 1) else ~own


def _clear(found: Labels) -> Labels:
    """Labels without those of which it is not clear which axes have them."""
    unclear = {~label for row in found.inputs for label in row if label is not None and label < 0}

    def clear(rows: Sequence[Row]) -> tuple[Row, ...]:
        return tuple(tuple(None if (label or 0) < 0 or label in unclear else label for label in row) for row in rows)

    return replace(found, inputs=clear(found.inputs), outputs=clear(found.outputs)) if unclear else found


def _free(shape: Shape) -> Row:
    return (None,) * len(shape)


def _leading(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    """The first input goes entry by entry into the first output; the others are read whole."""
    rows = [_aligned(inputs[0], outputs[0]), *map(_free, inputs[1:])]
    return Labels(tuple(rows), (tuple(range(len(outputs[0]))), *map(_free, outputs[1:])))


def _broadcasting(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels:
    after = outputs[0]
    return Labels(tuple(_aligned(s, after) for s in inputs), (tuple(range(len(after))),))


def _normalised(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    """Entries of rows are divided by what is found of them all; parameters are those of entries."""
    rank = len(outputs[0])
    if not rank:
        return None
    first = axis_of(node, rank, at.opset)
    along = range(first, first + 1 if node.op in SOFTMAX and at.opset >= 13 else rank)
    if node.op == "Hardmax":
        # Of equal entries it takes the first.
        row = _but(along, inputs[0])
        return Labels((row,), (row,))
    return replace(_broadcasting(node, inputs, outputs, at), mixed=frozenset(along))


def _batch_normalization(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    if len(inputs[0]) < 2:
        return None
    whole = tuple(range(len(outputs[0])))
    return Labels((whole, *((1,),) * 4), (whole,), frozenset(whole) - {1})


def _matmul(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    (left, right), batch, rank = inputs, outputs[0][:-2], len(outputs[0])
    if len(left) < 2 or len(right) < 2:
        return None
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
    axes = (int(node.attrs.get("axis", 0)),) if node.op in FINDING else at.axes(node)
    if not axes:
        return None
    gone = {int(a) % rank for a in axes}
    ordered = node.op in FINDING or (node.op in EXTREMES and at.fact(node.output).dtype in FLOATS)
    before = tuple(None if ordered and a in gone else a for a in range(rank))
    kept = node.attrs.get("keepdims", 1)
    after = tuple(None if a in gone else a for a in range(rank) if kept or a not in gone)
    return Labels((before, *map(_free, inputs[1:])), (after,))


def _transpose(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    rank = len(inputs[0])
    return Labels((tuple(range(rank)),), (order_of(node, rank),))


def _view(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    """Axes that are the same, not those that are joined, or cut, or of size 1."""
    before, after = inputs[0], outputs[0]
    row: list[Label] = [None] * len(before)
    for group in regrouped(before, after):
        old, new = ([a for a in axes if not same(s[a], 1)] for axes, s in zip(group, (before, after), strict=True))
        if len(old) == 1 == len(new) and same(before[old[0]], after[new[0]]):
            row[old[0]] = new[0]
    return Labels((tuple(row), *map(_free, inputs[1:])), (tuple(a if a in row else None for a in range(len(after))),))


def _but(axes: Iterable[int], shape: Shape) -> Row:
    gone = {a % len(shape) for a in axes}
    return tuple(None if axis in gone else axis for axis in range(len(shape)))


def _beside(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    """What joins, takes apart or sorts along an axis; of equal entries TopK takes the first."""
    row = _but([int(node.attrs.get("axis", -1 if node.op == "TopK" else 0))], inputs[0])
    others = [row if node.op == "Concat" else _free(s) for s in inputs[1:]]
    return Labels((row, *others), (row,) * len(outputs))


def _slice(node: Node, inputs: Sequence[Shape], outputs: Sequence[Shape], at: Workspace) -> Labels | None:
    axes, cuts = at.integers(node.inputs[3]) if node.has_input(3) else None, open_cuts_of(node, len(inputs[0]), at)
    if cuts is not None:
        # TensorFlow names all axes up to the last one that it means.
        axes = tuple(a for a, cut in cuts.items() if not (same(cut.step, 1) and same(inputs[0][a], outputs[0][a])))
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
    equation = spelled_terms(node, at)
    if equation is None or any(len(set(term)) < len(term) for term in (*equation[0], equation[1])):
        return None
    terms, shapes = (*equation[0], equation[1]), (*inputs, *outputs)
    spelled = [list(zip(term, shape, strict=True)) for term, shape in zip(terms, shapes, strict=True)]
    sizes = {letter: d for row in spelled for letter, d in row if not same(d, 1)}
    *rows, result = (tuple(_label(ord(c), d, sizes.get(c, 1)) for c, d in row) for row in spelled)
    return Labels(tuple(rows), (result,))


TABLE: Mapping[str, Finder] = {
    **dict.fromkeys(UNARY, _leading),
    **dict.fromkeys(("Expand", "Tile"), _leading),
    **dict.fromkeys(BROADCASTING, _broadcasting),
    **dict.fromkeys((*SOFTMAX, "LayerNormalization", "RMSNormalization"), _normalised),
    "BatchNormalization": _batch_normalization,
    "MatMul": _matmul,
    "Gemm": _gemm,
    **dict.fromkeys((*REDUCTIONS, *FINDING), _reduction),
    "Transpose": _transpose,
    **dict.fromkeys(VIEWS, _view),
    **dict.fromkeys(("Concat", "Split", "TopK"), _beside),
    "Slice": _slice,
    "Gather": _gather,
    "Einsum": _einsum,
}
