"""Comparing one output of two models: type, shape, values, and the order of candidates that it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from mari_onnx.verification.source import Array

# The optimized model may be this much further from float64 than the original is: another order of additions, no more.
FLOAT64_FACTOR = 4.0
# The float64 rule only forgives rounding. Where the original itself is further off than this many tolerances, its
# float64 run took another path (a rounded id, a threshold), and says nothing about the optimized model.
FLOAT64_REACH = 100.0
TINY = 1e-12


@dataclass(frozen=True)
class Tolerance:
    """Relative (to the magnitude of a column of scores) and absolute tolerance."""

    rtol: float
    atol: float

    def for_dtype(self, dtype: int) -> Tolerance:
        """The tolerance for outputs of this ONNX type, never below what the type can hold."""
        rtol, atol = COARSE.get(dtype, (0.0, 0.0))
        return Tolerance(max(self.rtol, rtol), max(self.atol, atol))

    def of_scale(self, scale: float) -> float:
        """The absolute error allowed at this magnitude."""
        return self.atol + self.rtol * scale


COARSE: dict[int, tuple[float, float]] = {TensorProto.FLOAT16: (1e-2, 1e-3), TensorProto.BFLOAT16: (3e-2, 1e-2)}


@dataclass(frozen=True)
class Difference:
    """How far apart two arrays are.

    Attributes:
        max_abs: the largest absolute error over finite elements.
        max_rel: the largest relative error; for the reader only, since it explodes near zero.
        scale: the largest magnitude of the expected array.
    """

    max_abs: float
    max_rel: float
    scale: float


@dataclass(frozen=True)
class Comparison:
    """The result of comparing one output of one run.

    Attributes:
        difference: the sizes of the errors, None where they cannot be told.
        mismatch: what is wrong, None when all agrees.
        optimized_error: largest error of the optimized model against float64, None without such a run.
        original_error: the same for the original.
        has_nan: the original has NaN in this output.
        all_nan: the original has nothing else.
    """

    difference: Difference | None
    mismatch: str | None
    optimized_error: float | None = None
    original_error: float | None = None
    has_nan: bool = False
    all_nan: bool = False


def max_error(expected: Array, actual: Array) -> Difference:
    """The largest errors between two arrays of one shape; places where both have NaN, or the same infinity, are equal.

    Args:
        expected: what it should be.
        actual: what it is.

    Returns:
        The sizes of the errors, infinite where one array is not finite and the other disagrees.
    """
    one, two = _double(expected), _double(actual)
    if not one.size:
        return Difference(0.0, 0.0, 0.0)
    with np.errstate(all="ignore"):
        gap = _gap(one, two)
        relative = np.where(gap == 0, 0.0, gap / np.abs(one))
    relative = np.where(np.isnan(relative), np.inf, relative)
    finite = np.abs(one[np.isfinite(one)])
    return Difference(float(gap.max()), float(relative.max()), float(finite.max()) if finite.size else 0.0)


def _double(array: Array) -> Array:
    return np.asarray(array).astype(np.float64)


def _gap(one: Array, two: Array) -> Array:
    """Absolute differences; infinite where NaN or infinities disagree."""
    with np.errstate(all="ignore"):
        gap = np.abs(one - two)
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    return np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))


def compare_arrays(
    expected: Array,
    actual: Array,
    tolerance: Tolerance,
    truth: Array | None = None,
    dtype: int | None = None,
    noise: float = 0.0,
    axis: int = 0,
) -> Comparison:
    """Compares one output.

    Args:
        expected: the original's output.
        actual: the optimized model's output.
        tolerance: for 32-bit floats; coarser types get a wider one.
        truth: the original's output in double precision, if there is one.
        dtype: the ONNX type of the output where numpy's differs (bfloat16 arrives as float32).
        noise: the `noise_level` of the original on many candidates; on a few it may be small by luck.
        axis: the axis of the candidates.

    Returns:
        The comparison.
    """
    if expected.dtype != actual.dtype:
        return Comparison(None, f"type {actual.dtype} instead of {expected.dtype}")
    if expected.shape != actual.shape:
        return Comparison(None, f"shape {list(actual.shape)} instead of {list(expected.shape)}")
    if expected.dtype == object and all(isinstance(part, np.ndarray) for part in (*expected.flat, *actual.flat)):
        return _compare_parts(expected, actual, tolerance)
    keys = _keys_of_maps(expected)
    if keys and keys == _keys_of_maps(actual):
        return compare_arrays(_numbers_of_maps(expected), _numbers_of_maps(actual), tolerance)
    if expected.dtype.kind != "f":
        return _compare_exactly(expected, actual)
    fitting = tolerance.for_dtype(dtype or onnx.helper.np_dtype_to_tensor_dtype(expected.dtype))
    return _compare_floats(_double(expected), _double(actual), fitting, truth, noise, axis)


def _compare_parts(expected: Array, actual: Array, tolerance: Tolerance) -> Comparison:
    """Two sequences: the comparison of the first parts that differ, or of those that come closest to it."""
    found = [compare_arrays(one, two, tolerance) for one, two in zip(expected.flat, actual.flat, strict=True)]
    if not found:
        return Comparison(None, None)
    return max(found, key=lambda c: (c.mismatch is not None, c.difference.max_abs if c.difference else 0.0))


def _keys_of_maps(array: Array) -> list[Any]:
    """The keys of an output that is a list of maps of floats, all with the same keys (ZipMap); none for another."""
    maps = array.ravel().tolist() if array.dtype == object else []
    alike = all(isinstance(m, dict) and list(m) == list(maps[0]) for m in maps)
    return list(maps[0]) if maps and alike and all(isinstance(v, float) for m in maps for v in m.values()) else []


def _numbers_of_maps(array: Array) -> Array:
    """A row of numbers for each map."""
    return np.array([list(m.values()) for m in array.ravel().tolist()], np.float32)


def _compare_exactly(expected: Array, actual: Array) -> Comparison:
    differing = np.argwhere(expected != actual)
    numeric = expected.dtype.kind in "biu"
    difference = max_error(expected, actual) if numeric else None
    if not len(differing):
        return Comparison(difference, None)
    at = tuple(differing[0].tolist())
    count = f"{len(differing)} of {expected.size} elements differ"
    return Comparison(difference, f"{actual[at]!s} instead of {expected[at]!s} at {list(at)}; {count}")


def _compare_floats(
    expected: Array, actual: Array, tolerance: Tolerance, truth: Array | None, noise: float, axis: int
) -> Comparison:
    nan = np.isnan(expected)
    difference = max_error(expected, actual)
    errors = _float64_errors(expected, actual, truth)
    mismatch = _special_mismatch(expected, actual) or _value_mismatch(expected, actual, tolerance, errors, noise, axis)
    optimized_error, original_error = errors or (None, None)
    return Comparison(
        difference,
        mismatch,
        optimized_error,
        original_error,
        has_nan=bool(nan.any()),
        all_nan=bool(nan.size and nan.all()),
    )


def noise_level(array: Array, truth: Array, tolerance: Tolerance, axis: int = 0) -> float:
    """How far an output is from its float64 run, in tolerances of its scale; 0 where they cannot be compared."""
    if array.shape != truth.shape or array.dtype.kind != "f" or truth.dtype.kind != "f":
        return 0.0
    finite = np.isfinite(array) & np.isfinite(truth)
    error = float(np.abs(_double(array)[finite] - truth[finite]).max(initial=0.0))
    return error / max(tolerance.of_scale(_scale(_double(array), axis)), TINY)


def _float64_errors(expected: Array, actual: Array, truth: Array | None) -> tuple[float, float] | None:
    if truth is None or truth.shape != expected.shape or truth.dtype.kind != "f":
        return None
    finite = np.isfinite(truth) & np.isfinite(expected) & np.isfinite(actual)
    if not finite.any():
        return None
    optimized, original = (float(np.abs(array[finite] - truth[finite]).max()) for array in (actual, expected))
    return optimized, original


def _special_mismatch(expected: Array, actual: Array) -> str | None:
    """NaN and infinities must sit at the same places."""
    special = ~np.isfinite(expected) | ~np.isfinite(actual)
    wrong = special & (_gap(expected, actual) != 0)
    if not wrong.any():
        return None
    at = tuple(np.argwhere(wrong)[0].tolist())
    return f"{actual[at]:g} instead of {expected[at]:g} at {list(at)}"


def _value_mismatch(
    expected: Array, actual: Array, tolerance: Tolerance, errors: tuple[float, float] | None, noise: float, axis: int
) -> str | None:
    gap = np.where(np.isfinite(expected), _gap(expected, actual), 0.0)
    allowed = tolerance.atol + tolerance.rtol * _magnitude(expected, axis)
    over = gap > allowed
    if not over.any() or _forgiven(errors, tolerance, _scale(expected, axis), noise):
        return None
    worst = np.unravel_index(np.argmax(np.where(over, gap / np.maximum(allowed, TINY), 0)), gap.shape)
    at = tuple(int(index) for index in worst)
    return (
        f"{actual[at]:.7g} instead of {expected[at]:.7g} at {list(at)}:"
        f" error {gap[at]:.2g}, allowed {float(np.broadcast_to(allowed, gap.shape)[at]):.2g}"
    )


def differing(expected: Array, actual: Array, tolerance: Tolerance, axis: int = 0) -> Array:
    """Which entries of two outputs of one shape are not the same, or not about the same.

    Args:
        expected: what it should be.
        actual: what it is.
        tolerance: for floats; all else must be equal.
        axis: the axis of the candidates.
    """
    if expected.dtype.kind != "f":
        return np.asarray(expected != actual)
    one, two = _double(expected), _double(actual)
    return np.asarray(_gap(one, two) > tolerance.atol + tolerance.rtol * _magnitude(one, axis))


def _magnitude(expected: Array, axis: int) -> Array:
    """What errors are relative to, kept broadcastable: of each column of scores, or of each candidate's tensor.

    Columns of a matrix are scores of their own, each with its scale; a tensor of more axes is one thing.
    """
    magnitude = np.where(np.isfinite(expected), np.abs(expected), 0.0)
    others = tuple(k for k in range(expected.ndim) if k != axis)
    scores = expected.ndim > 1 and sum(expected.shape[k] > 1 for k in others) <= 1
    axes = (axis,) if scores else others
    return np.asarray(magnitude.max(axis=axes, keepdims=True, initial=0.0)) if axes else magnitude


def _scale(array: Array, axis: int) -> float:
    return float(_magnitude(array, axis).max(initial=0.0))


def _forgiven(errors: tuple[float, float] | None, tolerance: Tolerance, scale: float, noise: float) -> bool:
    """Whether the optimized model is about as close to float64 as the original, and the original close at all."""
    if errors is None:
        return False
    optimized, original = errors[0], max(errors[1], noise * tolerance.of_scale(scale))
    if original > FLOAT64_REACH * tolerance.of_scale(scale):
        return False
    return optimized <= FLOAT64_FACTOR * original + TINY * max(1.0, scale)


def ranking_kept(expected: Array, actual: Array, tolerance: Tolerance, axis: int = 0) -> bool | None:
    """Whether candidates keep their order in an output of shape [B], [B, k] or [k, B] (each column is a ranking).

    Two candidates whose scores differ by no more than the tolerance are tied, and may swap; where they differ by more
    than twice as much, they must not become equal either.

    Args:
        expected: the original's scores.
        actual: the optimized model's scores.
        tolerance: what counts as a tie.
        axis: the axis of the candidates.

    Returns:
        The answer, or None where the output is no ranking.
    """
    if expected.shape != actual.shape or expected.ndim not in (1, 2) or expected.dtype.kind != "f":
        return None
    if expected.shape[axis] < 2:
        return None
    one, two = (np.moveaxis(_double(a), axis, 0).reshape(expected.shape[axis], -1) for a in (expected, actual))
    return all(_column_kept(one[:, column], two[:, column], tolerance) for column in range(one.shape[1]))


def _column_kept(expected: Array, actual: Array, tolerance: Tolerance) -> bool:
    usable = np.isfinite(expected) & np.isfinite(actual)
    expected, actual = expected[usable], actual[usable]
    if expected.size < 2:
        return True
    tie = tolerance.atol + tolerance.rtol * np.abs(expected).max()
    order = np.argsort(expected, kind="stable")
    expected, actual = expected[order], actual[order]
    # The best actual score among candidates that are clearly below each one, and among those far below.
    best_so_far = np.append(-np.inf, np.maximum.accumulate(actual))
    below, far_below = (np.searchsorted(expected, expected - gap, side="left") for gap in (tie, 2 * tie))
    apart = (actual > best_so_far[far_below]) | (far_below == 0)
    return bool(((actual >= best_so_far[below]) & apart).all())


def all_nan(outputs: Mapping[str, Array]) -> bool:
    """Whether some float output holds nothing but NaN, which compares equal to anything of its kind."""
    return any(array.size and array.dtype.kind == "f" and np.isnan(array).all() for array in outputs.values())
