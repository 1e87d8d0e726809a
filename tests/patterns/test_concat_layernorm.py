"""LN([u, i]) = [z r, r] [G; (u - mean(u)) G_u] + b."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, requests, rule_named, session, sides_of, typed

RULE = "concat-layernorm"


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize("parts", ["item, user", "user, item", "user, item, user2", "item, user, user2, item2"])
def test_every_order(parts: str, bias: str, opset: int) -> None:
    width = 3 * len(parts.split())
    outcome = apply(
        RULE,
        f"""score (float[B,3] item, float[B,3] user, float[B,3] user2, float[B,3] item2) => (float[B,{width}] y)
        <float[{width}] g, float[{width}] b> {{
            c = Concat<axis = -1>({parts})
            y = LayerNormalization<epsilon = 0.001>(c, g{bias})
        }}""",
        opset=opset,
        exact=False,
    )
    assert outcome.times == 1
    assert not outcome.of("LayerNormalization")


def test_a_product_behind_it() -> None:
    """Nothing as wide as user and item together is left."""
    outcome = apply(
        [rule_named(RULE), rule_named("chained-products")],
        """score (float[B,9] user, float[B,2] item) => (float[B,4] y)
        <float[11] g, float[11] b, float[11,4] w, float[4] c> {
            x = Concat<axis = 1>(user, item)
            n = LayerNormalization(x, g, b)
            y = Gemm(n, w, c)
        }""",
        exact=False,
    )
    assert [a.rule for a in outcome.applied] == [RULE, "chained-products"]
    sizes = [outcome.size_of(n.output[0]) for n in outcome.result.graph.node]
    assert not [s for s in sizes if s and str(s[0]) == "B" and s[1] > 4]


CENTRED = """c = Concat<axis = 1>(user, item) mean = ReduceMean<axes = [1]>(c) d = Sub(c, mean) q = Mul(d, d)
    v = ReduceMean<axes = [-1]>(q) w = Add(v, e) """
ROOT = "t = Sqrt(w) r = Reciprocal(t) "

WRITTEN_OUT = {
    "PyTorch": "t = Sqrt(w) n = Div(d, t) s = Mul(n, g) y = Add(s, b)",
    "PyTorch, a power": "p = Pow(d, two) u = ReduceMean<axes = [1]>(p) z = Add(u, e) t = Sqrt(z) n = Div(d, t) "
    "s = Mul(n, g) y = Add(s, b)",
    "no shift": "t = Sqrt(w) n = Div(d, t) y = Mul(g, n)",
    "nothing but the steps": "t = Sqrt(w) y = Div(d, t)",
    "Flax": "k = Mul(c, c) l = ReduceMean<axes = [1]>(k) m = Mul(mean, mean) o = Sub(l, m) p = Max(zero, o) "
    "z = Add(p, e) t = Sqrt(z) n = Div(d, t) s = Mul(n, g) y = Add(s, b)",
    "Flax, one factor": "k = Mul(c, c) l = ReduceMean<axes = [1]>(k) m = Mul(mean, mean) o = Sub(l, m) z = Add(o, e) "
    "t = Sqrt(z) r = Reciprocal(t) f = Mul(g, r) s = Mul(d, f) y = Add(s, b)",
    "the difference of another mean": "m = ReduceMean<axes = [1]>(c) k = Sub(c, m) " + ROOT + "f = Mul(r, g) "
    "s = Mul(k, f) y = Add(b, s)",
    "JAX": ROOT + "f = Mul(r, g) s = Mul(d, f) y = Add(b, s)",
    "a power of -0.5": "r = Pow(w, half) f = Mul(g, r) s = Mul(f, d) y = Add(b, s)",
    "one over the root": "t = Sqrt(w) r = Div(one, t) f = Mul(g, r) s = Mul(f, d) y = Add(b, s)",
    "TensorFlow": ROOT + "f = Mul(r, g) s = Mul(c, f) m = Mul(mean, f) o = Sub(b, m) y = Add(s, o)",
    "a sum of squares over how many": "u = ReduceSumSquare<axes = [1]>(d) p = Div(u, six) z = Add(p, e) t = Sqrt(z) "
    "y = Div(d, t)",
    "Keras 3": ROOT + "f = Mul(r, g) s = Mul(c, f) k = Neg(mean) m = Mul(k, f) o = Add(m, b) y = Add(s, o)",
    "Keras 3, no shift": ROOT + "f = Mul(r, g) s = Mul(c, f) k = Neg(mean) m = Mul(f, k) y = Add(m, s)",
}


def written_out(steps: str, opset: int = 13, row: str = "6", epsilon: tuple[int, ...] = ()) -> Outcome:
    return apply(
        RULE,
        f"score (float[B,4] user, float[B,2] item) => (float[B,6] y) <float[{row}] g, float[{row}] b> "
        f"{{ {CENTRED} {steps} }}",
        opset=opset,
        exact=False,
        e=np.full(epsilon, 0.25, np.float32),
        two=np.float32(2),
        half=np.float32(-0.5),
        one=np.float32(1),
        zero=np.float32(0),
        six=np.float32(6),
    )


@pytest.mark.parametrize("row", ["6", "1,6"])
@pytest.mark.parametrize("steps", WRITTEN_OUT.values(), ids=WRITTEN_OUT)
def test_steps_that_it_is_written_out_in(steps: str, row: str) -> None:
    outcome = written_out(steps, row=row)
    assert outcome.times == 1
    assert not outcome.ops["ReduceMean"] - 1  # the user's own


@pytest.mark.parametrize(
    "steps",
    [
        # another value than the one that was normalised
        ROOT + "f = Mul(r, g) x = Abs(c) s = Mul(x, f) m = Mul(mean, f) o = Sub(b, m) y = Add(s, o)",
        # the mean of something else
        ROOT + "f = Mul(r, g) s = Mul(c, f) m = Mul(v, f) o = Sub(b, m) y = Add(s, o)",
        # added, not subtracted
        ROOT + "f = Mul(r, g) s = Mul(c, f) m = Mul(mean, f) o = Add(b, m) y = Add(s, o)",
        # another factor for the mean
        ROOT + "f = Mul(r, g) h = Mul(r, b) s = Mul(c, f) m = Mul(mean, h) o = Sub(b, m) y = Add(s, o)",
        # the variance of something else
        "x = Abs(d) p = Mul(x, d) u = ReduceMean<axes = [1]>(p) z = Add(u, e) t = Sqrt(z) y = Div(d, t)",
        # less the mean, not its square
        "k = Mul(c, c) l = ReduceMean<axes = [1]>(k) o = Sub(l, mean) z = Add(o, e) t = Sqrt(z) y = Div(d, t)",
        # less the square of another mean
        "k = Mul(c, c) l = ReduceMean<axes = [1]>(k) m = Mul(v, v) o = Sub(l, m) z = Add(o, e) t = Sqrt(z) "
        "y = Div(d, t)",
        # at least one
        "p = Max(v, one) z = Add(p, e) t = Sqrt(z) y = Div(d, t)",
        # not a root
        "y = Div(d, w)",
        # another power
        "r = Pow(w, two) y = Mul(d, r)",
        # the sum of squares
        "p = ReduceSumSquare<axes = [1]>(d) z = Add(p, e) t = Sqrt(z) y = Div(d, t)",
        # the mean over all rows
        "p = ReduceMean<axes = [0, 1]>(q) z = Add(p, e) t = Sqrt(z) y = Div(d, t)",
    ],
)
def test_steps_of_something_else(steps: str) -> None:
    assert written_out(steps).times == 0


@pytest.mark.parametrize(("epsilon", "times"), [((1,), 1), ((1, 1), 1), ((6,), 0), ((1, 1, 1), 0)])
def test_shapes_of_what_is_added_to_the_variance(epsilon: tuple[int, ...], times: int) -> None:
    """A rule that came before may have given it the rank of the variance; one number for each column is another sum."""
    steps = WRITTEN_OUT["PyTorch"].replace("y = Add(s, b)", "z = Add(s, b) y = Reshape(z, back)")
    assert written_out("back = Constant<value_ints = [-1, 6]>() " + steps, epsilon=epsilon).times == times


def test_a_product_behind_the_steps() -> None:
    """Before operator set 17 nothing else is known of a normalization than its steps."""
    outcome = apply(
        [rule_named(RULE), rule_named("chained-products")],
        f"""score (float[B,4] user, float[B,2] item) => (float[B,3] y) <float[6] g, float[6] b, float[6,3] u> {{
            {CENTRED} {ROOT} f = Mul(r, g) s = Mul(c, f) k = Neg(mean) m = Mul(k, f) o = Add(m, b) n = Add(s, o)
            y = MatMul(n, u)
        }}""",
        opset=11,
        exact=False,
        e=np.float32(0.25),
    )
    assert [a.rule for a in outcome.applied] == [RULE, "chained-products"]


def test_tokens_of_the_item_beside_one_row_of_the_user() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,3] user, float[B,1,2] item) => (float[B,1,5] y) <float[5] g, float[5] b> {
            c = Concat<axis = 2>(user, item)
            y = LayerNormalization(c, g, b)
        }""",
        exact=False,
    )
    assert outcome.times == 1


