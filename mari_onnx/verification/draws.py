"""Drawing one array: values that are valid for their range, from a seeded generator."""

from __future__ import annotations

import enum
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from mari_onnx.verification.ranges import InputRange
from mari_onnx.verification.source import Array

ANY_STRINGS = ("1", "2", "3", "4", "5")  # where the graph names no vocabulary; some models read them as numbers


class Caution(enum.IntEnum):
    """How timid a draw is; the next step is tried when the model rejects the previous one."""

    NORMAL = 0
    POSITIVE = 1  # floats from [0, 1), for models that take a logarithm or a root
    SMALL = 2  # integers 0 and 1 whatever the graph seems to allow
    ZERO = 3  # integers 0, but for the entries of a history that 0 pads

    @property
    def sentence(self) -> str:
        """What to tell the reader of a report."""
        return {
            Caution.NORMAL: "",
            Caution.POSITIVE: "float inputs were drawn from [0, 1), because normal ones made the outputs NaN",
            Caution.SMALL: "integer inputs were drawn from [0, 2), because the original rejected larger ones",
            Caution.ZERO: "integer inputs were 0, or 1 where 0 is padding, because the original rejected other ones",
        }[self]


def draw_array(
    rng: np.random.Generator,
    dtype: int,
    shape: tuple[int, ...],
    known: InputRange | None,
    axis: int | None = None,
    caution: Caution = Caution.NORMAL,
) -> Array:
    """Draws one input.

    Args:
        rng: the generator.
        dtype: the ONNX element type.
        shape: the shape.
        known: the derived range, None when nothing is known.
        axis: the candidate axis; masks are drawn per slice of it.
        caution: how timid to be.

    Returns:
        An array of the numpy type of `dtype`.
    """
    if dtype == TensorProto.STRING:
        return _strings(rng, shape, known)
    target = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(dtype))
    if dtype == TensorProto.BOOL:
        return _booleans(rng, shape, axis)
    integer = target.kind in "iu"
    values = np.zeros(shape) if integer else _floats(rng, shape, caution)
    if known is None:
        return (_whole(rng, shape, None, axis, caution) if integer else values).astype(target)
    whole = np.broadcast_to(known.integral, shape) | integer
    if whole.any():
        values = np.where(whole, _whole(rng, shape, known, axis, caution), values)
    if target.kind in "iu":
        limits = np.iinfo(target)
        values = np.clip(values, limits.min, limits.max)
    return values.astype(target)


def _floats(rng: np.random.Generator, shape: tuple[int, ...], caution: Caution) -> Array:
    normal = rng.standard_normal(shape)
    return normal if caution == Caution.NORMAL else rng.random(shape)


def _whole(
    rng: np.random.Generator, shape: tuple[int, ...], known: InputRange | None, axis: int | None, caution: Caution
) -> Array:
    """Whole numbers, as floats (exact up to 2**53, beyond the size of any table)."""
    if known is None or caution >= Caution.SMALL:
        values = rng.integers(0, 1 if caution == Caution.ZERO else 2, shape).astype(np.float64)
        if known is None:
            return values
        # Here too a history has an entry: ONNX Runtime crashes where all sequences of a GRU are empty.
        low, high = (np.broadcast_to(np.clip(bound, 0, 1), shape) for bound in known.integer_bounds())
        return _pad(rng, values, known, low, high, axis)
    low, high = (np.broadcast_to(bound, shape) for bound in known.integer_bounds())
    values = np.floor(low + rng.random(shape) * (np.maximum(high, low) - low + 1))
    values = np.minimum(values, np.maximum(high, low))
    values = _from_vocabularies(rng, values, known)
    return _pad(rng, values, known, low, high, axis)


def _from_vocabularies(rng: np.random.Generator, values: Array, known: InputRange) -> Array:
    for mask, keys in known.vocabularies:
        if keys.dtype.kind in "biuf":
            values = np.where(np.broadcast_to(mask, values.shape), rng.choice(keys, values.shape), values)
    return values


def _strings(rng: np.random.Generator, shape: tuple[int, ...], known: InputRange | None) -> Array:
    values = rng.choice(np.array(ANY_STRINGS, dtype=object), shape)
    for mask, keys in known.vocabularies if known is not None else ():
        if keys.dtype.kind in "UO":
            words = np.array([str(key) for key in keys], dtype=object)
            values = np.where(np.broadcast_to(mask, shape), rng.choice(words, shape), values)
    return values.astype(object)


def _booleans(rng: np.random.Generator, shape: tuple[int, ...], axis: int | None) -> Array:
    """Random truth values; a mask (more than one value per candidate) is never empty."""
    values = rng.random(shape) < 0.5
    rows = _as_rows(values, axis)
    if rows.shape[1] > 1:
        rows[np.arange(rows.shape[0]), rng.integers(0, rows.shape[1], rows.shape[0])] = True
    return _from_rows(rows, values, axis)


def _as_rows(values: Array, axis: int | None) -> Array:
    moved = values[np.newaxis] if axis is None else np.moveaxis(values, axis, 0)
    return np.array(moved.reshape(moved.shape[0], -1) if moved.size else np.zeros((moved.shape[0], 0), values.dtype))


def _from_rows(rows: Array, like: Array, axis: int | None) -> Array:
    if axis is None:
        return rows.reshape(like.shape)
    moved = np.moveaxis(like, axis, 0)
    return np.moveaxis(rows.reshape(moved.shape), 0, axis)


def _pad(
    rng: np.random.Generator, values: Array, known: InputRange, low: Array, high: Array, axis: int | None
) -> Array:
    """Histories: padding at one end, at least one real entry per candidate, no accidental padding between."""
    padding = np.broadcast_to(known.padding, values.shape)
    padding = np.where((padding >= low) & (padding <= high), padding, np.nan)
    if np.isnan(padding).all() or not values.size:
        return values
    group = np.broadcast_to(known.group, values.shape)
    pads, lows, highs, groups = (_as_rows(one, axis) for one in (padding, low, high, group))
    rows = _as_rows(values, axis)
    rows = np.where(rows == pads, _other(rng, pads, lows, highs), rows)
    inner = [size for index, size in enumerate(values.shape) if index != axis]
    for start, stop in _runs(pads[0], highs[0], groups[0], inner[-1] if inner else 1):
        _shorten(rng, rows, pads, start, stop)
    return _from_rows(rows, values, axis)


def _other(rng: np.random.Generator, pads: Array, lows: Array, highs: Array) -> Array:
    """Valid values other than the padding one, where there are any."""
    above = pads + 1 + np.floor(rng.random(pads.shape) * (highs - pads))
    return np.where(pads < highs, np.minimum(above, highs), np.where(pads > lows, lows, pads))


def _runs(pads: Array, highs: Array, groups: Array, width: int) -> Iterator[tuple[int, int]]:
    """Stretches of neighbouring columns that form one history: same comparison, same table, same row."""
    start = 0
    for column in range(1, pads.size + 1):
        ends = (
            column == pads.size
            or column % width == 0
            or (pads[column], highs[column], groups[column]) != (pads[start], highs[start], groups[start])
        )
        if ends:
            if not np.isnan(pads[start]):
                yield start, column
            start = column


def _shorten(rng: np.random.Generator, rows: Array, pads: Array, start: int, stop: int) -> None:
    count, width = rows.shape[0], stop - start
    lengths = rng.integers(1, width + 1, (count, 1))
    columns = np.arange(width)
    right = rng.random() < 0.5
    real = columns < lengths if right else columns >= width - lengths
    rows[:, start:stop] = np.where(real, rows[:, start:stop], pads[:, start:stop])
