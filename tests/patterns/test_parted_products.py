"""pieces(x [V, W] + [b, c]) = x V + b, x W + c."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import mari_onnx
from tests.patterns.support import Outcome, apply, model_of, rule_named

RULE = "parted-products"

LAYER = """
    a = Neg(item)
    h = MatMul(a, w)
    s = Add(h, c)
    q, k, v = Split<axis = -1>(s, sizes)
"""
SIZES = np.array([2, 1, 3])


def parted(layer: str = LAYER, pick: str = "p = Gather<axis = 1>(q, last)", **weights: Any) -> Outcome:
    """The rule on a layer of five tokens that is cut in three, of which all are read."""
    given = {
        "w": np.arange(24, dtype=np.float32).reshape(4, 6) - 9,
        "c": np.arange(6, dtype=np.float32),
        "sizes": SIZES,
        "last": np.array([4]),
        **weights,
    }
    words = re.findall(r"\w+", layer + pick)
    used = {name: array for name, array in given.items() if name in words}
    return apply(
        RULE,
        f"""score (float[B,5,4] item) => (float[B,N,M] p, float[B,5,1] y, float[B,5,3] z) {{
            {layer}
            {pick}
            y = Abs(k)
            z = Abs(v)
        }}""",
        **used,
    )


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pick",
    [
        "p = Gather<axis = 1>(q, last)",
        "p = Gather<axis = -2>(q, last)",
        "front, p = Split<axis = 1>(q, rest)",
        "p = Slice(q, one, two, one)",
    ],
)
def test_each_piece_has_a_product(pick: str) -> None:
    more = {"rest": np.array([3, 2]), "one": np.array([1]), "two": np.array([2])}
    outcome = parted(pick=pick, **more)
    assert outcome.times == 1
    assert [outcome.size_of(n.output[0])[-1] for n in outcome.of("MatMul")] == [2, 1, 3]
    assert [outcome.size_of(n.output[0])[-1] for n in outcome.of("Add")] == [2, 1, 3]


@pytest.mark.parametrize("shape", [(6,), (1,), (), (5, 1), (5, 6), (1, 1, 6)])
@pytest.mark.parametrize("order", ["Add(h, c)", "Add(c, h)"])
def test_what_is_added(shape: tuple[int, ...], order: str) -> None:
    outcome = parted(
        LAYER.replace("Add(h, c)", order), c=np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    )
    assert outcome.ops["Add"] == 3


def test_two_biases_stay_in_their_order() -> None:
    layer = LAYER.replace("s = Add(h, c)", "t = Add(c, h) s = Add(t, d)")
    outcome = parted(layer, d=np.full((5, 1), 7, np.float32))
    assert outcome.ops["Add"] == 6


def test_a_layer_without_bias() -> None:
    outcome = parted(LAYER.replace("s = Add(h, c)", "").replace("(s, sizes)", "(h, sizes)"))
    assert (outcome.ops["MatMul"], outcome.ops["Split"]) == (3, 0)


def test_the_query_of_the_last_token_alone_is_made() -> None:
    """What picks it goes on to the layer that made the tokens, and keys and values stay one product."""
    text = """score (int64[B,30] user, float[B,1,16] item) => (float[B,1,16] y)
        <float[50,16] t, float[16,64] a, float[64,16] b, float[16,48] w, float[48] c, int64[3] sizes, int64[1] last> {
        e = Gather(t, user)
        x = Concat<axis = 1>(e, item)
        m = ReduceMean<axes = [1]>(x)
        n = Mul(x, m)
        g = MatMul(n, w)
        s = Add(g, c)
        q, k, v = Split<axis = 2>(s, sizes)
        kt = Transpose<perm = [0, 2, 1]>(k)
        z = MatMul(q, kt)
        p = Softmax<axis = -1>(z)
        o = MatMul(p, v)
        y = Gather<axis = 1>(o, last)
    }"""
    weights = {"sizes": np.array([16, 16, 16]), "last": np.array([30])}
    text = text.replace(", float[64,16] b", "").replace("float[16,64] a, ", "")
    model = model_of(text, **weights)
    built = mari_onnx.optimize(model, user_inputs=["user"])
    without = mari_onnx.optimize(model, user_inputs=["user"], disable=[RULE])
    assert RULE in built.report.rewrites
    assert built.report.after.flops < 0.8 * without.report.after.flops


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pick",
    [
        "p = Identity(q)",
        "f = Gather<axis = 1>(q, last) n = Neg(q) p = Add(f, n)",
        "p = Gather<axis = 2>(q, zero)",
        "p = Gather<axis = 1>(q, all)",
    ],
)
def test_pieces_of_which_all_rows_are_read(pick: str) -> None:
    assert parted(pick=pick, zero=np.array([0]), all=np.arange(5)[::-1].copy()).times == 0


@pytest.mark.parametrize(
    "layer",
    [
        LAYER.replace("h = MatMul(a, w)", "f = Neg(w) g = Shape(a) h = MatMul(a, a)"),
        LAYER.replace("s = Add(h, c)", "s = Mul(h, c)"),
        LAYER.replace("s = Add(h, c)", "s = Add(h, h)"),
        LAYER.replace("s = Add(h, c)", "s = Max(h, c)"),
    ],
)
def test_other_layers(layer: str) -> None:
    if "MatMul(a, a)" in layer:
        text = """score (float[B,6,6] item) => (float[B,2] p, float[B,6,4] y) <int64[2] sizes> {
            a = Neg(item)
            h = MatMul(a, a)
            q, y = Split<axis = 2>(h, sizes)
            last = Constant<value_int = 5>()
            p = Gather<axis = 1>(q, last)
        }"""
        assert apply(RULE, text, sizes=np.array([2, 4])).times == 0
    else:
        assert parted(layer).times == 0


def test_products_that_others_read() -> None:
    layer = LAYER.replace("s = Add(h, c)", "other = Neg(h) s = Add(h, c)")
    assert parted(layer, "f = Gather<axis = 1>(q, last) o = ReduceSum<keepdims = 1>(other) p = Add(f, o)").times == 0


def test_rows_that_are_cut_apart() -> None:
    text = """score (float[B,5,4] item) => (float[B,1] p, float[B,3,6] y) <float[4,6] w, int64[2] sizes> {
        h = MatMul(item, w)
        q, y = Split<axis = 1>(h, sizes)
        first = Constant<value_ints = [0]>()
        r = ReduceMax<axes = [2], keepdims = 0>(q)
        p = Gather<axis = 1>(r, first)
    }"""
    assert apply(RULE, text, sizes=np.array([2, 3])).times == 0


def test_rule_is_registered() -> None:
    assert rule_named(RULE).ops == {"Split"}