def test_numbers_far_from_zero() -> None:
    """Squares are of differences from a mean: E[x^2] - E[x]^2 would lose all digits here."""
    model = model_of(
        """score (float[B,40] user, float[B,8] item) => (float[B,48] y)
        <float[48] g, float[48] b, float shift = {4096}> {
            u = Add(user, shift)
            i = Add(item, shift)
            c = Concat<axis = 1>(u, i)
            y = LayerNormalization(c, g, b)
        }""",
        g=np.ones(48, np.float32),
        b=np.zeros(48, np.float32),
    )
    outcome = apply(RULE, model, exact=False, batches=())
    assert outcome.times == 1
    full, single = requests(model, sides_of(model), 7)
    expected = session(model).run(None, full)[0]
    found = session(outcome.result).run(None, single)[0]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_columns_that_are_all_the_same() -> None:
    """The variance is zero: epsilon alone stands under the root."""
    outcome = apply(
        RULE,
        """score (float[B,4] user, float[B,4] item) => (float[B,8] y) <float[8] g, float[8] b, float zero = {0}> {
            u = Mul(user, zero)
            i = Mul(item, zero)
            c = Concat<axis = 1>(u, i)
            y = LayerNormalization(c, g, b)
        }""",
        exact=False,
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_along_another_axis() -> None:
    text = """score (float[B,2,3] user, float[B,2,3] item) => (float[B,4,3] y) <float[3] g> {
        c = Concat<axis = 1>(user, item)
        y = LayerNormalization(c, g)
    }"""
    assert apply(RULE, text, exact=False).times == 0


def test_not_over_several_axes() -> None:
    text = """score (float[B,2,3] user, float[B,2,3] item) => (float[B,2,6] y) <float[2,6] g> {
        c = Concat<axis = 2>(user, item)
        y = LayerNormalization<axis = 1>(c, g)
    }"""
    assert apply(RULE, text, exact=False).times == 0


def test_not_where_the_statistics_are_read() -> None:
    text = """score (float[B,3] user, float[B,3] item) => (float[B,6] y, float[B,1] m) <float[6] g, float[6] b> {
        c = Concat<axis = 1>(user, item)
        y, m = LayerNormalization(c, g, b)
    }"""
    assert apply(RULE, text, exact=False).times == 0


def test_not_where_the_scale_is_an_input() -> None:
    text = """score (float[B,3] user, float[B,3] item, float[6] g) => (float[B,6] y) {
        c = Concat<axis = 1>(user, item)
        y = LayerNormalization(c, g)
    }"""
    outcome = apply(RULE, text, exact=False)
    assert outcome.times == 0
    assert outcome.reasons == {"the scale is not a constant row"}


def test_not_where_the_user_has_tokens() -> None:
    text = """score (float[B,4,3] user, float[B,4,3] item) => (float[B,4,6] y) <float[6] g> {
        c = Concat<axis = 2>(user, item)
        y = LayerNormalization(c, g)
    }"""
    outcome = apply(RULE, text, exact=False)
    assert outcome.times == 0
    assert outcome.reasons == {"the user's columns differ from token to token"}


@pytest.mark.parametrize("second", ["n2 = Relu(n) y = MatMul(n2, w)", "y = MatMul(n, w)"])
def test_kept_only_with_a_product_behind_it(second: str) -> None:
    model = model_of(
        f"""score (float[B,300] user, float[B,20] item) => (float[B,64] y) <float[320] g, float[320,64] w> {{
            c = Concat<axis = 1>(user, item)
            n = LayerNormalization(c, g)
            {second}
        }}"""
    )
    workspace = at_work(model, sides_of(model))
    applied = {a.rule for a in rewrite(workspace, RULES, CostModel()).applied}
    assert (RULE in applied) == ("Relu" not in second)


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    parts=st.lists(st.tuples(st.sampled_from(["user", "item"]), st.integers(0, 4)), min_size=2, max_size=5),
    tokens=st.booleans(),
    bias=st.booleans(),
)
def test_any_parts(parts: list[tuple[str, int]], tokens: bool, bias: bool) -> None:
    sides = {side for side, size in parts if size}
    if len(sides) < 2:
        return
    lead = ["B", 1] if tokens else ["B"]
    width = sum(size for _, size in parts)
    names = [f"{side}{index}" for index, (side, _) in enumerate(parts)]
    inputs = [f"{typed('float', [*lead, size])} {n}" for n, (_, size) in zip(names, parts, strict=True)]
    outcome = apply(
        RULE,
        f"""score ({", ".join(inputs)}) => ({typed("float", [*lead, width])} y) <float[{width}] g, float[{width}] b> {{
            c = Concat<axis = -1>({", ".join(names)})
            y = LayerNormalization<epsilon = 0.01>(c, g{", b" if bias else ""})
        }}""",
        exact=False,
    )
    assert outcome.times == 1
