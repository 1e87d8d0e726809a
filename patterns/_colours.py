"""Which entries of a value need no item: what is known of whole values, followed entry by entry.

It says where to cut. Whether a piece really is computed once shows when it is built. Masks are computed, and numpy puts
their entries where they belong; ``_labels`` tells where axes go without any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.products import einsum_terms
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir import Node
from mari_onnx.ir.orders import axis_of, order_of
from mari_onnx.patterns._entries import MAX_ENTRIES
from mari_onnx.patterns._upstream import Upstream
from mari_onnx.rewrite.memory import kept
from mari_onnx.rewrite.workspace import Workspace

Mask = np.ndarray
"""A truth value for each entry of one candidate's slice; axes along which nothing differs have one entry."""


class Colours(Upstream[Mask]):
    """The entries of values that need no item: a mask of the rank of the value."""

    def looks_through(self, value: str) -> Node | None:
        at, node = self._at, self._at.graph.producer(value)
        if at.is_once(value) or node is None or node.domain or node.op not in READERS or self.sizes(value) is None:
            return None
        return None if any(v and at.fact(v).rank is None for v in node.inputs) else node

    def at_first_sight(self, value: str) -> Mask:
        once = self._at.is_once(value)
        return np.ones((1,) * self._rank(value), np.bool_) if once else self.nothing(value)

    def through(self, node: Node, inputs: Sequence[Mask], value: str) -> Mask:
        found = READERS[node.op](node, inputs, value, self)
        wrong = found is None or found.ndim != self._rank(value) or math.prod(found.shape) > MAX_ENTRIES
        return self.nothing(value) if found is None or wrong else found

    def nothing(self, value: str) -> Mask:
        return np.zeros((1,) * self._rank(value), np.bool_)

    def is_same(self, one: Mask, other: Mask) -> bool:
        return np.array_equal(one, other)

    def size(self, found: Mask) -> int:
        return found.size

    def _rank(self, value: str) -> int:
        return self._at.fact(value).rank or 0

    def sizes(self, value: str) -> tuple[int, ...] | None:
        """The sizes of one candidate's slice, 1 for those that are not known."""
        shape = self._at.fact(value).single_shape
        return None if shape is None else tuple(d if isinstance(d, int) else 1 for d in shape)

    def is_sized(self, value: str, axis: int) -> bool:
        """Whether the size of an axis is a known number for one candidate."""
        shape = self._at.fact(value).single_shape
        return shape is not None and isinstance(shape[axis], int)

    def integers(self, value: str) -> np.ndarray | None:
        """A list of indices, as a constant or as known from sizes."""
        known, shape = self._at.integers(value), self._at.fact(value).shape
        if known is not None and shape is not None and all(isinstance(d, int) for d in shape):
            return np.array(known, np.int64).reshape(shape)
        array = self._at.constant(value)
        return array if array is not None and array.dtype.kind == "i" else None

    def is_candidates(self, value: str, axis: int) -> bool:
        """Whether an axis is that of the candidates."""
        own = self._at.fact(value).axis
        return own is not None and own.index == axis

    @property
    def opset(self) -> int:
        return self._at.opset


@kept
def without_item(value: str, at: Workspace) -> Mask:
    """The entries of a value that need no item; asked for by every layer that reads it."""
    return Colours(at).of(value)


Reader = Callable[[Node, Sequence[Mask], str, Colours], "Mask | None"]


