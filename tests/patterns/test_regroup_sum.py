"""(x + u) + v = x + (u + v)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply, typed

RULE = "regroup-sum"


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outer", ["s, user2", "user2, s"])
@pytest.mark.parametrize("inner", ["item, user", "user, item"])
def test_in_every_order(inner: str, outer: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3] item, float[B,3] user, float[B,3] user2) => (float[B,3] y) {{
            s = Add({inner})
            y = Add({outer})
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"Add": 2}
    assert sorted(outcome.size_of(node.output[0])[0] == 1 for node in outcome.of("Add")) == [False, True]


def test_a_constant_counts() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[B,3] user) => (float[B,3] y) <float[3] w> {
            s = Add(item, w)
            y = Add(s, user)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"Add": 2}


def test_two_constants() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[B,3] user) => (float[B,3] y, float[B,3] z) <float[3] w, float[3] v> {
            s = Add(item, w)
            y = Add(s, v)
            z = Mul(item, user)
        }""",
    )
    assert outcome.times == 1


def test_the_bias_of_a_gemm() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[B,4] user) => (float[B,4] y) <float[3,4] w, float[4] c> {
            g = Gemm<alpha = 0.5>(item, w, c)
            y = Add(g, user)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"Gemm": 1, "Add": 1}


def test_a_long_sum_ends_in_one() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[B,3] user, float[B,3] user2, float[3] w) => (float[B,3] y) <float[3] v> {
            a = Add(item, user)
            b = Add(a, v)
            c = Add(b, user2)
            y = Add(c, w)
        }""",
    )
    assert outcome.times >= 3
    assert sum(outcome.size_of(node.output[0]) == (outcome.size_of("item")) for node in outcome.of("Add")) == 1


def test_rows_of_all_candidates_one_after_the_other() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] item, float[B,3,4] user) => (float[M,4] y)
        <float[2,4] w, float[4] b, int64[2] two = {-1, 2}, int64[2] four = {-1, 4}> {
            i = Reshape(item, two)
            u = Reshape(user, four)
            g = Gemm(i, w, b)
            y = Add(g, u)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["Tile"] == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Sub", "Mul", "Max", "Div"])
def test_not_for_other_operators(op: str) -> None:
    text = f"""score (float[B,3] item, float[B,3] user, float[B,3] user2) => (float[B,3] y) {{
        s = {op}(item, user)
        y = Add(s, user2)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_where_the_inner_sum_is_an_output() -> None:
    text = """score (float[B,3] item, float[B,3] user, float[B,3] user2) => (float[B,3] y, float[B,3] s) {
        s = Add(item, user)
        y = Add(s, user2)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_the_inner_sum_has_another_reader() -> None:
    text = """score (float[B,3] item, float[B,3] user, float[B,3] user2) => (float[B,3] y, float[B,3] z) {
        s = Add(item, user)
        y = Add(s, user2)
        z = Relu(s)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_both_summands_are_those_of_items() -> None:
    text = """score (float[B,3] item, float[B,3] item2, float[B,3] user) => (float[B,3] y) {
        s = Add(item, item2)
        y = Add(s, user)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_the_outer_one_is_that_of_items() -> None:
    text = """score (float[B,3] item, float[B,3] item2, float[B,3] user) => (float[B,3] y) {
        s = Add(item, user)
        y = Add(s, item2)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize(("beta", "bias"), [(2.0, True), (0.0, True), (1.0, False)])
def test_not_into_a_bias_that_is_scaled_or_missing(beta: float, bias: bool) -> None:
    text = f"""score (float[B,3] item, float[B,4] user) => (float[B,4] y) <float[3,4] w, float[4] c> {{
        g = Gemm<beta = {beta}>(item, w{", c" if bias else ""})
        y = Add(g, user)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_the_bias_of_each_item() -> None:
    text = """score (float[B,3] item, float[B,4] item2, float[B,4] user) => (float[B,4] y) <float[3,4] w> {
        g = Gemm(item, w, item2)
        y = Add(g, user)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_a_gemm_would_get_a_wider_bias() -> None:
    """Gemm does not stretch its result to its bias: [B, 1] + [4] has four columns, and rank 3 is no bias at all."""
    for other, result in (("float[4] v", "float[B,4] y"), ("float[2,1,1] v", "float[2,B,1] y")):
        text = f"""score (float[B,3] item, float[B,1] user) => ({result}) <float[3,1] w, float[1] c, {other}> {{
            g = Gemm(item, w, c)
            unused = Add(g, user)
            y = Add(g, v)
        }}"""
        assert apply(RULE, text).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------

SHAPES = [["B", 3], ["B", 1], [1, 3], [3], [], [1], ["B", 2, 3], ["B", 1, 1]]


@given(
    user=st.sampled_from([s for s in SHAPES if "B" in s]),
    other=st.sampled_from([s for s in SHAPES if "B" not in s]),
    item=st.sampled_from([["B", 3], ["B", 2, 3], ["B", 2, 1]]),
    flip=st.booleans(),
)
def test_any_sum(user: list[object], other: list[object], item: list[object], flip: bool) -> None:
    sizes = [[7 if d == "B" else int(str(d)) for d in shape] for shape in (user, other, item)]
    try:
        total = np.broadcast_shapes(*sizes)
    except ValueError:
        return
    if len({len(s) for s in (user, item)}) > 1:
        return  # B would meet another axis
    result = ["B" if d == 7 else d for d in total]
    first, second = ("other", "user") if flip else ("user", "other")
    outcome = apply(
        RULE,
        f"""score ({typed("float", user)} user, {typed("float", item)} item, {typed("float", other)} other)
        => ({typed("float", result)} y) {{
            s = Add({first}, item)
            y = Add({second}, s)
        }}""",
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == 1


def test_every_pair_of_orders_of_three() -> None:
    for names in itertools.permutations(["user", "item", "w"]):
        outcome = apply(
            RULE,
            f"""score (float[B,3] user, float[B,3] item) => (float[B,3] y) <float[3] w> {{
                s = Add({names[0]}, {names[1]})
                y = Add(s, {names[2]})
            }}""",
        )
        assert outcome.times == (0 if names[2] == "item" else 1)
