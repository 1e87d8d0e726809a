"""sum_ij u_i y_j W[(i, j), o] = sum_j y_j (sum_i u_i W[(i, j), o])."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of

RULE = "outer-layer"
AXES = "one = Constant<value_ints = [1]>() two = Constant<value_ints = [2]>() "
COLUMN_AND_ROW = AXES + "l = Unsqueeze({first}, two) r = Unsqueeze({second}, one) "
MUL = COLUMN_AND_ROW + "p = Mul(l, r)"
TURNED = COLUMN_AND_ROW + "p = Mul(r, l)"
MATMUL = COLUMN_AND_ROW + "p = MatMul(l, r)"
EINSUM = 'p = Einsum<equation = "bi,bj->bij">({first}, {second})'
EINSUM_TURNED = 'p = Einsum<equation = "bj,bi->bij">({second}, {first})'
EINSUM_SWAPPED = 'p = Einsum<equation = "bi,bj->bji">({first}, {second})'
GEMM = "y = Gemm(f, w, c)"


def layer(
    pairs: str = MUL,
    *,
    first: str = "user",
    second: str = "item",
    made: str = GEMM,
    weight: str = "12,5",
    more: str = "",
) -> Outcome:
    """Three entries of the user by four of the item, and a layer of five channels over the pairs."""
    return apply(
        RULE,
        f"""score (float[B,3] user, float[B,4] item, float[B,5] item_late) => (float[B,5] y{more})
        <float[{weight}] w, float[5] c> {{
            {pairs.format(first=first, second=second)} f = Flatten<axis = 1>(p) {made}
        }}""",
    )


@pytest.mark.parametrize("pairs", [MUL, TURNED, MATMUL, EINSUM, EINSUM_TURNED, EINSUM_SWAPPED])
@pytest.mark.parametrize(("first", "second"), [("user", "item"), ("item", "user")])
def test_the_users_vector_goes_into_the_weight(pairs: str, first: str, second: str) -> None:
    outcome = layer(pairs, first=first, second=second)
    assert outcome.times == 1
    assert "Mul" not in outcome.ops, "no pair is made"
    (gemm,) = outcome.of("Gemm")
    assert outcome.size_of(gemm.input[1]) == (4, 5)
    (once,) = outcome.of("MatMul")
    assert outcome.size_of(once.output[0]) == (1, 20), "the weight is multiplied once"


@pytest.mark.parametrize(
    ("made", "weight"),
    [
        ("y = MatMul(f, w)", "12,5"),
        ("y = Gemm(f, w)", "12,5"),
        ("y = Gemm<transB = 1, alpha = 2.0>(f, w, c)", "5,12"),
        ("y = Gemm(f, w, item_late)", "12,5"),
    ],
)
def test_a_layer_however_it_is_written(made: str, weight: str) -> None:
    assert layer(made=made, weight=weight).times == 1


def test_pairs_that_are_read_elsewhere_are_still_made() -> None:
    assert layer(more=", float[B,3,4] p").ops["Mul"] == 1


@pytest.mark.parametrize("order", ["user, item, item_too", "item, user, item_too", "item, item_too, user"])
def test_three_vectors(order: str) -> None:
    first, second, third = order.split(", ")
    outcome = apply(
        RULE,
        f"""score (float[B,2] user, float[B,3] item, float[B,4] item_too) => (float[B,5] y) <float[24,5] w> {{
            {MUL.format(first=first, second=second)} flat = Flatten<axis = 1>(p)
            left = Unsqueeze(flat, two) right = Unsqueeze({third}, one) pp = Mul(left, right)
            f = Flatten<axis = 1>(pp) y = MatMul(f, w)
        }}""",
    )
    assert outcome.times == 1
    (pairs,) = outcome.of("Mul")
    assert outcome.size_of(pairs.output[0])[1:] == (3, 4), "pairs of the items' vectors alone are left"


def test_two_vectors_of_the_user() -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,2] user, float[B,3] item, float[B,4] user_too) => (float[B,5] y) <float[24,5] w> {{
            {MUL.format(first="user", second="item")} flat = Flatten<axis = 1>(p)
            left = Unsqueeze(flat, two) right = Unsqueeze(user_too, one) pp = Mul(left, right)
            f = Flatten<axis = 1>(pp) y = MatMul(f, w)
        }}""",
    )
    assert outcome.times == 1
    (pairs,) = outcome.of("Mul")
    assert outcome.size_of(pairs.output[0]) == (1, 2, 4)


