"""Constants with equal rows for a fixed number of candidates are repetitions of one row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mari_onnx.analysis import Side
from tests.analysis.support import analyze, assert_right, parse

ROW = np.array([[1, 2]], np.float32)
EQUAL = ROW.repeat(4, 0)
OTHER = np.arange(8, dtype=np.float32).reshape(4, 2)


def side(line: str, users: str = "u", opset: int = 18, **weights: Any) -> Side:
    """That of a value of user and constants, in a graph for four candidates."""
    model = parse(
        f"""g (float[4,2] u, float[4,2] item) => (float[4,1] y) {{
            {line} s = ReduceSum<keepdims = 1>(x, last) t = ReduceSum<keepdims = 1>(item, last)
            m = Mul(s, t) y = Tanh(m) }}""",
        opset=opset,
        last=np.array([-1]),
        **weights,
    )
    assert_right(model, batches=(4,))
    return analyze(model).side("x")


@pytest.mark.parametrize(
    "line",
    [
        "x = Concat<axis = 1>(u, c)",
        "x = Concat<axis = 1>(c, u, c)",
        "x = Concat<axis = -1>(u, c)",
        "x = Mul(u, c)",
        "x = Add(c, u)",
        "b = Greater(u, c) x = Where(b, c, u)",
    ],
)
@pytest.mark.parametrize("opset", [13, 18, 21])
def test_equal_rows(line: str, opset: int) -> None:
    assert side(line, opset=opset, c=EQUAL) is Side.USER
    assert side(line, opset=opset, c=OTHER) is Side.CROSS


def test_rows_with_more_axes() -> None:
    """Learned tokens in front of the user's, as an exporter folds their expansion."""
    line = "h = Reshape(u, apart) j = Concat<axis = 1>(c, h) x = Reshape(j, flat)"
    wide = {"apart": np.array([4, 2, 1]), "flat": np.array([4, 4])}
    assert side(line, **wide, c=EQUAL[:, :, None]) is Side.USER
    assert side(line, **wide, c=OTHER[:, :, None]) is Side.CROSS


@pytest.mark.parametrize(
    "line",
    [
        "h = Reshape(u, rows) e = Mul(h, c) x = Reshape(e, flat)",
        "h1, h2 = Split<axis = 1>(u, halves) h = Concat<axis = 0>(h1, h2) e = Where(b, c, h)"
        " p1, p2 = Split<axis = 0>(e, blocks) x = Concat<axis = 1>(p1, p2)",
    ],
)
def test_rows_of_several_entries_for_each_candidate(line: str) -> None:
    """Masks of all heads, as an exporter folds their expansion."""
    sizes = {"rows": [8, 1], "flat": [4, 2], "halves": [1, 1], "blocks": [4, 4]}
    given = {name: np.array(entries) for name, entries in sizes.items() if name in line}
    given |= {"b": np.array([[True]])} if "Where" in line else {}
    assert side(line, **given, c=np.full((8, 1), 3, np.float32)) is Side.USER
    assert side(line, **given, c=np.arange(8, dtype=np.float32)[:, None]) in (Side.CROSS, Side.OPAQUE)


def test_a_product_with_equal_matrices() -> None:
    wide = {"apart": np.array([4, 2, 1]), "flat": np.array([4, 3])}
    line = "h = Reshape(u, apart) q = MatMul(c, h) x = Reshape(q, flat)"
    matrices = np.arange(6, dtype=np.float32).reshape(1, 3, 2).repeat(4, 0)
    assert side(line, **wide, c=matrices) is Side.USER
    matrices[2] += 1
    assert side(line, **wide, c=matrices) is not Side.USER


@pytest.mark.parametrize(("op", "gates"), [("GRU", 3), ("LSTM", 4), ("RNN", 1)])
@pytest.mark.parametrize("start", [0, 1])
def test_the_state_that_a_recurrence_starts_with(op: str, gates: int, start: int) -> None:
    line = f"h = Reshape(u, steps) a, b = {op}<hidden_size = 2>(h, w, r, , , c) x = Squeeze(b, first)"
    weights = {
        "steps": np.array([1, 4, 2]),
        "first": np.array([0]),
        "w": np.ones((1, 2 * gates, 2), np.float32),
        "r": np.ones((1, 2 * gates, 2), np.float32) / 2,
    }
    assert side(line, **weights, c=np.full((1, 4, 2), start, np.float32)) is Side.USER
    assert side(line, **weights, c=OTHER[None]) is Side.OPAQUE


def test_not_along_another_axis_of_the_same_size() -> None:
    """The constant is joined, not read beside the user: its rows are the same, but not along the candidates."""
    line = "h = Reshape(u, turned) j = Concat<axis = 1>(h, c) x = Reshape(j, flat)"
    given = {"turned": np.array([4, 1, 2]), "flat": np.array([4, 10]), "c": OTHER[:, None, :].repeat(4, 1)}
    assert side(line, **given) is Side.CROSS
