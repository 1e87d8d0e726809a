"""Where the entries of some tokens have an effect: what a change of them would change, node by node.

A value differs *along* its tokens where no entry of any other token can: layers work on each token by itself. What
differs is finite in both cases, or it would not vanish where it is multiplied with 0: nothing is divided by it, nor is
its logarithm taken, unless it is known to be above 0. A token of padding may be all zeros.

Tokens have numbers, and may lie in memory without an axis of their own; ``_labels`` tells of whole axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import add

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.ir.orders import axis_of, order_of
from mari_onnx.patterns._along import EVERYWHERE, Differences, Places, along
from mari_onnx.patterns._cuts import cuts_of
from mari_onnx.patterns._positive import is_not_below_zero, is_positive, is_whole_power
from mari_onnx.patterns.views import VIEWS

UNBOUNDED = frozenset("Acos Acosh Asin Atanh Log Pow Reciprocal Tan ReduceLogSum".split())
"""Operators that make something infinite, or no number, of some finite numbers."""


def spread(node: Node, given: Differences) -> list[Places | None]:
    """How the outputs of a node differ, each in the ways in which what it reads does, or everywhere."""
    if not given.reaches(node) or (node.op in ("Shape", "Size") and not node.domain):
        return [Places()] * len(node.outputs)
    follow = TABLE.get(node.op) if not node.domain and not node.captures else None
    if follow is None:
        return [EVERYWHERE] * len(node.outputs)
    return [follow(node, v, given) if v else Places() for v in node.outputs]


def _elementwise(node: Node, output: str, given: Differences) -> Places | None:
    if not _is_finite(node, given):
        return EVERYWHERE
    return _broadcast([v for v in node.inputs if v], output, given)


def _is_finite(node: Node, given: Differences) -> bool:
    """Whether finite numbers that differ make finite ones, unless they are too large."""
    if node.op in ("Div", "Mod"):
        return not given.places(node.inputs[1]) or is_positive(node.inputs[1], given.at)
    if node.op == "Pow" and is_whole_power(node, given.at):
        return True
    if node.op == "Sqrt":
        return is_not_below_zero(node.inputs[0], given.at)
    return node.op not in UNBOUNDED or is_positive(node.inputs[0], given.at)


def _broadcast(values: list[str], output: str, given: Differences) -> Places | None:
    after, found = given.shape(output), Places()
    for value in values:
        before = given.shape(value)
        if before is None or after is None:
            return EVERYWHERE
        # Where nothing is repeated, all stays in its place in memory, whether tokens have an axis or not.
        shift = partial(add, len(after) - len(before))
        more = given.places(value) if alike(before, after) else given.moved(value, output, shift)
        if more is None:
            return EVERYWHERE
        found |= more
    return found


def _view(node: Node, _output: str, given: Differences) -> Places | None:
    return given.places(node.inputs[0]) if given.only_first(node) else EVERYWHERE


def _expand(node: Node, output: str, given: Differences) -> Places | None:
    return _broadcast([node.inputs[0]], output, given) if given.only_first(node) else EVERYWHERE


def _transpose(node: Node, output: str, given: Differences) -> Places | None:
    order = order_of(node, len(given.shape(output) or ()))
    return given.moved(node.inputs[0], output, order.index)


def _product(node: Node, output: str, given: Differences) -> Places | None:
    """Rows of the left operand, columns of the right one, and what lies in front of both."""
    left, right = (given.shape(v) for v in node.inputs[:2])
    after = given.shape(output)
    if left is None or right is None or after is None or min(len(left), len(right)) < 2:
        return EVERYWHERE
    if any(given.places(v) for v in node.inputs[2:]) or node.attrs.get("transA", 0):
        return EVERYWHERE
    if not given.places(node.inputs[1]) and len(right) == 2:
        return given.rows(node.inputs[0], left[-1], after[-1])
    if node.op == "Gemm":
        return EVERYWHERE
    found = Places()
    for value, shape, summed in ((node.inputs[0], left, -1), (node.inputs[1], right, -2)):
        more = given.moved(value, output, partial(_but, len(shape) + summed, len(after) - len(shape)))
        if more is None:
            return EVERYWHERE
        found |= more
    return found


def _but(gone: int, shift: int, axis: int) -> int | None:
    """Where an axis goes, unless it is the one that is summed over."""
    return None if axis == gone else axis + shift


def _normalised(node: Node, output: str, given: Differences) -> Places | None:
    """What looks at the last axis alone."""
    shape = given.shape(output)
    if not shape or axis_of(node, len(shape), given.at.opset) != len(shape) - 1:
        return EVERYWHERE
    if not given.only_first(node) or output != node.output:
        return EVERYWHERE
    return given.rows(node.inputs[0], shape[-1], shape[-1])


def _reduced(node: Node, output: str, given: Differences) -> Places | None:
    axes, before = given.at.axes(node), given.shape(node.inputs[0])
    if not axes or before is None or not given.only_first(node) or not _is_finite(node, given):
        return EVERYWHERE
    gone = {int(a) % len(before) for a in axes}
    dropped = set() if node.attrs.get("keepdims", 1) else gone
    return given.moved(node.inputs[0], output, lambda a: None if a in gone else a - sum(d < a for d in dropped))


def _joined(node: Node, output: str, given: Differences) -> Places | None:
    """Tokens on the axis that is joined keep their numbers; entries of others there count as theirs."""
    after = given.shape(output)
    if after is None:
        return EVERYWHERE
    axis, start, found = int(node.attrs["axis"]) % len(after), 0, Places()
    for value in node.inputs:
        before = given.shape(value)
        if before is None:
            return EVERYWHERE
        for place in given.places(value):
            own = place.axis(before)
            if own is None or not isinstance(start, int) or not isinstance(after[own], int):
                return EVERYWHERE
            found |= {along(own, after, place.first - start if own == axis else place.first)}
        start = start + before[axis]
    return found


def _sliced(node: Node, output: str, given: Differences) -> Places | None:
    before = given.shape(node.inputs[0])
    cuts = cuts_of(node, len(before), given.at) if before is not None and given.only_first(node) else None
    if before is None or cuts is None:
        return EVERYWHERE
    starts: dict[int, int | None] = {}
    for axis, cut in cuts.items():
        known = isinstance(before[axis], int) and cut.step == 1
        starts[axis] = slice(cut.start, cut.end).indices(before[axis])[0] if known else None
    return given.cut(node.inputs[0], output, starts)


def _split(node: Node, output: str, given: Differences) -> Places | None:
    before = given.shape(node.inputs[0])
    if before is None or not given.only_first(node):
        return EVERYWHERE
    axis = int(node.attrs.get("axis", 0)) % len(before)
    shapes = [given.shape(v) for v in node.outputs[: node.outputs.index(output)]]
    sizes = [shape[axis] if shape else None for shape in shapes]
    start = sum(size for size in sizes if isinstance(size, int))
    return given.cut(node.inputs[0], output, {axis: start if all(isinstance(s, int) for s in sizes) else None})


def _looked_up(node: Node, output: str, given: Differences) -> Places | None:
    """Entries with constant numbers, which must be neighbours where they are those of tokens."""
    before, indices = (given.shape(v) for v in node.inputs)
    if before is None or indices is None or not given.only_first(node):
        return EVERYWHERE
    axis, numbers = int(node.attrs.get("axis", 0)) % len(before), given.at.integers(node.inputs[1])
    kept = given.places(node.inputs[0])
    if numbers and isinstance(before[axis], int):
        chosen = [n % before[axis] for n in numbers]
        there = [place for place in kept if place.axis(before) == axis]
        if there and len(indices) == 1 and chosen == list(range(chosen[0], chosen[0] + len(chosen))):
            return given.cut(node.inputs[0], output, {axis: chosen[0]})
        kept -= {p for p in there if not any(given.matters(p.first + n, p.first + n + 1) for n in chosen)}
    shift = len(indices) - 1
    return given.moved(node.inputs[0], output, lambda a: None if a == axis else a + (shift if a > axis else 0), kept)


Follow = Callable[[Node, str, Differences], "Places | None"]

TABLE: Mapping[str, Follow] = {
    **dict.fromkeys((*UNARY, *BROADCASTING, "Dropout"), _elementwise),
    **dict.fromkeys(VIEWS, _view),
    **dict.fromkeys(("MatMul", "Gemm"), _product),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "Softmax", "LogSoftmax"), _normalised),
    **dict.fromkeys(REDUCTIONS, _reduced),
    "Expand": _expand,
    "Transpose": _transpose,
    "Concat": _joined,
    "Slice": _sliced,
    "Split": _split,
    "Gather": _looked_up,
}
"""Operators that are followed; behind any other one all may differ."""