def _elementwise(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    return np.asarray(reduce(np.logical_and, inputs))


def _concat(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    axis = int(node.attrs["axis"]) % inputs[0].ndim
    if not all(colours.is_sized(v, axis) for v in node.inputs):
        return None
    sizes = [(colours.sizes(v) or ())[axis] for v in node.inputs]
    wide = reduce(np.broadcast_shapes, ((*x.shape[:axis], 1, *x.shape[axis + 1 :]) for x in inputs))
    if colours.is_candidates(value, axis) or math.prod(wide) * sum(sizes) > MAX_ENTRIES:
        return None
    shapes = [(*wide[:axis], size, *wide[axis + 1 :]) for size in sizes]
    return np.concatenate([np.broadcast_to(x, s) for x, s in zip(inputs, shapes, strict=True)], axis)


def _gather(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    axis, indices = int(node.attrs.get("axis", 0)) % inputs[0].ndim, colours.integers(node.inputs[1])
    if indices is None or colours.is_candidates(node.inputs[0], axis):
        return None
    if inputs[0].shape[axis] == 1:
        indices = np.zeros_like(indices)
    return inputs[0].take(indices, axis)


def _slice(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    given = [colours.integers(v) if v else None for v in node.inputs[1:]]
    if len(given) < 2 or any(v and g is None for v, g in zip(node.inputs[1:], given, strict=True)):
        return None
    rank = inputs[0].ndim
    starts, ends = given[0], given[1]
    axes = given[2] if len(given) > 2 and given[2] is not None else np.arange(rank)
    steps = given[3] if len(given) > 3 and given[3] is not None else np.ones(rank, np.int64)
    if starts is None or ends is None or any(step < 1 for step in steps):
        return None
    cuts = [slice(None)] * rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=False):
        if inputs[0].shape[axis] > 1:
            cuts[axis] = slice(int(start), int(end), int(step))
    return inputs[0][tuple(cuts)]


def _split(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    axis = int(node.attrs.get("axis", 0)) % inputs[0].ndim
    if inputs[0].shape[axis] == 1:
        return inputs[0]
    sizes = [(colours.sizes(v) or (0,) * (axis + 1))[axis] for v in node.outputs if v]
    if len(sizes) != len(node.outputs):
        return None
    start = sum(sizes[: node.outputs.index(value)])
    return inputs[0].take(range(start, start + sizes[node.outputs.index(value)]), axis)


def _view(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    before, after = colours.sizes(node.inputs[0]), colours.sizes(value)
    if before is None or after is None:
        return None
    if inputs[0].size == 1:
        return inputs[0].reshape((1,) * len(after))
    if math.prod(before) != math.prod(after) or math.prod(before) > MAX_ENTRIES:
        return None
    return np.broadcast_to(inputs[0], before).reshape(after)


def _transpose(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    return inputs[0].transpose(order_of(node, inputs[0].ndim))


def _reduction(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    given = colours.integers(node.inputs[1]) if node.has_input(1) else node.attrs.get("axes")
    if given is None or len(given) == 0:
        return None
    axes = tuple(int(a) % inputs[0].ndim for a in given)
    return np.asarray(inputs[0].all(axis=axes, keepdims=bool(node.attrs.get("keepdims", 1))))


def _along_last(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    if axis_of(node, inputs[0].ndim, colours.opset) != inputs[0].ndim - 1:
        return None
    return np.asarray(inputs[0].all(axis=-1, keepdims=True))


def _product(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    left, right = inputs
    if min(left.ndim, right.ndim) < 2:
        return None
    return np.asarray(left.all(axis=-1, keepdims=True) & right.all(axis=-2, keepdims=True))


def _linear(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    return np.full((1, 1), all(x.all() for x in inputs))


def _einsum(node: Node, inputs: Sequence[Mask], value: str, colours: Colours) -> Mask | None:
    found = einsum_terms(str(node.attrs.get("equation", "")), [x.ndim for x in inputs])
    if found is None or any(len(set(term)) != len(term) for term in (*found[0], found[1])):
        return None
    terms, result = found
    total = np.ones((1,) * len(result), np.bool_)
    for term, x in zip(terms, inputs, strict=True):
        kept = np.asarray(x.all(axis=tuple(i for i, letter in enumerate(term) if letter not in result)))
        letters = [letter for letter in term if letter in result]
        order = sorted(letters, key=result.index)
        turned = kept.transpose([letters.index(letter) for letter in order])
        sizes = dict(zip(order, turned.shape, strict=True))
        total = total & turned.reshape([sizes.get(letter, 1) for letter in result])
    return total


READERS: Mapping[str, Reader] = {
    **dict.fromkeys((*UNARY, *BROADCASTING), _elementwise),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(("Softmax", "LayerNormalization"), _along_last),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _view),
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
    "MatMul": _product,
    "Gemm": _linear,
    "Einsum": _einsum,
}
"""Operators that are looked through; what any other one makes needs all of its inputs."""
