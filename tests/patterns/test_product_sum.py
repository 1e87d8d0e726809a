"""x A + x C = x (A + C)."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "product-sum"
TEXT = """score (float[B,6,3] user, float[B,3,1] item, float[B,1,4] item2) => (float[B,6,4] y)
<float[3,4] v, float[3,4] c, float[4] bias> {{
    a = Mul(item, v)
    p = MatMul(user, a)
    s = MatMul(user, c)
    {sum}
}}"""


@pytest.mark.parametrize(
    ("total", "adds"),
    [
        ("y = Add(p, s)", 1),
        ("y = Add(s, p)", 1),
        ("t = Add(p, item2) u = Add(s, bias) y = Add(u, t)", 3),
        ("t = Add(p, bias) u = Add(t, item2) y = Add(u, s)", 3),
    ],
)
def test_weights_are_added_instead_of_rows(total: str, adds: int) -> None:
    outcome = apply(RULE, TEXT.format(sum=total))
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 1
    assert outcome.ops["Add"] == adds


@pytest.mark.parametrize(
    "total",
    [
        "y = Sub(p, s)",
        # Somebody else reads a product, which stays then.
        "t = Add(p, s) y = Add(t, p)",
        "y = Add(p, item2)",
    ],
)
def test_where_no_product_is_saved(total: str) -> None:
    assert apply(RULE, TEXT.format(sum=total)).times == 0


def test_what_is_added_twice_is_added_twice() -> None:
    # Weights are added once, and the product that stays is added to them.
    outcome = apply(RULE, TEXT.format(sum="q = Add(item2, bias) t = Add(p, q) u = Add(t, q) y = Add(u, s)"))
    assert outcome.times == 1
    assert apply(RULE, TEXT.format(sum="t = Add(p, p) y = Add(t, s)")).times == 0
    assert apply(RULE, TEXT.format(sum="t = Add(s, s) y = Add(t, p)")).times == 0


def test_other_rows() -> None:
    text = TEXT.replace("score (", "score (float[B,6,3] user2, ").replace("MatMul(user, c)", "MatMul(user2, c)")
    assert apply(RULE, text.format(sum="y = Add(p, s)")).times == 0


def test_rows_that_may_be_infinite() -> None:
    """They give no number with weights of either sign, and are infinite with their sum."""
    text = TEXT.replace("p = MatMul(user, a)", "rows = Div(user, user) p = MatMul(rows, a)")
    assert apply(RULE, text.replace("MatMul(user, c)", "MatMul(rows, c)").format(sum="y = Add(p, s)")).times == 0
