"""sum(x) / n = mean(x)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import apply

RULE = "spelled-mean"


def text_of(mean: str, rest: str = "y = Sub(x, m)") -> str:
    return f"""score (float[B,2,4] item) => (float[B,2,4] y)
        <int64[1] last = {{-1}}, int64[1] middle = {{1}}, int64[3] view = {{-1, 2, 1}}, float n = {{4}},
         float[1] two = {{2}}, float[1,1,1,1] deep = {{4}}, float wrong = {{3}}> {{
        x = Abs(item)
        {mean}
        {rest}
    }}"""


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(
    "mean",
    [
        "s = ReduceSum<keepdims = 1>(x, last) m = Div(s, n)",
        "s = ReduceSum<keepdims = 0>(x, last) v = Unsqueeze(s, last) m = Div(v, n)",
        "s = ReduceSum<keepdims = 0>(x, last) v = Reshape(s, view) m = Div(v, n)",
        "s = ReduceSum<keepdims = 1>(x, last) m = Mul(quarter, s)",
        "s = ReduceSum<keepdims = 1>(x, middle) m = Div(s, two)",
    ],
)
def test_a_sum_over_how_many_there_are(mean: str, opset: int) -> None:
    text = text_of(mean).replace("float wrong", "float quarter, float wrong")
    outcome = apply(RULE, text, opset=opset, quarter=np.float32(0.25))
    assert outcome.times == 1
    assert outcome.ops["ReduceMean"] == 1
    assert not outcome.ops["ReduceSum"]


@pytest.mark.parametrize(
    ("mean", "rest"),
    [
        pytest.param("s = ReduceSum<keepdims = 1>(x, last) m = Div(s, wrong)", "y = Sub(x, m)", id="another number"),
        pytest.param("s = ReduceSum<keepdims = 1>(x, last) m = Div(n, s)", "y = Sub(x, m)", id="the other way round"),
        pytest.param("s = ReduceSum<keepdims = 1>(x, middle) m = Div(s, n)", "y = Sub(x, m)", id="another axis"),
        pytest.param("s = ReduceSum<keepdims = 1>(x, last) m = Div(s, n)", "y = Sub(m, x)", id="less the entries"),
        pytest.param("s = ReduceSum<keepdims = 1>(x, last) m = Div(s, n)", "y = Mul(x, m)", id="no normalization"),
        pytest.param(
            "s = ReduceMax<keepdims = 1, axes = [2]>(x) m = Div(s, n)", "y = Sub(x, m)", id="another reduction"
        ),
        pytest.param("s = ReduceSum<keepdims = 1>(x) m = Div(s, n)", "y = Sub(x, m)", id="all axes"),
        pytest.param(
            "s = ReduceSum<keepdims = 1>(x, last) w = Div(s, deep) m = Squeeze(w, first)",
            "y = Sub(x, m)",
            id="a number with more axes",
        ),
    ],
)
def test_other_quotients(mean: str, rest: str) -> None:
    text = text_of(mean, rest).replace("float wrong", "int64[1] first = {0}, float wrong")
    assert apply(RULE, text, exact=False).times == 0
