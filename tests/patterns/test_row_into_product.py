"""x A + r = [x, 1] [A; r]."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "row-into-product"
TEXT = """score (float[B,6,3] user, float[B,3,1] item, float[B,1,4] item2, float[B,6,4] user2) => (float[B,6,4] y)
<float[3,4] v, float[4] bias> {{
    a = Mul(item, v)
    p = MatMul(user, a)
    {sum}
}}"""


@pytest.mark.parametrize(
    ("total", "adds"),
    [
        ("y = Add(p, item2)", 0),
        ("y = Add(item2, p)", 0),
        ("t = Add(p, item2) y = Add(t, bias)", 1),
        ("t = Add(p, bias) y = Add(t, item2)", 1),
        ("t = Add(p, user2) y = Add(item2, t)", 1),
    ],
)
def test_the_row_is_one_of_the_weights(total: str, adds: int) -> None:
    outcome = apply(RULE, TEXT.format(sum=total))
    assert outcome.times == 1
    assert outcome.ops.get("Add", 0) == adds
    (product,) = outcome.of("MatMul")
    assert outcome.workspace.facts[product.input[0]].shape == (1, 6, 4)


@pytest.mark.parametrize(
    "total",
    [
        "y = Add(p, bias)",
        "y = Add(p, user2)",
        "n = Neg(p) t = Add(p, item2) y = Add(t, n)",
        "t = Add(p, p) y = Add(t, item2)",
    ],
)
def test_what_is_no_row_of_a_candidate(total: str) -> None:
    assert apply(RULE, TEXT.format(sum=total)).times == 0


@pytest.mark.parametrize("total", ["t = Add(p, item2) y = Add(t, item2)", "t = Add(item2, p) y = Add(item2, t)"])
def test_a_row_that_is_added_twice_is_added_twice(total: str) -> None:
    outcome = apply(RULE, TEXT.format(sum=total))
    assert outcome.times == 2


def test_an_operator_set_whose_pad_has_few_types() -> None:
    assert apply(RULE, TEXT.format(sum="y = Add(p, item2)"), opset=11).times == 0
