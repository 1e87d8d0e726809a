"""One run has zeros among the floats, which random draws never hit; what the original is sure of there is compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mari_onnx.verification import verify
from mari_onnx.verification.compare import Tolerance
from mari_onnx.verification.feeds import FeedPlan, plan_feeds
from mari_onnx.verification.signature import original_inputs, parse_user_inputs, stated_axes
from mari_onnx.verification.source import open_source
from mari_onnx.verification.zeros import NOISE, sure_entries
from tests.verification.conftest import ModelMaker

ZERO = "none = Constant<value_float=0.0>() one = Constant<value_float=1.0>() absent = Equal(x, none)"
STACKED = """g (float[B,30] x) => (float[B,1] score) {
    start = Constant<value_ints=[0]>() middle = Constant<value_ints=[20]>() end = Constant<value_ints=[30]>()
    last = Constant<value_ints=[1]>()
    ids = Slice(x, start, middle, last) numbers = Slice(x, middle, end, last)
    rows = Cast<to=7>(ids) found = Gather(table, rows) flat = ReduceSum(found, last)
    total = ReduceSum<keepdims=0>(numbers, last) wide = Unsqueeze(total, last) score = Add(flat, wide)
}"""


def planned(model: object, *users: str) -> FeedPlan:
    source = open_source(model)
    inputs = original_inputs(source, stated_axes(source))
    return plan_feeds(source, inputs, parse_user_inputs(users, inputs))


@pytest.mark.parametrize(
    ("original", "result", "passes"),
    [
        ("y = Mul(x, one)", "y = Where(absent, one, x)", False),
        ("y = Where(absent, one, x)", "y = Where(absent, one, x)", True),
        ("y = Where(absent, one, x)", "y = Mul(x, one)", False),
        ("y = Div(one, x)", "i = Div(one, x) z = Sub(i, i) y = Add(i, z)", False),
        ("i = Div(x, x) y = Mul(i, x)", "y = Mul(x, one)", True),
    ],
)
def test_what_zeros_tell_apart(make: ModelMaker, original: str, result: str, passes: bool) -> None:
    """Where the original answers with no number, any answer will do; what is infinite has to stay so."""
    models = [make(f"g (float[B,3] x) => (float[B,3] y) {{ {ZERO} {text} }}") for text in (original, result)]
    report = verify(*models, user_inputs=[])
    assert report.passed == passes
    assert ("with zeros among the floats" in str(report.outputs[0].mismatch)) != passes


def test_a_model_that_rejects_them_is_not_run(make: ModelMaker) -> None:
    """A Reshape to a size that is read off a float."""
    text = """g (float[B,1] x) => (float[Z,1] y) {
        none = Constant<value_float=0.0>() absent = Equal(x, none) count = Cast<to=7>(absent)
        axes = Constant<value_ints=[0]>() any = ReduceMax<keepdims=1>(count)
        one = Constant<value_ints=[1]>() flat = Reshape(any, one) odd = Add(flat, one) rows = Shape(x)
        wide = Concat<axis=0>(odd, one) size = Mul(rows, wide) y = Reshape(x, size)
    }"""
    report = verify(make(text), make(text), user_inputs=[])
    assert report.passed
    assert report.runs == 8


def test_ids_and_lengths_stay(make: ModelMaker) -> None:
    """Nor is there a run where all inputs are such."""
    plan = planned(make(STACKED, table=np.arange(9, dtype=np.float32)))
    drawn, zeros = (one.draw(64, 0).full["x"] for one in (plan, replace(plan, zeros=0.5)))
    assert (drawn[:, :20] == zeros[:, :20]).all()
    assert 0.4 < (zeros[:, 20:] == 0).mean() < 0.6
    assert (np.signbit(zeros) & (zeros == 0)).any()
    ids = make("g (int64[B,2] x) => (float[B,2] y) { y = Gather(table, x) }", table=np.arange(9, dtype=np.float32))
    assert verify(ids, ids, user_inputs=[]).runs == 8


def test_zeros_of_the_user_are_those_of_all_candidates(make: ModelMaker) -> None:
    text = "g (float[B,40] user, float[B,40] x) => (float[B,80] y) { y = Concat<axis=1>(user, x) }"
    drawn = replace(planned(make(text), "user", "x[:, 0:20]"), zeros=0.3).draw(7, 0)
    assert (drawn.full["user"] == drawn.single["user"]).all()
    assert (drawn.full["x"][:, :20] == drawn.single["x"]).all()
    assert all((array == 0).any() for array in drawn.single.values())


def test_noise_keeps_zeros_and_moves_the_rest(make: ModelMaker) -> None:
    plan = replace(
        planned(make("g (float16[B,40] x, float[B,40] z) => (float16[B,40] y) { y = Identity(x) }")), zeros=0.3
    )
    still, moved = plan.draw(7, 0).full, replace(plan, noise=NOISE).draw(7, 0).full
    for name, array in still.items():
        assert ((moved[name] == 0) == (array == 0)).all()
        assert ((moved[name] != array) == (array != 0)).all()
        assert moved[name].dtype == array.dtype
    assert np.allclose(moved["z"], still["z"], rtol=1e-5)


def test_what_hangs_on_last_bits_is_not_sure() -> None:
    expected = np.array([1.0, np.inf, -np.inf, np.nan, 2.0, np.inf], np.float32)
    moved = np.array([1.0, np.inf, -np.inf, np.nan, 2.5, 7.0], np.float32)
    tolerance = Tolerance(1e-4, 1e-5)
    assert sure_entries(expected, [moved], tolerance, 0).tolist() == [True, True, True, False, False, False]
    assert not sure_entries(expected, [moved[:5]], tolerance, 0).any()
    assert sure_entries(np.array([1, 2]), [np.array([1, 3])], tolerance, 0).tolist() == [True, False]