def test_rows_of_the_item() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,6,4] item) => (float[B,6,5] y) <float[12,5] w> {
            axes = Constant<value_ints = [1, 3]>() l = Unsqueeze(user, axes)
            two = Constant<value_ints = [2]>() r = Unsqueeze(item, two) p = Mul(l, r)
            flat = Constant<value_ints = [0, 6, 12]>() f = Reshape(p, flat) y = MatMul(f, w)
        }""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"first": "item", "second": "item", "weight": "16,5"},
        {"pairs": MUL.replace("Mul(l, r)", "Add(l, r)")},
        {"made": "y = Gemm<beta = 2.0>(f, w, c)"},
    ],
)
def test_what_stays(settings: dict[str, str]) -> None:
    assert layer(**settings).times == 0


def test_what_may_be_infinite_among_the_items_stays() -> None:
    """Pairs of either sign with it are added up to no number, and sums of the user's times it are infinite."""
    outcome = layer("share = Div(item, item) " + MUL, second="share")
    assert outcome.times == 0


def test_what_may_be_infinite_among_the_users_goes_into_the_weight() -> None:
    assert layer("share = Div(user, user) " + MUL, first="share").times == 1


def test_a_vector_for_each_row_of_the_user_stays() -> None:
    text = """score (float[B,6,3] user, float[B,4] item) => (float[B,6,5] y) <float[12,5] w> {
        three = Constant<value_ints = [3]>() l = Unsqueeze(user, three)
        axes = Constant<value_ints = [1, 2]>() r = Unsqueeze(item, axes) p = Mul(l, r)
        flat = Constant<value_ints = [0, 6, 12]>() f = Reshape(p, flat) y = MatMul(f, w)
    }"""
    assert apply(RULE, text).times == 0


def test_pairs_of_which_a_row_takes_several_stay() -> None:
    text = """score (float[B,3] user, float[B,4] item) => (float[B,2,5] y) <float[6,5] w> {
        one = Constant<value_ints = [1]>() two = Constant<value_ints = [2]>()
        l = Unsqueeze(user, two) r = Unsqueeze(item, one) p = Mul(l, r)
        flat = Constant<value_ints = [0, 2, 6]>() f = Reshape(p, flat) y = MatMul(f, w)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize(("candidates", "times"), [(512, 1), (8, 1), (1, 0)])
def test_kept_where_it_pays(candidates: int, times: int) -> None:
    """For one candidate the weight takes as long as before, and the pairs are made for another output all the same."""
    text = f"""score (float[B,32] user, float[B,32] item) => (float[B,64] y, float[B,32,32] p) <float[1024,64] w> {{
        {MUL.format(first="user", second="item")} f = Flatten<axis = 1>(p) y = MatMul(f, w)
    }}"""
    model = model_of(text)
    prices = CostModel(candidates=candidates)
    found = rewrite(at_work(model, sides_of(model)), [r for r in RULES if r.name == RULE], prices)
    assert len(found.applied) == times


@given(user=st.integers(1, 4), item=st.integers(1, 4), made=st.integers(1, 3), swapped=st.booleans())
def test_any_sizes(user: int, item: int, made: int, swapped: bool) -> None:
    first, second = ("item", "user") if swapped else ("user", "item")
    text = f"""score (float[B,{user}] user, float[B,{item}] item) => (float[B,{made}] y)
        <float[{user * item},{made}] w, float[{made}] c> {{
            {MUL.format(first=first, second=second)} f = Flatten<axis = 1>(p) y = Gemm(f, w, c)
        }}"""
    assert apply(RULE, text).times == 1
