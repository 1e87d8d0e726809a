"""unflatten(flatten(x) W) = x W."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "tensordot"
TEXT = """score (float[B,3,4] item, float[B,4] item2, float[1,4,5] v, float[12,2] t) => ({result} z)
    <int64[2] rows = {{-1, 4}}, int64[3] back = {{-1, 3, 5}}, int64[3] other = {{-1, 5, 3}}, int64[2] wide = {{-1, 12}},
     int64[3] short = {{-1, 1, 2}}, float[4,5] w> {{
    x = Abs(item)
    {steps}
    z = Neg(y)
}}"""
PLAIN = "f = Reshape(x, rows) p = MatMul(f, w) y = Reshape(p, back)"


def text_of(steps: str, result: str = "float[B,3,5]") -> str:
    return TEXT.format(steps=steps, result=result)


@pytest.mark.parametrize(
    "steps",
    [
        PLAIN,
        "f = Reshape(x, rows) p = MatMul(f, w) h = Shape<end = 2>(x) n = Constant<value_ints = [5]>() "
        "s = Concat<axis = 0>(h, n) y = Reshape(p, s)",
    ],
)
def test_a_layer_on_rows_end_to_end(steps: str) -> None:
    outcome = apply(RULE, text_of(steps))
    assert outcome.times == 1
    assert "Reshape" not in outcome.ops


def test_two_layers_behind_each_other_let_the_tokens_apart() -> None:
    """One alone is of no use to the others."""
    text = """score (float[B,9,4] user, float[B,3,4] item) => (float[B,12,1] z)
        <int64[2] rows = {-1, 4}, int64[3] back = {-1, 12, 5}, int64[2] again = {-1, 5}, int64[3] last = {-1, 12, 1},
         float[4,5] w, float[5,1] v> {
        x = Concat<axis = 1>(user, item)
        f = Reshape(x, rows) p = MatMul(f, w) y = Reshape(p, back)
        r = Relu(y)
        g = Reshape(r, again) q = MatMul(g, v) z = Reshape(q, last)
    }"""
    assert apply(RULE, text).times == 2


@pytest.mark.parametrize(
    ("steps", "result"),
    [
        pytest.param("f = Reshape(x, rows) p = MatMul(f, w) y = Reshape(p, other)", "float[B,5,3]", id="other axes"),
        pytest.param("f = Reshape(x, wide) p = MatMul(f, t) y = Reshape(p, short)", "float[B,1,2]", id="other rows"),
        pytest.param("f = Reshape(x, rows) p = MatMul(f, v) y = Reshape(p, back)", "float[B,3,5]", id="no matrix"),
        pytest.param("p = MatMul(item2, w) a = Add(p, p) y = Unsqueeze(a, one)", "float[B,1,5]", id="nothing flat"),
        pytest.param(
            PLAIN.replace("y =", "o =") + " k = Neg(p) u = Reshape(k, back) y = Add(o, u)",
            "float[B,3,5]",
            id="read by others",
        ),
    ],
)
def test_something_else(steps: str, result: str) -> None:
    text = text_of(steps, result).replace("float[4,5] w>", "int64[1] one = {1}, float[4,5] w>")
    assert apply(RULE, text).times == 0
