"""Which entries of its inputs an operator needs for some entries of its output along an axis."""

from __future__ import annotations

from collections.abc import Callable

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.ir.orders import order_of
from mari_onnx.patterns._cuts import cuts_of
from mari_onnx.patterns._equations import agree, plain_terms
from mari_onnx.patterns._pieces import same_axis
from mari_onnx.rewrite.workspace import Workspace

Needed = dict[int, int]
"""For each input of which not all entries are needed, by its position, the axis that has the same entries."""


def needed(node: Node, axis: int, at: Workspace) -> Needed | None:
    """What an operator needs for some entries of its output; ``None`` where it may need all of everything.

    Args:
        node: The operator. Of several outputs, which have the same axes, one is read.
        axis: The axis of the output that the entries are picked from, counted from the front.
        at: The graph around it.
    """
    find = None if node.domain or node.captures else TABLE.get(node.op)
    return find(node, axis, at) if find is not None else None


def _aligned(node: Node, axis: int, at: Workspace) -> Needed | None:
    """Entry by entry: inputs that are repeated along the axis are needed as they are."""
    whole = at.fact(node.output).shape or ()
    found: Needed = {}
    for index, value in enumerate(node.inputs):
        shape = at.fact(value).shape if value else ()
        if shape is None:
            return None
        place = axis - len(whole) + len(shape)
        if place < 0 or same(shape[place], 1):
            continue
        if not same(shape[place], whole[axis]):
            return None  # An open size may be 1 when the model runs.
        found[index] = place
    return found


def _repeated(node: Node, axis: int, at: Workspace) -> Needed | None:
    """What is repeated along other axes only; entries of what is repeated along this one are as many copies of it."""
    before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
    if before is None or after is None:
        return None
    place = axis - len(after) + len(before)
    if place < 0 or same(before[place], 1):
        return {}
    return {0: place} if same(before[place], after[axis]) else None


def _along_others(node: Node, axis: int, at: Workspace) -> Needed | None:
    """Softmax and such, along an axis of their own."""
    rank = at.fact(node.output).rank or 0
    return {0: axis} if rank and int(node.attrs.get("axis", -1)) % rank != axis and at.opset >= 13 else None


def _normalised(node: Node, axis: int, at: Workspace) -> Needed | None:
    rank = at.fact(node.output).rank or 0
    if not rank or axis >= int(node.attrs.get("axis", -1)) % rank or len(node.outputs) != 1:
        return None
    ranks = [at.fact(v).rank for v in node.inputs[1:] if v]
    return {0: axis} if all(r is not None and r <= rank - axis - 1 for r in ranks) else None


def _sorted(node: Node, axis: int, at: Workspace) -> Needed | None:
    """The largest along another axis."""
    rank = at.fact(node.inputs[0]).rank or 0
    return {0: axis} if rank and int(node.attrs.get("axis", -1)) % rank != axis else None


def _cut(node: Node, axis: int, at: Workspace) -> Needed | None:
    """Cuts of the axes behind it; of two picks in a row the one of the first axis goes in front."""
    cuts = cuts_of(node, at.fact(node.output).rank or 1, at)
    return {0: axis} if cuts is not None and min(cuts, default=0) > axis else None


def _cut_apart(node: Node, axis: int, at: Workspace) -> Needed | None:
    """Pieces of another axis, of which one is read."""
    rank = at.fact(node.inputs[0]).rank
    return {0: axis} if rank and int(node.attrs.get("axis", 0)) % rank != axis else None


def _reduced(node: Node, axis: int, at: Workspace) -> Needed | None:
    rank, axes = at.fact(node.inputs[0]).rank, at.axes(node)
    if not rank or not axes:
        return None
    gone = {int(a) % rank for a in axes}
    kept = [k for k in range(rank) if k not in gone]
    place = axis if node.attrs.get("keepdims", 1) else kept[axis]
    return None if place in gone else {0: place}


def _product(node: Node, axis: int, at: Workspace) -> Needed | None:
    """Rows of a product, some of a batch of them, or columns of a constant matrix."""
    ranks = [at.fact(v).rank or 0 for v in node.inputs]
    rank = at.fact(node.output).rank or 0
    if min(ranks) < 2:
        return None
    if axis == rank - 1:
        return {1: ranks[1] - 1} if at.is_weight(node.inputs[1]) else None
    if axis == rank - 2:
        return {0: ranks[0] - 2}
    return _aligned(node, axis, at)


def _layer(node: Node, axis: int, at: Workspace) -> Needed | None:
    """Rows of the left operand or columns of the right one, which must be constant, and as much of the bias."""
    if axis == 1 and not at.is_weight(node.inputs[1]):
        return None
    found: Needed = {axis: 1 - axis if node.attrs.get(("transA", "transB")[axis], 0) else axis}
    bias = at.fact(node.inputs[2]).shape if node.has_input(2) else ()
    whole = at.fact(node.output).shape
    if bias is None or whole is None:
        return None
    place = axis - 2 + len(bias)
    if place >= 0 and not same(bias[place], 1):
        if not same(bias[place], whole[axis]):
            return None
        found[2] = place
    return found


def _turned(node: Node, axis: int, at: Workspace) -> Needed | None:
    rank = at.fact(node.output).rank or 0
    return {0: order_of(node, rank)[axis]}


def _laid_out(node: Node, axis: int, at: Workspace) -> Needed | None:
    """The axis of the same size behind as many entries."""
    before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
    if before is None or after is None:
        return None
    place = same_axis(axis, after, before)
    return None if place is None else {0: place}


def _joined(node: Node, axis: int, at: Workspace) -> Needed | None:
    rank = at.fact(node.output).rank or 0
    along = int(node.attrs["axis"]) % rank if rank else axis
    return None if along == axis else dict.fromkeys(range(len(node.inputs)), axis)


def _looked_up(node: Node, axis: int, at: Workspace) -> Needed | None:
    """Rows of a table by ids."""
    rank = at.fact(node.inputs[1]).rank
    return {1: axis} if rank and axis < rank and int(node.attrs.get("axis", 0)) == 0 else None


def _summed(node: Node, axis: int, at: Workspace) -> Needed | None:
    """A letter of an Einsum that its result has, wherever it stands."""
    equation = plain_terms(node)
    if equation is None or not agree(node.inputs, equation[0], at):
        return None
    terms, letter = equation[0], equation[1][axis]
    return {index: term.index(letter) for index, term in enumerate(terms) if letter in term}


TABLE: dict[str, Callable[[Node, int, Workspace], Needed | None]] = {
    **dict.fromkeys(UNARY, _aligned),
    **dict.fromkeys(set(BROADCASTING) - {"PRelu"}, _aligned),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _along_others),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _normalised),
    **dict.fromkeys(REDUCTIONS, _reduced),
    "MatMul": _product,
    "Gemm": _layer,
    "Transpose": _turned,
    "Expand": _repeated,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _laid_out),
    "Concat": _joined,
    "Gather": _looked_up,
    "Einsum": _summed,
    "TopK": _sorted,
    "Slice": _cut,
    "Split": _cut_apart,
}
