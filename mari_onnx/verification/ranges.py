"""The values that each input may take, derived from the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mari_onnx.verification.constraints import Constraints
from mari_onnx.verification.source import Array, ModelSource
from mari_onnx.verification.walk import WalkedInput, walk

FARTHEST_HINT = float(1 << 20)  # a free integer may turn out to be a size
FREE_HIGH = 1  # integers about which nothing is known are drawn from [0, 1]


@dataclass(frozen=True)
class InputRange:
    """The valid values of one input, element by element, with size 1 on axes as long as there are candidates.

    Attributes:
        low: smallest value, -inf where free.
        high: largest value (inclusive), inf where free.
        hint: a value that draws of free integers should pass, NaN where there is none.
        padding: the value that marks padding, NaN where there is none.
        group: which comparison found the padding; neighbours with different numbers are different histories.
        integral: the value must be a whole number.
        vocabularies: masks of elements, and the keys that these elements are looked up by.
    """

    low: Array
    high: Array
    hint: Array
    padding: Array
    group: Array
    integral: Array
    vocabularies: tuple[tuple[Array, Array], ...] = ()

    def integer_bounds(self) -> tuple[Array, Array]:
        """Bounds (inclusive) to draw whole numbers from; ids start at 0 unless the graph says otherwise."""
        free = np.where(np.isnan(self.hint), FREE_HIGH, np.clip(np.ceil(self.hint) + 1, FREE_HIGH, FARTHEST_HINT))
        floor = np.where(self.high < 0, self.high, 0.0)
        low = np.where(np.isfinite(self.low), np.maximum(self.low, floor), floor)
        low = np.where(self.high < low, self.low, low)
        high = np.where(np.isfinite(self.high), self.high, np.maximum(low + FREE_HIGH, free))
        return low, high


def derive_ranges(
    source: ModelSource, shapes: Mapping[str, tuple[int, ...]], axes: Mapping[str, tuple[int, ...]]
) -> dict[str, InputRange]:
    """Walks the graph and collects the valid range of each input.

    Args:
        source: the model.
        shapes: a concrete shape for each input, the batch being 2 or more where the model allows it.
        axes: the axes of each input that are as long as there are candidates.

    Returns:
        A range for each input that could be followed.
    """
    walked = walk(source, dict(shapes))
    return {
        entry.name: _range_of(entry, walked.constraints, axes.get(entry.name, ()))
        for entry in walked.inputs
        if entry.tracked
    }


def _range_of(entry: WalkedInput, found: Constraints, axes: tuple[int, ...]) -> InputRange:
    span = slice(entry.first, entry.first + int(np.prod(entry.shape)))

    def shaped(values: Array) -> Array:
        return values[span].reshape(entry.shape)

    def reduced(values: Array, reduce: np.ufunc) -> Array:
        return np.asarray(reduce.reduce(values, axis=axes, keepdims=True)) if axes else values

    vocabularies = []
    for sources, keys in found.vocabularies:
        mask = np.zeros(found.low.size, dtype=bool)
        mask[sources] = True
        if mask[span].any():
            vocabularies.append((reduced(shaped(mask), np.logical_or), keys))
    return InputRange(
        low=reduced(shaped(found.low), np.maximum),
        high=reduced(shaped(found.high), np.minimum),
        hint=reduced(shaped(found.hint), np.fmax),
        padding=reduced(shaped(found.padding), np.fmax),
        group=reduced(shaped(found.group), np.maximum),
        integral=reduced(shaped(found.integral), np.logical_or),
        vocabularies=tuple(vocabularies),
    )
