"""Zeros among the floats: what is absent is a 0 in many features, and a random draw never hits it.

A mask of floats is compared with it, a ratio divides by it. What the original itself makes of such rows is often no
number, or hangs on the last bit of something; that says nothing of another model, so only the rest is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mari_onnx.verification.compare import Tolerance, differing
from mari_onnx.verification.ranges import InputRange
from mari_onnx.verification.source import Array

SHARE = 0.05
NOISE = 1e-6
LAST_BITS = 4


def with_zeros(rng: np.random.Generator, values: Array, known: InputRange | None, share: float) -> Array:
    """Puts zeros of either sign among the floats that stand for any number.

    Args:
        rng: the generator; it is asked nothing where there are no such floats.
        values: what was drawn.
        known: the derived range, None when nothing is known.
        share: how many of them become 0.

    Returns:
        The array itself where the share is 0.
    """
    free = _free(values, known) if share else np.zeros(1, dtype=bool)
    if not free.any():
        return values
    return np.where(free & (rng.random(values.shape) < share), values * 0, values).astype(values.dtype)


def with_noise(rng: np.random.Generator, values: Array, known: InputRange | None, size: float) -> Array:
    """Moves the same floats by a part of themselves, at least by some of their last bits; zeros stay.

    Args:
        rng: the generator; it is asked nothing where there are no such floats.
        values: what was drawn.
        known: the derived range, None when nothing is known.
        size: the part of themselves.

    Returns:
        The array itself where the size is 0.
    """
    free = _free(values, known) if size else np.zeros(1, dtype=bool)
    if not free.any():
        return values
    reach = max(size, LAST_BITS * float(np.finfo(values.dtype).eps))
    moved = values.astype(np.float64) * (1 + reach * rng.choice((-1.0, 1.0), values.shape))
    return np.where(free, moved, values).astype(values.dtype)


def has_free_floats(arrays: Mapping[str, Array], ranges: Mapping[str, InputRange]) -> bool:
    """Whether some input has a float that stands for any number.

    Args:
        arrays: drawn inputs by name.
        ranges: the derived range of those that could be followed.
    """
    return any(_free(array, ranges.get(name)).any() for name, array in arrays.items())


def _free(values: Array, known: InputRange | None) -> Array:
    """Floats that are no ids, lengths, or keys of a vocabulary, and may be 0."""
    free = np.full(values.shape, values.dtype.kind == "f")
    if known is None:
        return free
    free &= ~np.broadcast_to(known.integral, values.shape)
    free &= np.broadcast_to((known.low <= 0) & (known.high >= 0), values.shape)
    for mask, _ in known.vocabularies:
        free &= ~np.broadcast_to(mask, values.shape)
    return free


def sure_entries(expected: Array, others: Iterable[Array], tolerance: Tolerance, axis: int) -> Array:
    """Which entries of an output are numbers, infinite ones among them, that do not hang on last bits.

    Args:
        expected: the original's output.
        others: the same on inputs moved by some of their last bits, or in double precision.
        tolerance: how far apart they may be.
        axis: the axis of the candidates.
    """
    sure = ~np.isnan(expected)
    for other in others:
        if expected.shape != other.shape:
            return np.zeros_like(sure)
        sure &= ~differing(expected, other, tolerance, axis)
    return np.asarray(sure)
