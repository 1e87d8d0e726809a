"""Symbolic evaluation of small integer values: the ladders of Shape, Gather, Mul, Concat that exporters write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import sympy
from onnx import TensorProto

from mari_onnx.analysis.facts import CandidateAxis, Content, Fact
from mari_onnx.analysis.transfer.layouts import kept_entries
from mari_onnx.ir.dims import difference, is_size, quotient, simplified
from mari_onnx.ir.graph import Node

MAX_ITEMS = 2048
"""Larger values are data, not sizes; among the smaller ones are lists of all pairs of a few dozen fields."""

INTEGERS = frozenset({TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL})

Evaluate = Callable[[Node, Sequence[np.ndarray | None]], Sequence[np.ndarray]]


class _UnknownContentError(Exception):
    """The entries cannot be told."""


def _zero(value: Any) -> bool:
    gap = difference(value, 0)
    if isinstance(gap, int):
        return gap == 0
    if gap.is_zero is False:
        return False
    raise _UnknownContentError


def _negative(value: Any) -> bool:
    gap = difference(value, 0)
    if isinstance(gap, int):
        return gap < 0
    if gap.is_negative is not None:
        return bool(gap.is_negative)
    raise _UnknownContentError


def _each(function: Callable[..., Any]) -> Evaluate:
    """An elementwise operator from its meaning for single entries."""
    ufunc = np.frompyfunc  # object arrays keep symbolic entries whole

    def evaluate(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
        arrays = [_given(v) for v in values]
        if int(np.prod(np.broadcast_shapes(*(np.shape(a) for a in arrays)))) > MAX_ITEMS:
            raise _UnknownContentError
        result = ufunc(function, len(arrays), 1)(*arrays)
        return (np.asarray(result, dtype=object),)

    return evaluate


def _given(value: np.ndarray | None) -> np.ndarray:
    if value is None:
        raise _UnknownContentError
    return value


def _integer(value: Any) -> int:
    value = simplified(value)
    if isinstance(value, (int, bool)):
        return int(value)
    raise _UnknownContentError


def _integers(value: np.ndarray | None) -> list[int]:
    return [_integer(v) for v in np.ravel(_given(value))]


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        if right == 0:
            raise _UnknownContentError
        quotient = abs(left) // abs(right)  # ONNX integer division rounds towards zero.
        return quotient if (left < 0) == (right < 0) else -quotient
    ratio = sympy.cancel(sympy.sympify(left) / right)
    if ratio.as_numer_denom()[1] != 1:
        return _rounded_down(left, right)
    return simplified(ratio)


def _rounded_down(left: Any, right: Any) -> Any:
    """A quotient of which a number is left over, as in ``(2 B + 1) / 2``; neither operand may be negative."""
    if not isinstance(right, int) or right <= 0:
        raise _UnknownContentError
    over = int(left.subs(dict.fromkeys(left.free_symbols, 0)))
    whole = quotient(left - over, right)
    if over < 0 or whole is None or not is_size(whole):
        raise _UnknownContentError
    return simplified(whole + over // right)


def _modulo(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int) and left >= 0 and right > 0:
        return left % right
    raise _UnknownContentError


def _largest(*values: Any) -> Any:
    """The entry that no other exceeds, whatever the symbols are: a size is never below -1, say."""
    for value in values:
        if all(is_size(difference(value, other)) for other in values):
            return value
    raise _UnknownContentError


def _smallest(*values: Any) -> Any:
    return simplified(-_largest(*(-v for v in values)))


def _axis(node: Node, default: int = 0) -> int:
    return int(node.attrs.get("axis", default))


def _gather(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    indices = _given(values[1])
    return (np.take(_given(values[0]), np.vectorize(_integer, otypes=[np.int64])(indices), axis=_axis(node)),)


def _concat(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    return (np.concatenate([_given(v) for v in values], axis=_axis(node)),)


def _slice(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    data = _given(values[0])
    starts, ends = _integers(values[1]), _integers(values[2])
    axes = _integers(values[3]) if len(values) > 3 and values[3] is not None else list(range(len(starts)))
    steps = _integers(values[4]) if len(values) > 4 and values[4] is not None else [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        kept = kept_entries(data.shape[axis], start, end, step)
        if kept is None:
            raise _UnknownContentError
        data = np.take(data, np.array(kept, np.int64), axis=axis)
    return (data,)


def _squeeze(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    data = _given(values[0])
    axes = _axes(node, values)
    return (np.squeeze(data, tuple(axes) if axes is not None else None),)


def _unsqueeze(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    axes = _axes(node, values)
    if axes is None:
        raise _UnknownContentError
    return (np.expand_dims(_given(values[0]), tuple(axes)),)


def _axes(node: Node, values: Sequence[np.ndarray | None]) -> list[int] | None:
    if "axes" in node.attrs:
        return [int(a) for a in node.attrs["axes"]]
    return _integers(values[1]) if len(values) > 1 and values[1] is not None else None


def _reshape(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    data, target = _given(values[0]), _integers(values[1])
    if node.attrs.get("allowzero", 0) != 1:
        target = [data.shape[i] if t == 0 else t for i, t in enumerate(target)]
    return (data.reshape(target),)


def _cast(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    data = _given(values[0])
    if node.attrs["to"] == TensorProto.BOOL:
        return (np.vectorize(lambda v: not _zero(v), otypes=[object])(data) if data.size else data,)
    if node.attrs["to"] == TensorProto.INT32 and any(isinstance(v, int) and abs(v) >= 2**31 for v in data.flat):
        raise _UnknownContentError
    return (data,)


def _where(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    condition = np.vectorize(lambda v: not _zero(v), otypes=[bool])(_given(values[0]))
    return (np.where(condition, _given(values[1]), _given(values[2])),)


def _constant_of_shape(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    shape = _integers(values[0])
    fill = node.attrs.get("value")
    entry = onnx.numpy_helper.to_array(fill).ravel()[0].item() if fill is not None else 0
    if int(np.prod(shape)) > MAX_ITEMS or not isinstance(entry, (int, bool)):
        raise _UnknownContentError
    return (np.full(shape, entry, dtype=object),)


def _range(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    start, limit, delta = (_integers(v)[0] for v in values)
    numbers = range(start, limit, delta)
    if len(numbers) > MAX_ITEMS:
        raise _UnknownContentError
    return (np.array(numbers, dtype=object),)


def _reduce_prod(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    data = _given(values[0])
    axes = _axes(node, values) or ([] if node.attrs.get("noop_with_empty_axes", 0) else None)
    total = np.prod(data, axis=tuple(axes) if axes is not None else None, keepdims=bool(node.attrs.get("keepdims", 1)))
    return (np.asarray(total, dtype=object),)


def _split(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    data, axis = _given(values[0]), _axis(node)
    sizes = node.attrs.get("split")
    if sizes is None and len(values) > 1 and values[1] is not None:
        sizes = _integers(values[1])
    if sizes is None:
        count = len(node.outputs)
        chunk = -(-data.shape[axis] // count)
        sizes = [min(chunk, data.shape[axis] - i * chunk) for i in range(count)]
    return np.split(data, np.cumsum(sizes)[:-1], axis=axis)


def _one_hot(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    """PyTorch writes the repeats of a single axis as a OneHot of (1, n)."""
    indices, depth = _integers(values[0]), _integers(values[1])[0]
    off, on = _given(values[2])
    if np.ndim(_given(values[0])) != 1 or _axis(node, -1) not in (-1, 1) or len(indices) * depth > MAX_ITEMS:
        raise _UnknownContentError
    rows = np.full((len(indices), depth), off, dtype=object)
    for row, index in zip(rows, indices, strict=True):
        if -depth <= index < depth:
            row[index] = on
    return (rows,)


def _expand(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    data, target = _given(values[0]), _integers(values[1])
    shape = np.broadcast_shapes(data.shape, tuple(target))
    if int(np.prod(shape)) > MAX_ITEMS:
        raise _UnknownContentError
    return (np.broadcast_to(data, shape),)


def _tile(node: Node, values: Sequence[np.ndarray | None]) -> Sequence[np.ndarray]:
    data, repeats = _given(values[0]), _integers(values[1])
    if data.size * int(np.prod(repeats)) > MAX_ITEMS:
        raise _UnknownContentError
    return (np.tile(data, repeats),)


_EVALUATE: dict[str, Evaluate] = {
    "Identity": lambda node, values: (_given(values[0]),),
    "Cast": _cast,
    "Add": _each(lambda a, b: simplified(a + b)),
    "Sub": _each(lambda a, b: simplified(a - b)),
    "Mul": _each(lambda a, b: simplified(a * b)),
    "Div": _each(_divide),
    "Mod": _each(_modulo),
    "Neg": _each(lambda a: simplified(-a)),
    "Abs": _each(lambda a: _largest(a, simplified(-a))),
    "Equal": _each(lambda a, b: _zero(difference(a, b))),
    "Less": _each(lambda a, b: _negative(difference(a, b))),
    "Greater": _each(lambda a, b: _negative(difference(b, a))),
    "LessOrEqual": _each(lambda a, b: not _negative(difference(b, a))),
    "GreaterOrEqual": _each(lambda a, b: not _negative(difference(a, b))),
    "Max": _each(_largest),
    "Min": _each(_smallest),
    "Not": _each(lambda a: _zero(a)),
    "And": _each(lambda a, b: not _zero(a) and not _zero(b)),
    "Or": _each(lambda a, b: not _zero(a) or not _zero(b)),
    "Where": _where,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Flatten": lambda node, values: (_given(values[0]).reshape(1, -1),) if _axis(node, 1) == 0 else _refuse(),
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "ReduceProd": _reduce_prod,
    "Split": _split,
    "OneHot": _one_hot,
    "Expand": _expand,
    "Tile": _tile,
}


def _refuse() -> Sequence[np.ndarray]:
    raise _UnknownContentError


def evaluate(node: Node, inputs: Sequence[Fact | None], dtypes: Sequence[int]) -> list[Content | None]:
    """The entries of each output, where they are small integers that follow from the entries of the inputs.

    Args:
        node: The node.
        inputs: Facts of its inputs.
        dtypes: Element types of the outputs; anything but integers is not looked at.
    """
    nothing: list[Content | None] = [None] * len(node.outputs)
    function = _EVALUATE.get(node.op)
    if node.domain or not dtypes or any(d not in INTEGERS for d in dtypes):
        return nothing
    if node.op == "Shape":
        return [_shape_content(node, inputs[0])]
    if node.op == "Size":
        shape = inputs[0].shape if inputs[0] else None
        return [None if shape is None else Content((), (simplified(_product(shape)),))]
    if function is None or all(f is None or f.content is None for f in inputs):
        return nothing
    values = [None if f is None or f.content is None else f.content.array() for f in inputs]
    try:
        results = [np.asarray(r, dtype=object) for r in function(node, values)]
    except (_UnknownContentError, ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):
        return nothing
    layout = _layout(inputs)
    return [
        replace(Content.of(r), layout=layout) if r.size <= MAX_ITEMS and _fits(r, dtype) else None
        for r, dtype in zip(results, dtypes, strict=False)
    ]


def _layout(inputs: Sequence[Fact | None]) -> CandidateAxis | None:
    """How the candidates lie where sizes were read of, if they lie in one way."""
    found = {f.content.layout for f in inputs if f is not None and f.content is not None and f.content.layout}
    return found.pop() if len(found) == 1 else None


def _fits(entries: np.ndarray, dtype: int) -> bool:
    """Whether no number leaves its type, at the other end of which it would come back."""
    bits = 31 if dtype == TensorProto.INT32 else 63
    return all(-(1 << bits) <= e < 1 << bits for e in entries.ravel() if isinstance(e, int))


def _product(shape: Sequence[Any]) -> Any:
    total: Any = 1
    for dim in shape:
        total = total * dim
    return total


def _shape_content(node: Node, fact: Fact | None) -> Content | None:
    if fact is None or fact.shape is None:
        return None
    start, end = node.attrs.get("start", 0), node.attrs.get("end")
    dims = fact.shape[start:end] if end is not None else fact.shape[start:]
    return Content((len(dims),), tuple(dims))
