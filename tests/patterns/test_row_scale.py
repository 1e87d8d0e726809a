"""(s x) W = s (x W)."""

from __future__ import annotations

import numpy as np
import pytest

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, rule_named, sides_of

RULE = "row-scale"
SPLIT = [rule_named(RULE), rule_named("split-product")]

# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaled", ["Mul(x, item_s)", "Mul(item_s, x)", "Div(x, item_s)"])
@pytest.mark.parametrize("product", ["MatMul(n, w)", "Gemm(n, w, c)", "Gemm<alpha = 2.0>(n, w)"])
def test_numbers_of_rows(scaled: str, product: str) -> None:
    outcome = apply(
        SPLIT,
        f"""score (float[B,9] user, float[B,2] item, float[B,1] item_s0) => (float[B,4] y)
        <float[11,4] w, float[4] c, float half = {{0.5}}> {{
            item_s = Add(item_s0, half)
            x = Concat<axis = 1>(user, item)
            n = {scaled}
            y = {product}
        }}""",
        exact=False,
    )
    assert [a.rule for a in outcome.applied] == [RULE, "split-product"]


@pytest.mark.parametrize("steps", ["n0 = Div(x, s) n = Mul(n0, g)", "n0 = Mul(x, g) n = Div(n0, s)"])
def test_columns_are_multiplied_first(steps: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,2,9] user, float[B,2,2] item, float[B,2,1] item_s) => (float[B,2,4] y)
        <float[11,4] w, float[11] g, float half = {{0.5}}> {{
            x = Concat<axis = 2>(user, item)
            a = Abs(item_s)
            s = Add(a, half)
            {steps}
            y = MatMul(n, w)
        }}""",
        exact=False,
    )
    assert outcome.times == 1


def test_several_numbers() -> None:
    outcome = apply(
        RULE,
        """score (float[B,9] user, float[B,2] item, float[B,1] item_s, float[B,1] item_t) => (float[B,4] y)
        <float[11,4] w> {
            x = Concat<axis = 1>(user, item)
            a = Mul(x, item_s)
            n = Mul(item_t, a)
            y = MatMul(n, w)
        }""",
    )
    assert outcome.times == 1


LENGTHS = {
    "sum of squares": "q = Mul(x, x) t = ReduceSum<keepdims = 1>(q, last) s = Sqrt(t) n = Div(x, s)",
    "length": "s = ReduceL2<axes = [-1], keepdims = 1>(x) n = Div(x, s)",
    "at least a little": "r = ReduceL2<axes = [-1], keepdims = 1>(x) s = Clip(r, half) n = Div(x, s)",
    "something added": "r = ReduceL1<axes = [-1], keepdims = 1>(x) s = Add(r, half) n = Div(x, s)",
    "a count and a fraction": "r = Cast<to = 1>(item_n) s = Add(r, half) n = Div(x, s)",
    "a count of at least one": "k = Max(item_n, one) s = Cast<to = 1>(k) n = Div(x, s)",
    "one over a count": "r = Cast<to = 1>(item_n) t = Add(r, half) s = Reciprocal(t) n = Mul(x, s)",
    "a gate": "t = Div(item_s, item_s) s = Sigmoid(t) n = Mul(x, s)",
}


@pytest.mark.parametrize("steps", LENGTHS.values(), ids=LENGTHS)
def test_nothing_infinite_is_moved(steps: str) -> None:
    """Rows of zeros, which are divided by their own length of 0, are no numbers on either side of the product."""
    assert divided(steps).times == 1


DIVISORS = {
    "a number": "n = Div(x, item_s)",
    "a count": "s = Cast<to = 1>(item_n) n = Div(x, s)",
    "the sum of what has any sign": "s = ReduceSum<keepdims = 1>(x, last) n = Div(x, s)",
    "the length of something else": "s = ReduceL2<axes = [-1], keepdims = 1>(item) n = Div(x, s)",
    "one over a count": "r = Cast<to = 1>(item_n) s = Reciprocal(r) n = Mul(x, s)",
    "a logarithm": "s = Log(item_s) n = Mul(x, s)",
    "a power": "e = Neg(half) s = Pow(item_s, e) n = Mul(x, s)",
    "an infinite constant": "z = Greater(item_s, half) s = Where(z, infinite, item_s) n = Mul(x, s)",
}


@pytest.mark.parametrize("steps", DIVISORS.values(), ids=DIVISORS)
def test_not_what_may_be_infinite(steps: str) -> None:
    """Infinite numbers of both signs are no number when they are added up; their sum divided by 0 is infinite."""
    assert divided(steps).times == 0


def test_not_without_columns(caplog: pytest.LogCaptureFixture) -> None:
    text = """score (float[B,0] user, float[B,0] item) => (float[B,4] y) <float[0,4] w> {
        x = Concat<axis = 1>(user, item) y = MatMul(x, w) }"""
    assert apply(RULE, text).times == 0
    assert not caplog.records


def divided(steps: str) -> Outcome:
    return apply(
        RULE,
        f"""score (float[B,4] user, float[B,2] item, float[B,1] item_s, int64[B,1] item_n) => (float[B,4] y)
        <float[6,4] w, float half = {{0.5}}, float infinite, int64 one = {{1}}, int64[1] last = {{-1}}> {{
            x = Concat<axis = 1>(user, item)
            {steps}
            y = MatMul(n, w)
        }}""",
        exact=False,
        infinite=np.array(np.inf, np.float32),
    )


def test_rms_norm_in_single_operators() -> None:
    """The product becomes one of the user's and one of the items'."""
    model = model_of(
        """score (float[B,300] user, float[B,20] item) => (float[B,64] y)
        <float[320] g, float[320,64] w, float two = {2}, float eps = {0.00001}> {
            x = Concat<axis = 1>(user, item)
            p = Pow(x, two)
            m = ReduceMean<axes = [-1]>(p)
            e = Add(m, eps)
            r = Sqrt(e)
            d = Div(x, r)
            n = Mul(d, g)
            y = MatMul(n, w)
        }"""
    )
    workspace = at_work(model, sides_of(model))
    applied = {a.rule for a in rewrite(workspace, RULES, CostModel()).applied}
    assert {RULE, "split-product", "concat-reduce"} <= applied
    wide = [n for n in workspace.graph.nodes if workspace.fact(n.output).shape[-1:] == (320,)]  # type: ignore[index]
    assert not [n for n in wide if workspace.fact(n.output).varies]


@pytest.mark.parametrize("parts", ["item, user", "user, item", "user, item, user2", "item, user, user2, item2"])
@pytest.mark.parametrize("tokens", ["", "2,"])
@pytest.mark.parametrize("axis", ["", ", axis = -1"])
def test_rms_norm(parts: str, tokens: str, axis: str) -> None:
    width = 3 * len(parts.split())
    given = ", ".join(f"float[B,{tokens}3] {name}" for name in ("item", "user", "user2", "item2"))
    outcome = apply(
        SPLIT,
        f"""score ({given}) => (float[B,{tokens}4] y) <float[{width}] g, float[{width},4] w> {{
            c = Concat<axis = -1>({parts})
            n = RMSNormalization<epsilon = 0.001{axis}>(c, g)
            y = MatMul(n, w)
        }}""",
        opset=23,
        exact=False,
    )
    assert [a.rule for a in outcome.applied] == [RULE, "split-product"]
    assert not outcome.of("RMSNormalization")


def test_rms_norm_of_zeros() -> None:
    """Epsilon alone stands under the root."""
    outcome = apply(
        RULE,
        """score (float[B,4] user, float[B,4] item) => (float[B,2] y) <float[8] g, float zero = {0}, float[8,2] w> {
            u = Mul(user, zero)
            i = Mul(item, zero)
            c = Concat<axis = 1>(u, i)
            n = RMSNormalization(c, g)
            y = MatMul(n, w)
        }""",
        opset=23,
        exact=False,
    )
    assert outcome.times == 1


def test_where_the_parts_were_scaled_one_by_one() -> None:
    outcome = apply(
        RULE,
        """score (float[B,9] user, float[B,2] item, float[B,1] item_s) => (float[B,4] y)
        <float[11,4] w, float[9] g, float[2] h> {
            u = Mul(user, item_s)
            ug = Mul(u, g)
            i = Mul(item, item_s)
            ih = Mul(i, h)
            x = Concat<axis = 1>(ug, ih)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scaled", "extra"),
    [
        ("Div(item_s, x)", "float[B,1] item_s"),
        ("Mul(x, item_s)", "float[B,11] item_s"),
        ("Mul(x, user_s)", "float[B,1] user_s"),
        ("Add(x, item_s)", "float[B,1] item_s"),
    ],
)
def test_not_what_is_no_number_for_each_row(scaled: str, extra: str) -> None:
    text = f"""score (float[B,9] user, float[B,2] item, {extra}) => (float[B,4] y) <float[11,4] w> {{
        x = Concat<axis = 1>(user, item)
        n = {scaled}
        y = MatMul(n, w)
    }}"""
    assert apply(RULE, text, exact=False, batches=() if "Div" in scaled else (1, 2, 7)).times == 0


