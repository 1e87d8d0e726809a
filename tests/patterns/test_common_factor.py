"""sum_p (y u_p) W_p = y (sum_p diag(u_p) W_p)"""

from __future__ import annotations

import pytest

from mari_onnx.patterns import RULES
from tests.patterns.support import Outcome, apply, model_of

RULE = "common-factor"


def text(body: str, columns: int, *, user: str = "B,4", weights: str = "", turned: bool = False) -> str:
    weight = f"5,{columns}" if turned else f"{columns},5"
    return f"""score (float[{user}] user, float[{user}] user_z, float[B,4] item, float[B,4] item_z) => (float[B,5] y)
        <float[{weight}] w, float[5] c, int64[2] flat = {{0, -1}} {weights}> {{ {body} }}"""


def widest(outcome: Outcome) -> int:
    """The columns of the widest matrix that a product reads for each candidate."""
    nodes = [*outcome.of("MatMul"), *outcome.of("Gemm")]
    sizes = [outcome.size_of(n.input[0]) for n in nodes]
    return max(int(size[1]) for size in sizes if len(size) == 2 and not isinstance(size[0], int))


@pytest.mark.parametrize("order", ["item, m", "m, item", "m, item_z, item", "item, item_z, m, item_z"])
@pytest.mark.parametrize("product", ["user, item", "item, user"])
def test_a_row_and_its_product_with_the_user(order: str, product: str) -> None:
    columns = 4 * (order.count(",") + 1)
    body = f"m = Mul({product}) x = Concat<axis=1>({order}) y = MatMul(x, w)"
    outcome = apply(RULE, text(body, columns))
    assert outcome.times == 1
    assert widest(outcome) == max(4, columns - 8)


@pytest.mark.parametrize("turned", [False, True])
def test_products_with_several_rows_of_the_user(turned: bool) -> None:
    body = f"""m = Mul(user, item) n = Mul(item, user_z) k = Mul(m, user_z)
        x = Concat<axis=1>(m, n, item, k) y = Gemm<transB={int(turned)}>(x, w, c)"""
    outcome = apply(RULE, text(body, 16, turned=turned))
    assert outcome.times == 1
    assert widest(outcome) == 4


def test_two_rows_of_the_item() -> None:
    body = """m = Mul(user, item) n = Mul(user, item_z) p = Mul(item, item_z)
        x = Concat<axis=-1>(item_z, m, p, n, item) y = MatMul(x, w)"""
    outcome = apply(RULE, text(body, 20))
    assert outcome.times == 1
    assert widest(outcome) == 8


def test_rows_of_larger_values() -> None:
    """All fields of the user times one of the item, and laid out flat."""
    body = """i = Unsqueeze(item, one) m = Mul(user, i) n = Mul(i, user_z) k = Slice(m, one, two, one)
        a = Concat<axis=1>(n, i, k, m) x = Reshape(a, flat) y = MatMul(x, w)"""
    weights = ", int64[1] one = {1}, int64[1] two = {2}"
    outcome = apply(RULE, text(body, 32, user="B,3,4", weights=weights))
    assert outcome.times == 1
    assert widest(outcome) == 4


def test_columns_that_are_cut_are_rows_of_their_own() -> None:
    body = """p, q = Split<axis=1>(item) m, n = Split<axis=1>(user) k = Mul(p, n)
        x = Concat<axis=1>(k, q, p) y = MatMul(x, w)"""
    outcome = apply(RULE, text(body, 6))
    assert outcome.times == 1
    assert widest(outcome) == 2


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        ("m = Mul(user, item) x = Concat<axis=1>(m, item_z) y = MatMul(x, w)", 8),
        ("x = Concat<axis=1>(item, item) y = MatMul(x, w)", 8),
        ("m = Mul(item, item_z) x = Concat<axis=1>(m, item) y = MatMul(x, w)", 8),
        ("m = Add(user, item) x = Concat<axis=1>(m, item) y = MatMul(x, w)", 8),
        ("m = Mul(user, item) x = Concat<axis=1>(m, item) y = Gemm<alpha=2.0>(x, w)", 8),
        (
            """p, q = Split<axis=1>(item) m, n = Split<axis=1>(user) k = Mul(p, n)
            x = Concat<axis=1>(k, q) y = MatMul(x, w)""",
            4,
        ),
    ],
)
def test_not_where_no_row_occurs_twice(body: str, columns: int) -> None:
    assert apply(RULE, text(body, columns)).times == 0


@pytest.mark.parametrize(
    "body",
    [
        "r = Reciprocal(user) m = Mul(r, item) x = Concat<axis=1>(m, item)",
        "r = Reciprocal(item) m = Mul(user, r) x = Concat<axis=1>(m, r)",
    ],
)
def test_not_with_what_may_be_infinite(body: str) -> None:
    assert apply(RULE, text(f"{body} y = MatMul(x, w)", 8), exact=False).times == 0


def test_it_pays_with_all_rules() -> None:
    """A field of the item times each of the user's, and a network over all."""
    model = model_of(
        """score (float[B,20,32] user, float[B,32] item) => (float[B,64] y)
        <float[640,64] w, int64[1] one = {1}, int64[2] flat = {0, -1}> {
            i = Unsqueeze(item, one) m = Mul(user, i) x = Reshape(m, flat) y = MatMul(x, w)
        }"""
    )
    outcome = apply(RULES, model)
    assert RULE in {a.rule for a in outcome.applied}
