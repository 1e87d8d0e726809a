"""Measuring differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mari_onnx.verification import Tolerance, compare_arrays, max_error, ranking_kept
from mari_onnx.verification.layouts import candidate_axes

STRICT = Tolerance(1e-4, 1e-5)
FLOATS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4), elements=st.floats(width=32)
)


@given(FLOATS)
def test_an_array_equals_itself(array):
    found = compare_arrays(array, array.copy(), STRICT)
    assert found.mismatch is None
    assert max_error(array, array).max_abs == 0


@given(FLOATS.filter(lambda array: array.size > 0), st.data())
def test_one_different_element_is_found(array, data):
    other = array.copy()
    at = data.draw(st.integers(0, array.size - 1))
    value = other.ravel()[at]
    other.ravel()[at] = 1.0 if not np.isfinite(value) else np.nan
    found = compare_arrays(array, other, STRICT)
    assert found.mismatch is not None
    assert str(list(np.unravel_index(at, array.shape))).replace("np.int64(", "").replace(")", "") in found.mismatch
    assert max_error(array, other).max_abs == np.inf


@pytest.mark.parametrize("shape", [(2, 2), (2, 1, 2)])
def test_errors_in_scores_are_scaled_by_their_column(shape):
    """A score beside a large number is a score of its own."""
    expected = np.array([[1e4, 1e-3], [1.0, 1e-3]], np.float32).reshape(shape)
    actual = expected.copy()
    actual[1, ..., 0] += 0.5
    assert compare_arrays(expected, actual, STRICT).mismatch is None
    actual[0, ..., 1] += 0.5
    assert "0.501" in compare_arrays(expected, actual, STRICT).mismatch


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (1, 2, 3)])
def test_candidates_behind_their_scores(shape):
    """A row of large numbers beside a row of scores."""
    axis = shape.index(3)
    expected = np.array([[1e4, 1.0, 1.0], [1e-3, 1e-3, 1e-3]], np.float32).reshape(shape)
    actual = expected.copy()
    actual.reshape(2, 3)[1, 0] += 0.5
    assert compare_arrays(expected, actual, STRICT).mismatch is None
    assert "0.501" in compare_arrays(expected, actual, STRICT, axis=axis).mismatch
    small = np.array([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]])
    assert ranking_kept(small, small[::-1], STRICT, axis=1) is False
    assert ranking_kept(small, small[::-1] * [-1, -1, -1], STRICT, axis=1) is True


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        (["B"], 0),
        (["B", 4], 0),
        ([4, "B"], 1),
        ([3, "B"], 1),
        ([1, 5, "B"], 2),
        (["B2"], 0),
        (["B2", "B"], 1),
        (["B", "B"], 0),
        ([3, 5], None),
        ([], None),
    ],
)
def test_the_axis_of_the_candidates(shape, axis):
    def run(batch):
        sizes = {"B": batch, "B2": 2 * batch}
        return {"y": np.zeros([sizes.get(d, d) for d in shape])}

    assert candidate_axes(run, None).get("y") == axis
    assert axis is None or candidate_axes(run, 64).get("y") == axis
    assert candidate_axes(lambda batch: run(batch) if batch == 3 else {}, None) == {}


def test_errors_in_tensors_are_scaled_by_the_candidate():
    expected = np.array([[[1e4, 1e-3]] * 2, [[1.0, 1e-3]] * 2], np.float32)
    actual = expected.copy()
    actual[0, 0, 1] += 0.5
    assert compare_arrays(expected, actual, STRICT).mismatch is None
    actual[1, 0, 1] += 0.5
    assert "[1, 0, 1]" in compare_arrays(expected, actual, STRICT).mismatch


def test_parts_of_a_sequence():
    expected = np.empty(2, object)
    expected[:] = [np.ones((2, 1), np.float32), np.ones((2, 3), np.float32)]
    actual = expected.copy()
    assert compare_arrays(expected, actual, STRICT).mismatch is None
    actual[1] = np.float32([[1, 1, 1], [1, 2, 1]])
    assert "[1, 1]" in compare_arrays(expected, actual, STRICT).mismatch
    actual[1] = expected[0]
    assert "shape" in compare_arrays(expected, actual, STRICT).mismatch


def test_a_large_relative_error_near_zero_is_no_mismatch():
    expected, actual = np.array([1e-9], np.float32), np.array([-1e-9], np.float32)
    found = compare_arrays(expected, actual, STRICT)
    assert found.mismatch is None
    assert found.difference.max_rel > 1


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinities_and_nan_must_agree(value):
    expected = np.array([1.0, value], np.float32)
    assert compare_arrays(expected, expected.copy(), STRICT).mismatch is None
    assert compare_arrays(expected, np.array([1.0, 5.0], np.float32), STRICT).mismatch is not None
    assert compare_arrays(np.array([1.0, 5.0], np.float32), expected, STRICT).mismatch is not None
    assert compare_arrays(expected, -expected, STRICT).mismatch is not None


def test_closer_to_float64_than_the_original_is_right():
    truth = np.array([1e-3, 2e-3])
    original = (truth + 4e-5).astype(np.float32)
    better = truth.astype(np.float32)
    assert compare_arrays(original, better, STRICT).mismatch is not None
    assert compare_arrays(original, better, STRICT, truth).mismatch is None
    assert compare_arrays(original, original + np.float32(4e-4), STRICT, truth).mismatch is not None


def test_a_useless_truth_forgives_nothing():
    truth = np.array([0.0, 5.0])
    original = np.array([1.0, 1.0], np.float32)
    assert compare_arrays(original, original + np.float32(0.5), STRICT, truth).mismatch is not None


def test_no_tolerance_at_all():
    expected = np.array([0.0, 1.0], np.float32)
    exact = Tolerance(0.0, 0.0)
    assert compare_arrays(expected, expected.copy(), exact).mismatch is None
    assert "[0]" in compare_arrays(expected, expected + np.float32([1e-6, 0.0]), exact, np.array([0.0, 1.0])).mismatch


def test_scalars():
    assert compare_arrays(np.ones((), np.float32), np.ones(()), STRICT).mismatch is not None
    one = np.array(1.0, np.float32)
    assert compare_arrays(one, one, STRICT).mismatch is None
    assert compare_arrays(one, np.array(2.0, np.float32), STRICT).mismatch is not None


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ([{0: 0.25, 1: 0.75}, {0: 0.5, 1: 0.5}], True),
        ([{0: 0.25, 1: 0.7500001}, {0: 0.5, 1: 0.5}], True),
        ([{0: 0.25, 1: 0.76}, {0: 0.5, 1: 0.5}], False),
        ([{0: 0.25, 2: 0.75}, {0: 0.5, 2: 0.5}], False),
        ([{0: 0.25, 1: 0.75}], False),
    ],
)
def test_maps_of_floats_are_compared_as_floats(found: list[dict[int, float]], same: bool) -> None:
    expected = np.array([{0: 0.25, 1: 0.75}, {0: 0.5, 1: 0.5}], dtype=object)
    result = compare_arrays(expected, np.array(found, dtype=object), Tolerance(1e-5, 1e-6))
    assert (result.mismatch is None) == same
