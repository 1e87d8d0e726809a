"""Sizes that stay open may be anything when the model runs, 0 and 1 and the number of candidates among it."""

from __future__ import annotations

import pytest

from tests.analysis.support import analyze, assert_right, parse

LENGTHS = pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 6, 7])


@pytest.mark.parametrize("side", ["u", "i"])
@pytest.mark.parametrize("length", [3, 6])
def test_a_size_that_is_copied_beside_one_that_cannot_be_told(side: str, length: int) -> None:
    other = "u" if side == "i" else "i"
    model = parse(
        f"""g (float[B,S] {side}, float[B,4] {other}) => (float[B,7] y)
        <int64[3] t = {{0, 3, -1}}, int64[1] last = {{2}}> {{
            r = Reshape({side}, t) s = ReduceSum<keepdims = 0>(r, last) y = Concat<axis = 1>(s, {other})
        }}"""
    )
    shape = analyze(model).facts["r"].shape
    assert shape is not None
    assert shape[0] != 0
    assert_right(model, lengths={"S": length})


@LENGTHS
def test_numbers_up_to_less_than_nothing(length: int) -> None:
    model = parse("""g (float[B,T] u, float[B,4] i) => (float[B,5] y)
        <int64 none = {0}, int64 one = {1}, int64 three = {3}, int64[1] last = {1}> {
            s = Shape(u) t = Gather<axis = 0>(s, one) left = Sub(t, three) r = Range(none, left, one)
            n = Shape(r) c = Cast<to = 1>(n) total = ReduceSum<keepdims = 1>(u, last) v = Mul(total, c)
            y = Concat<axis = 1>(v, i)
        }""")
    assert_right(model, lengths={"T": length})
