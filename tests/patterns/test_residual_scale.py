"""x (h W + b) + x = x (h W + (b + 1))"""

from __future__ import annotations

import pytest

from tests.patterns.support import apply, rule_named

RULE = "residual-scale"


def text(layer: str, added: str = "Add(scaled, x)", dtype: str = "float", more: str = "") -> str:
    sides = f"{dtype}[B,4] item, {dtype}[B,3] item_h, {dtype}[B,4] user"
    return f"""score ({sides}) => ({dtype}[B,4] y{more}) <{dtype}[3,4] w, {dtype}[4] b, {dtype}[4,4] v> {{
        x = Neg(item)
        {layer}
        scaled = Mul(x, scale)
        y = {added}
    }}"""


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float", "double"])
@pytest.mark.parametrize("layer", ["scale = Gemm(item_h, w, b)", "m = MatMul(item_h, w) scale = Add(b, m)"])
@pytest.mark.parametrize("added", ["Add(scaled, x)", "Add(x, scaled)"])
def test_the_bias_takes_a_one_along(layer: str, added: str, dtype: str) -> None:
    outcome = apply(RULE, text(layer, added, dtype))
    assert outcome.times == 1
    assert outcome.ops["Mul"] == 1
    assert outcome.ops["Add"] == ("MatMul" in layer)


def test_a_bias_of_the_user() -> None:
    """It is made once per request, and so is the sum with one."""
    outcome = apply(RULE, text("c = MatMul(user, v) scale = Gemm(item_h, w, c)"))
    assert outcome.times == 1
    (sum_,) = outcome.of("Add")
    assert outcome.size_of(sum_.output[0]) == (1, 4)


def test_a_scale_of_one_number() -> None:
    graph = text("scale = Gemm(item_h, w, b)").replace("[3,4] w", "[3,1] w").replace("[4] b", "[1] b")
    assert apply(RULE, graph).times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "added"),
    [
        ("scale = Gemm(item_h, w, b)", "Add(scaled, item)"),  # another value
        ("scale = Gemm(item_h, w, b)", "Sub(scaled, x)"),
        ("scale = Gemm<beta = 2.0>(item_h, w, b)", "Add(scaled, x)"),  # the one would be scaled as well
        ("scale = Gemm(item_h, w)", "Add(scaled, x)"),  # there is no bias
        ("m = MatMul(item_h, w) scale = Tanh(m)", "Add(scaled, x)"),
        ("m = MatMul(item_h, w) scale = Add(m, item)", "Add(scaled, x)"),  # a sum for each candidate is none the less
    ],
)
def test_not_elsewhere(layer: str, added: str) -> None:
    assert apply(RULE, text(layer, added), exact="Tanh" not in layer).times == 0


@pytest.mark.parametrize("read", ["scale", "scaled"])
def test_not_where_something_else_reads_the_scale(read: str) -> None:
    graph = text("scale = Gemm(item_h, w, b)", more=", float[B,4] z").replace(
        "y = Add(scaled, x)", f"y = Add(scaled, x) z = Neg({read})"
    )
    assert apply(RULE, graph).times == 0


def test_not_before_others_have_taken_the_sum_apart() -> None:
    """Columns of the user that a head adds up are never made, as long as the summand is seen."""
    graph = """score (float[B,6] user, float[B,4] item) => (float[B,1] y)
        <float[10,3] down, float[3,10] up, float[10] b, float[10,1] head> {
        x = Concat<axis = 1>(user, item)
        h = MatMul(x, down)
        scale = Gemm(h, up, b)
        scaled = Mul(x, scale)
        crossed = Add(scaled, x)
        y = MatMul(crossed, head)
    }"""
    rules = [rule_named(name) for name in (RULE, "scaled-product", "split-product")]
    applied = [a.rule for a in apply(rules, graph).applied]
    assert "scaled-product" in applied
    assert RULE not in applied[: applied.index("scaled-product")]


def test_what_may_be_infinite() -> None:
    """Less what is infinite as well, it is no number."""
    graph = text("scale = Gemm(item_h, w, b)")
    assert apply(RULE, graph.replace("x = Neg(item)", "x = Div(item, user)"), exact=False).times == 0