def test_not_where_all_is_the_items() -> None:
    text = """score (float[B,9] item, float[B,1] item_s) => (float[B,4] y) <float[9,4] w> {
        n = Mul(item, item_s)
        y = MatMul(n, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_parts_have_numbers_of_their_own() -> None:
    text = """score (float[B,9] user, float[B,2] item, float[B,1] item_s, float[B,1] item_t) => (float[B,4] y)
    <float[11,4] w> {
        u = Mul(user, item_s)
        i = Mul(item, item_t)
        x = Concat<axis = 1>(u, i)
        y = MatMul(x, w)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("axis", [1, -2])
def test_not_rms_norm_over_several_axes(axis: int) -> None:
    text = f"""score (float[B,4,4] user, float[B,4,4] item) => (float[B,4,2] y) <float[4,8] g, float[8,2] w> {{
        c = Concat<axis = 2>(user, item)
        n = RMSNormalization<axis = {axis}>(c, g)
        y = MatMul(n, w)
    }}"""
    assert apply(RULE, text, opset=23, exact=False).times == 0


def test_kept_only_where_something_follows() -> None:
    model = model_of(
        """score (float[B,2] user, float[B,300] item, float[B,1] item_s) => (float[B,302] y) <float[302,302] w> {
            x = Concat<axis = 1>(user, item)
            n = Mul(x, item_s)
            y = MatMul(n, w)
        }"""
    )
    workspace = at_work(model, sides_of(model))
    applied = {a.rule for a in rewrite(workspace, [rule_named(RULE)], CostModel()).applied}
    assert RULE not in applied


def test_a_weight_that_is_read_both_ways() -> None:
    text = """score (float[B,4] user, float[B,4] item, float[B,1] item_s) => (float[B,8] y, float[B,8] z)
        <float[8,8] w, float[8] g> {
            x = Concat<axis = 1>(user, item) s = Mul(x, item_s) n = Mul(s, g)
            y = MatMul(n, w) z = Gemm<transB = 1>(n, w)
        }"""
    assert apply(RULE, text, exact=False).times == 2


def test_a_weight_whose_rows_are_parted_in_two_ways() -> None:
    text = """score (float[B,4] user, float[B,2] item, float[B,2] user_2, float[B,4] item_2, float[B,1] item_s)
        => (float[B,5] y, float[B,5] z) <float[6,5] w, float[1] c> {
            s = Mul(user, item_s) a = Mul(s, c) b = Mul(item, item_s) x = Concat<axis = 1>(a, b) y = MatMul(x, w)
            s2 = Mul(user_2, item_s) a2 = Mul(s2, c) b2 = Mul(item_2, item_s) x2 = Concat<axis = 1>(a2, b2)
            z = MatMul(x2, w)
        }"""
    assert apply(RULE, text, exact=False).times == 2
