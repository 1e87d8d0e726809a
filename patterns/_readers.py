"""What operators make of what is known of their inputs, entry by entry.

Entries are computed, and numpy puts them where they belong; ``_labels`` tells where axes go without any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.ir.dims import regrouped, same
from mari_onnx.ir.orders import axis_of, order_of
from mari_onnx.patterns._cuts import cuts_of
from mari_onnx.patterns._entries import (
    FUNCTIONS,
    MAX_ENTRIES,
    MODERATE,
    NUMBER,
    PLAIN,
    UNKNOWN,
    WILD,
    Entries,
    anything,
    as_known,
    elementwise,
    mask_of,
    of_constant,
)
from mari_onnx.patterns._equations import spelled_terms
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.rewrite.workspace import Workspace

Reader = Callable[[Node, Sequence[Entries], Workspace], "Entries | None"]


def _rank(node: Node, at: Workspace) -> int:
    rank = at.fact(node.output).rank
    assert rank is not None
    return rank


def _elementwise(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    return elementwise(node.op, at.fact(node.output).dtype, _rank(node, at), inputs)


def _layer(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """Plain, unless something that masks goes into it, be it only to be repeated by a product with ones."""
    if any(x.wild.any() for x in inputs):
        return anything(_rank(node, at), WILD)
    plain = not _lays_out(node, at) or all(x.quiet.all() for x in inputs)
    return anything(_rank(node, at), PLAIN) if plain else None


def _lays_out(node: Node, at: Workspace) -> bool:
    """Whether a product sums nothing, and has ones beside one operand: an input that is a mask stays one."""
    return _sums_nothing(node, at) and sum(not _is_ones(v, at) for v in node.inputs if v) <= 1


def _sums_nothing(node: Node, at: Workspace) -> bool:
    """Whether a product has one summand for each entry, as far as can be told."""
    if node.op == "Einsum":
        found = spelled_terms(node, at)
        return found is None or {letter for term in found[0] for letter in term} <= {*found[1]}
    shape = at.fact(node.inputs[0]).shape
    return (
        node.op in ("MatMul", "Gemm") and bool(shape) and same((shape or ())[0 if node.attrs.get("transA") else -1], 1)
    )


def _is_ones(value: str, at: Workspace) -> bool:
    array = at.constant(value) if at.is_weight(value) else None
    return array is not None and bool((array == 1).all())


def _smooth(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """An activation that grows no faster than what goes in."""
    return anything(_rank(node, at), PLAIN) if inputs[0].quiet.all() else _unknown(node, inputs, at)


def _unknown(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """Nothing is known, but whether what masks something may have gone into it."""
    return anything(_rank(node, at), WILD) if inputs[0].wild.any() else None


def _clip(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """Plain entries and moderate numbers stay what they are between constant bounds."""
    given = [at.constant(v) if v else None for v in node.inputs[1:]]
    if any(v and (bound is None or bound.size != 1) for v, bound in zip(node.inputs[1:], given, strict=True)):
        return _unknown(node, inputs, at)
    bounds = [float(b.item()) if b is not None else None for b in (*given, None, None)[:2]]
    low, high = (node.attrs.get(name, b) for name, b in zip(("min", "max"), bounds, strict=True))
    data = inputs[0]
    number = np.clip(data.number, -np.inf if low is None else low, np.inf if high is None else high)
    return Entries(np.where(data.quiet, data.state, np.where(data.wild, WILD, UNKNOWN)).astype(np.int8), number)


def _power(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """A small whole power of plain entries and moderate numbers."""
    exponent, data = at.constant(node.inputs[1]), inputs[0].to_rank(_rank(node, at))
    if exponent is None or exponent.size != 1 or float(exponent.flat[0]) not in (1.0, 2.0, 3.0, 4.0):
        return _unknown(node, inputs, at)
    state = np.where(data.quiet, data.state, np.where(data.wild, WILD, UNKNOWN))
    return Entries(state.astype(np.int8), data.number ** float(exponent.flat[0]))


def _truth(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """A comparison: true or false, whatever it compares."""
    found = _elementwise(node, inputs, at)
    if found is None or any(_may_be_undefined(v, at) for v in node.inputs):
        return anything(_rank(node, at), PLAIN)
    return Entries(np.where(found.state == NUMBER, NUMBER, PLAIN).astype(np.int8), found.number)


def _may_be_undefined(value: str, at: Workspace) -> bool:
    """Whether a number may in truth be no number, as what is masked is where a Softmax finds minus infinity alone."""
    waiting, seen = [value], {value}
    while waiting:
        node = at.graph.producer(waiting.pop())
        if node is None or node.op not in READERS or node.op in PLAIN_ONLY:
            continue
        if node.op == "Softmax":
            return True
        fresh = [v for v in node.inputs if v and v not in seen and at.fact(v).dtype in FLOATS]
        seen.update(fresh)
        waiting += fresh
    return False


def _cast(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    x, to = inputs[0], onnx.helper.tensor_dtype_to_np_dtype(int(node.attrs["to"]))
    kind = as_known(to)
    if kind is None or (kind.kind == "i" and x.number.dtype.kind != "b"):
        return None  # fractions, and numbers that do not fit
    if kind.kind == "b" and _may_be_undefined(node.inputs[0], at):
        return anything(_rank(node, at), PLAIN)
    state = x.state if kind.kind == "f" else np.where(x.state == NUMBER, NUMBER, UNKNOWN)
    if kind.kind == "f" and at.fact(node.inputs[0]).dtype == onnx.TensorProto.BOOL:
        state = np.where(x.state == UNKNOWN, PLAIN, x.state)  # 0 or 1
    return Entries(state.astype(np.int8), x.number.astype(to).astype(kind))


def _lookup(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """Rows of a table of moderate numbers."""
    return anything(_rank(node, at), PLAIN) if inputs[0].quiet.all() else _unknown(node, inputs, at)


def _transpose(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    order = order_of(node, _rank(node, at))
    return inputs[0].map(lambda x: x.transpose(order))


def _view(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """Axes along which nothing differs stay so; the others must have known sizes."""
    before, after, x = at.fact(node.inputs[0]).shape or (), at.fact(node.output).shape or (), inputs[0]
    if x.state.size == 1:
        return x.map(lambda a: a.reshape((1,) * len(after)))
    wide: list[int] = []
    sizes: list[int] = []
    for old, new in regrouped(before, after):
        if all(x.state.shape[axis] == 1 for axis in old):
            wide += [1] * len(old)
            sizes += [1] * len(new)
        elif all(isinstance(d, int) for d in (*(before[a] for a in old), *(after[a] for a in new))):
            wide += [before[axis] for axis in old]
            sizes += [after[axis] for axis in new]
        else:
            return None
    if math.prod(wide) > MAX_ENTRIES:
        return None
    return x.map(lambda a: np.broadcast_to(a, wide).reshape(sizes))


def _expand(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    return inputs[0].to_rank(_rank(node, at))


def _tiled(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """An axis along which nothing differs may be repeated any number of times, another one a known number."""
    before, after, x = at.fact(node.inputs[0]).shape or (), at.fact(node.output).shape or (), inputs[0]
    for axis, (old, new) in enumerate(zip(before, after, strict=True)):
        if x.state.shape[axis] == 1 or same(old, new):
            continue
        if x.is_even(axis):
            x = x.map(partial(np.take, indices=[0], axis=axis))
        elif not isinstance(old, int) or not isinstance(new, int) or x.state.size * (new // old) > MAX_ENTRIES:
            return None
        else:
            counts = [new // old if a == axis else 1 for a in range(x.state.ndim)]
            x = x.map(partial(np.tile, reps=counts))
    return x


def _filled(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    given = node.attrs.get("value")
    filling = of_constant(np.zeros(1, np.float32) if given is None else onnx.numpy_helper.to_array(given))
    shape = at.fact(node.output).shape or ()
    if filling is None or any(not isinstance(d, int) for d in shape) or not 0 < math.prod(shape) <= MAX_ENTRIES:
        return None
    return filling.map(lambda x: np.broadcast_to(x.reshape(()), shape))


def _padded(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """What is put around is a number."""
    rank, x = _rank(node, at), inputs[0]
    pads = at.integers(node.inputs[1]) if len(node.inputs) > 1 else node.attrs.get("pads")
    axes = at.integers(node.inputs[3]) if node.has_input(3) else tuple(range(rank))
    filling = at.constant(node.inputs[2]) if node.has_input(2) else np.array(node.attrs.get("value", 0.0))
    if pads is None or axes is None or filling is None or node.attrs.get("mode", "constant") != "constant":
        return None
    widths = [(0, 0)] * rank
    for axis, before, after in zip(axes, pads, pads[len(axes) :], strict=False):
        widths[axis % rank] = (int(before), int(after))
    before = at.fact(node.inputs[0]).shape or ()
    if any(b < 0 or a < 0 or (b + a and not isinstance(d, int)) for (b, a), d in zip(widths, before, strict=True)):
        return None
    wide = [d if any(w) else size for w, d, size in zip(widths, before, x.state.shape, strict=True)]
    if math.prod(size + sum(w) for size, w in zip(wide, widths, strict=True)) > MAX_ENTRIES:
        return None
    state = np.pad(np.broadcast_to(x.state, wide), widths, constant_values=NUMBER)
    return Entries(state, np.pad(np.broadcast_to(x.number, wide), widths, constant_values=filling.item()))


def _triangle(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """Needs all entries of the matrix apart; the number 0 outside the triangle."""
    offset, shape, x = at.integers(node.inputs[1]) if node.has_input(1) else (0,), at.fact(node.output).shape, inputs[0]
    if offset is None or len(offset) != 1 or shape is None or not all(isinstance(d, int) for d in shape[-2:]):
        return None
    if shape[-2] * shape[-1] * math.prod(x.state.shape[:-2]) > MAX_ENTRIES:
        return None
    rows, columns = np.arange(shape[-2])[:, None] + offset[0], np.arange(shape[-1])
    kept = rows <= columns if node.attrs.get("upper", 1) else rows >= columns
    return Entries(np.where(kept, x.state, np.int8(NUMBER)), np.where(kept, x.number, np.zeros((), x.number.dtype)))


def _concat(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    axis = int(node.attrs["axis"]) % _rank(node, at)
    sizes = [(at.fact(v).shape or ())[axis] for v in node.inputs if v]
    if any(not isinstance(size, int) for size in sizes):
        return None
    wide = reduce(np.broadcast_shapes, ((*x.state.shape[:axis], 1, *x.state.shape[axis + 1 :]) for x in inputs))
    if math.prod(wide) * sum(sizes) > MAX_ENTRIES:
        return None
    shapes = [(*wide[:axis], size, *wide[axis + 1 :]) for size in sizes]

    def together(arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([np.broadcast_to(a, s) for a, s in zip(arrays, shapes, strict=True)], axis)

    return Entries(together([x.state for x in inputs]), together([x.number for x in inputs]))


def _slice(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    rank, x = _rank(node, at), inputs[0]
    cuts = cuts_of(node, rank, at)
    if cuts is None or any(cut.step != 1 for cut in cuts.values()):
        return None
    kept = [slice(None)] * rank
    for axis, cut in cuts.items():
        if x.state.shape[axis] > 1:
            kept[axis] = slice(cut.start, cut.end)
    return x.map(lambda a: a[tuple(kept)])


def _softmax(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """What is masked is 0, next to an entry that certainly is not masked.

    Next to minus infinity any number will do, and where there is none all of the row is undefined before and after.
    """
    rank, x = _rank(node, at), inputs[0]
    if axis_of(node, rank, at.opset) != rank - 1:
        return None
    numbers = x.state == NUMBER
    absent = numbers & (x.number == -np.inf)
    masked, present = x.masked(mask_of(at.fact(node.output).dtype)), x.quiet
    zero = absent & ~absent.all(-1, keepdims=True) | masked & present.any(-1, keepdims=True)
    defined = present.any(-1, keepdims=True) & (x.state > WILD).all(-1, keepdims=True)
    return Entries(np.where(zero, NUMBER, np.where(defined, PLAIN, UNKNOWN)).astype(np.int8), np.zeros(zero.shape))


def _exponential(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """What is masked is 0, as that of -10000 is in all types."""
    zero = inputs[0].masked(-MODERATE)
    return Entries(np.where(zero, NUMBER, UNKNOWN).astype(np.int8), np.zeros(zero.shape))


def _largest(node: Node, inputs: Sequence[Entries], at: Workspace) -> Entries | None:
    """Plain in rows that have something plain, and nothing that may be larger than that is."""
    axes, rank, x = at.axes(node), inputs[0].state.ndim, inputs[0]
    if not axes or [int(a) % rank for a in axes] != [rank - 1] or not node.attrs.get("keepdims", 1):
        return None
    high = (x.state <= WILD) | (x.state == NUMBER) & ~(x.number <= MODERATE)
    plain = x.quiet.any(-1, keepdims=True) & ~high.any(-1, keepdims=True)
    return Entries(np.where(plain, PLAIN, UNKNOWN).astype(np.int8), np.zeros(plain.shape))


LAYERS = ("MatMul", "Gemm", "Einsum", "LayerNormalization", "BatchNormalization")
ACTIVATIONS = ("Gelu", "LeakyRelu", "Elu", "Selu", "Celu", "Softplus", "Mish", "HardSwish")
PLAIN_ONLY = frozenset({*LAYERS, *ACTIVATIONS, "Gather"})
"""Operators behind which no number is known."""

READERS: Mapping[str, Reader] = {
    **dict.fromkeys(FUNCTIONS, _elementwise),
    **dict.fromkeys(("Not", "And", "Or", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "IsNaN"), _truth),
    **dict.fromkeys(ACTIVATIONS, _smooth),
    **dict.fromkeys(LAYERS, _layer),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _view),
    "Clip": _clip,
    "Pow": _power,
    "Cast": _cast,
    "Gather": _lookup,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tiled,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Pad": _padded,
    "Trilu": _triangle,
    "Slice": _slice,
    "Softmax": _softmax,
    "Exp": _exponential,
    "ReduceMax": _largest,
}
"""Operators that are looked through; what any other one makes is unknown."""
