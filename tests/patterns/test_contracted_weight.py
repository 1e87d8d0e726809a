"""sum_hm W[o, h, m] u_h y_m = sum_m (sum_h W[o, h, m] u_h) y_m."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, rule_named, sides_of

RULE = "contracted-weight"
EINSUM = 'p = Einsum<equation = "bhd,bmd->bhmd">({first}, {second})'
MUL = """two = Constant<value_ints = [2]>() one = Constant<value_ints = [1]>()
    l = Unsqueeze({first}, two) r = Unsqueeze({second}, one) p = Mul({factors})"""


def layer(
    pairs: str,
    *,
    first: str = "x",
    second: str = "item_y",
    order: str = "user, item",
    conv: str = "Conv<kernel_shape = [1]>(f, w, c)",
    channels: int = 20,
    more: str = "",
) -> Outcome:
    """Five rows of user and item paired with four of another value, and a layer of three channels over them."""
    made = pairs.format(first=first, second=second, factors="l, r")
    return apply(
        RULE,
        f"""score (float[B,3,6] user, float[B,2,6] item, float[B,4,6] item_y) => (float[B,3,6] y{more})
        <float[3,{channels},1] w, float[3] c> {{
            x = Concat<axis = 1>({order}) {made}
            flat = Constant<value_ints = [0, {channels}, 6]>() f = Reshape(p, flat) y = {conv}
        }}""",
        exact=False,
    )


@pytest.mark.parametrize("pairs", [EINSUM, MUL, MUL.replace("{factors}", "r, l")])
@pytest.mark.parametrize(("first", "second"), [("x", "item_y"), ("item_y", "x")])
@pytest.mark.parametrize("order", ["user, item", "item, user"])
def test_rows_of_the_user_go_into_the_weight(pairs: str, first: str, second: str, order: str) -> None:
    outcome = layer(pairs, first=first, second=second, order=order)
    assert outcome.times == 1
    (conv,) = outcome.of("Conv")
    assert outcome.size_of(conv.input[0])[1] == 8, "pairs with the items alone are left"
    sizes = [outcome.size_of(n.output[0]) for n in outcome.of("MatMul")]
    assert (1, 6, 12) in sizes, "the weight is multiplied with the user's rows once"


@pytest.mark.parametrize(
    "conv", ["Conv(f, w)", "Conv<group = 1, strides = [1], pads = [0, 0], dilations = [1]>(f, w, c)"]
)
def test_a_layer_with_or_without_a_bias(conv: str) -> None:
    assert layer(EINSUM, conv=conv).times == 1


COLUMNS_FIRST = """left = Transpose<perm = [0, 2, 1]>({first}) right = Transpose<perm = [0, 2, 1]>({second})
    three = Constant<value_ints = [3]>() two = Constant<value_ints = [2]>()
    l = Unsqueeze(left, three) r = Unsqueeze(right, two) p = MatMul(l, r)
    pairs = Constant<value_ints = [0, 6, 20]>() q = Reshape(p, pairs) t = Transpose<perm = [0, 2, 1]>(q)"""
"""Pairs as products of matrices of one column and one row, one for each column of the embedding."""


def columns_first(conv: str, *, first: str = "x", second: str = "item_y", pairs: str = COLUMNS_FIRST) -> Outcome:
    return apply(
        RULE,
        f"""score (float[B,3,6] user, float[B,2,6] item, float[B,4,6] item_y) => (float[B,3,6] y)
        <float[3,20,1] w, float[3,20,1,1] image, float[3] c> {{
            x = Concat<axis = 1>(user, item) {pairs.format(first=first, second=second)} {conv}
            whole = Constant<value_ints = [0, 3, 6]>() y = Reshape(z, whole)
        }}""",
        exact=False,
    )


LINE = "z = Conv(t, w, c)"
IMAGE = """wide = Constant<value_ints = [0, 20, 1, 6]>() i = Reshape(t, wide)
    z = Conv<kernel_shape = [1, 1], strides = [1, 1], pads = [0, 0, 0, 0]>(i, image, c)"""
TALL = IMAGE.replace("[0, 20, 1, 6]", "[0, 20, 6, 1]")


@pytest.mark.parametrize("conv", [LINE, IMAGE, TALL])
@pytest.mark.parametrize(("first", "second"), [("x", "item_y"), ("item_y", "x")])
def test_pairs_of_each_column_by_products_of_matrices(conv: str, first: str, second: str) -> None:
    outcome = columns_first(conv, first=first, second=second)
    assert outcome.times == 1
    (left,) = outcome.of("Conv")
    assert outcome.size_of(left.input[0])[1] == 8, "pairs with the items alone are left"


@pytest.mark.parametrize(
    ("conv", "pairs"),
    [
        (LINE, COLUMNS_FIRST.replace("p = MatMul(l, r)", "k = MatMul(l, r) p = Transpose<perm = [0, 1, 3, 2]>(k)")),
        (
            LINE,
            COLUMNS_FIRST.replace(
                "t = Transpose<perm = [0, 2, 1]>(q)", "s = Constant<value_ints = [0, 20, 6]>() t = Reshape(q, s)"
            ),
        ),
        (IMAGE.replace("[0, 20, 1, 6]", "[0, 20, 2, 3]"), COLUMNS_FIRST),
    ],
)
def test_other_orders_of_pairs_and_columns_stay(conv: str, pairs: str) -> None:
    assert columns_first(conv, pairs=pairs).times == 0


def test_all_rows_with_each_other() -> None:
    """The first layer of compressed interactions; the second operand is taken apart as well."""
    assert layer(EINSUM, second="x", channels=25).times == 2


def test_the_users_rows_alone_are_multiplied_once() -> None:
    text = """score (float[B,3,6] user, float[B,2,6] item) => (float[B,3,6] y) <float[3,25,1] w> {
        x = Concat<axis = 1>(user, item) p = Einsum<equation = "bhd,bmd->bhmd">(x, x)
        flat = Constant<value_ints = [0, 25, 6]>() f = Reshape(p, flat) y = Conv(f, w)
    }"""
    outcome = apply([rule_named(RULE), rule_named("concat-layout"), rule_named("split-product")], text, exact=False)
    assert (6, 1, 3) in [outcome.size_of(n.output[0]) for n in outcome.of("MatMul")]


@pytest.mark.parametrize(
    "settings",
    [
        {"conv": "Conv<kernel_shape = [1], strides = [1], pads = [0, 0], group = 1, dilations = [2]>(f, w)"},
        {"pairs": EINSUM.replace("->bhmd", "->bmhd")},
        {"pairs": EINSUM, "first": "item_y", "second": "item_y", "channels": 16},
        {"pairs": EINSUM, "more": ", float[B,5,4,6] p"},
    ],
)
def test_what_stays(settings: dict[str, object]) -> None:
    assert layer(**{"pairs": EINSUM, **settings}).times == 0  # type: ignore[arg-type]


def test_a_wider_kernel_stays() -> None:
    text = """score (float[B,3,6] user, float[B,2,6] item, float[B,4,6] item_y) => (float[B,3,6] y) <float[3,20,3] w> {
        x = Concat<axis = 1>(user, item) p = Einsum<equation = "bhd,bmd->bhmd">(x, item_y)
        flat = Constant<value_ints = [0, 20, 6]>() f = Reshape(p, flat) y = Conv<pads = [1, 1]>(f, w)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize(("candidates", "times"), [(512, 1), (1, 0)])
def test_kept_where_it_pays(candidates: int, times: int) -> None:
    text = f"""score (float[B,2,16] user, float[B,4,16] item, float[B,16,16] item_y) => (float[B,16,16] y)
        <float[16,96,1] w> {{
            x = Concat<axis = 1>(user, item) {MUL.format(first="x", second="item_y", factors="l, r")}
            flat = Constant<value_ints = [0, 96, 16]>() f = Reshape(p, flat) y = Conv(f, w)
        }}"""
    model = model_of(text)
    prices = CostModel(candidates=candidates)
    found = rewrite(at_work(model, sides_of(model)), [r for r in RULES if r.name == RULE], prices)
    assert len(found.applied) == times


@given(
    users=st.integers(1, 3),
    items=st.integers(1, 3),
    others=st.integers(1, 3),
    width=st.integers(1, 3),
    made=st.integers(1, 3),
)
def test_any_sizes(users: int, items: int, others: int, width: int, made: int) -> None:
    channels = (users + items) * others
    text = f"""score (float[B,{users},{width}] user, float[B,{items},{width}] item, float[B,{others},{width}] item_y)
        => (float[B,{made},{width}] y) <float[{made},{channels},1] w, float[{made}] c> {{
            x = Concat<axis = 1>(item, user) p = Einsum<equation = "bhd,bmd->bhmd">(item_y, x)
            flat = Constant<value_ints = [0, {channels}, {width}]>() f = Reshape(p, flat) y = Conv(f, w, c)
        }}"""
    assert apply(RULE, text, exact=False).times == 1


def test_what_may_be_infinite_is_paired_as_before() -> None:
    """With numbers of either sign it adds up to no number, with their sum it is infinite."""
    pairs = "ratio = Div(item_y, item_y) " + EINSUM
    assert layer(pairs, second="ratio").times == 0
