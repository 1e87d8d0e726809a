"""(d (h U + b) + r) W = h (U diag(d) W) + (b d) W + r W"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of

RULE = "narrow-columns"
SIDES = "float[B,8] user_d, float[B,8] user_e, float[B,8] item_r, float[B,2] item_h"
WEIGHTS = (
    "float[2,8] u, float[8,2] turned, float[8] b, float[8,3] w, float[3,8] flat, float[3] c, float[8,8] square, "
    "float[1,8] row, float[2,3] low, float[3,8] high"
)


def run(body: str, outputs: str = "float[B,3] y", sides: str = SIDES, opset: int = 17) -> Outcome:
    return apply(RULE, f"score ({sides}) => ({outputs}) <{WEIGHTS}> {{ {body} }}", opset=opset, batches=(0, 1, 2, 7))


def columns_made(outcome: Outcome) -> int:
    """How many products make eight columns for each candidate."""
    sizes = [outcome.size_of(n.output[0]) for op in ("MatMul", "Gemm") for n in outcome.of(op)]
    return sum(len(size) == 2 and size[1] == 8 and size[0] != 1 for size in sizes)


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize(
    "layer", ["MatMul(item_h, u)", "Gemm(item_h, u, b)", "Gemm<transB = 1, alpha = 2.0>(item_h, turned, b)"]
)
@pytest.mark.parametrize("head", ["MatMul(x, w)", "Gemm<alpha = 3.0>(x, w, c)", "Gemm<transB = 1>(x, flat)"])
def test_scaled_by_the_user(layer: str, head: str, opset: int) -> None:
    outcome = run(f"p = {layer} x = Mul(user_d, p) y = {head}", opset=opset)
    assert outcome.times == 1
    assert columns_made(outcome) == 0


@pytest.mark.parametrize(
    "between",
    [
        "x = Mul(p, row)",
        "m = Mul(p, user_d) x = Add(m, item_r)",
        "m = Mul(p, user_d) x = Add(user_e, m)",
        "m = Mul(p, user_d) s = Add(m, user_d) t = Mul(user_e, s) x = Add(t, item_r)",
        "m = Mul(p, user_d) s = Add(m, item_r) x = Add(s, user_d)",
        "d = Relu(user_d) m = Mul(p, d) x = Add(m, item_r)",
    ],
)
def test_what_lies_between(between: str) -> None:
    outcome = run(f"p = Gemm(item_h, u, b) {between} y = Gemm(x, w, c)")
    assert outcome.times == 1
    assert columns_made(outcome) == 0


@pytest.mark.parametrize("head", ["y = Gemm(x, w, c)", "z = MatMul(x, square) y = MatMul(z, w)"])
@pytest.mark.parametrize("scaled", ["x = Mul(p, user_d)", "m = Mul(p, user_d) x = Mul(user_e, m)"])
def test_bias_that_is_a_matrix_of_one_row(scaled: str, head: str) -> None:
    outcome = run(f"p = Gemm(item_h, u, row) {scaled} {head}")
    assert outcome.times == 1
    assert columns_made(outcome) == head.count("square")


def test_all_products_that_read_them() -> None:
    body = """p = Gemm(item_h, u, b) m = Mul(p, user_d) y = MatMul(m, w)
        s = Add(m, user_e) z = Gemm(s, w, c) t = Mul(m, user_e) v = Add(t, item_r) x = MatMul(v, w)"""
    outcome = run(body, "float[B,3] y, float[B,3] z, float[B,3] x")
    assert outcome.times == 1
    assert columns_made(outcome) == 0


def test_layers_of_low_rank() -> None:
    """Neither of two layers makes its columns."""
    body = """h1 = MatMul(item_h, low) p1 = Gemm(h1, high, b) m1 = Mul(user_d, p1) x1 = Add(m1, user_d)
        h2 = MatMul(x1, w) p2 = Gemm(h2, high, b) m2 = Mul(user_d, p2) x2 = Add(m2, x1) y = Gemm(x2, w, c)"""
    outcome = run(body)
    assert outcome.times == 2
    assert columns_made(outcome) == 0


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("p = MatMul(item_h, u) x = Mul(p, user_d) y = MatMul(x, w)", ", float[B,8] p"),
        ("p = MatMul(item_h, u) x = Mul(p, user_d) y = MatMul(x, w)", ", float[B,8] x"),
        ("p = MatMul(item_h, u) x = Mul(p, item_r) y = MatMul(x, w)", ""),
        ("p = MatMul(item_h, u) m = Mul(p, user_d) x = Relu(m) y = MatMul(x, w)", ""),
        ("p = MatMul(item_h, u) m = Mul(p, user_d) x = Mul(m, p) y = MatMul(x, w)", ""),
        ("p = MatMul(item_h, u) m = Mul(p, user_d) x = Add(m, m) y = MatMul(x, w)", ""),
        ("p = MatMul(item_h, u) m = Mul(p, user_d) x = Sub(user_e, m) y = MatMul(x, w)", ""),
        ("p = MatMul(item_h, u) y = MatMul(p, w)", ""),
        ("p = MatMul(item_h, u) m = Mul(p, user_d) y = MatMul(m, given)", ""),
        ("p = Gemm(item_h, u, item_r) m = Mul(p, user_d) y = MatMul(m, w)", ""),
        ("p = MatMul(user_h, u) m = Mul(p, user_d) y = MatMul(m, w)", ""),
        ("p = MatMul(item_h, u) d = Div(user_d, user_e) m = Mul(p, d) y = MatMul(m, w)", ""),
    ],
)
def test_not_elsewhere(body: str, outputs: str) -> None:
    sides = f"{SIDES}, float[8,3] given, float[B,2] user_h"
    assert run(body, f"float[B,3] y{outputs}", sides).times == 0


@pytest.mark.parametrize(("candidates", "times"), [(64, 0), (4096, 1)])
def test_kept_where_it_pays(candidates: int, times: int) -> None:
    """The matrix between takes as long as some hundreds of candidates."""
    body = "p = MatMul(item_h, u) x = Mul(user, p) y = MatMul(x, w)"
    weights = "float[128,900] u, float[900,128] w"
    model = model_of(f"score (float[B,900] user, float[B,128] item_h) => (float[B,128] y) <{weights}> {{ {body} }}")
    rules = [r for r in RULES if r.name == RULE]
    assert len(rewrite(at_work(model, sides_of(model)), rules, CostModel(candidates=candidates)).applied) == times


@pytest.mark.parametrize(("ratio", "times"), [("Div(item_h, item_h)", 0), ("Tanh(item_h)", 1)])
def test_what_may_be_infinite_is_not_multiplied_with_the_product(ratio: str, times: int) -> None:
    """Columns of either sign have no sum, where the matrix of both has one."""
    outcome = apply(
        RULE,
        f"""score (float[B,8] user, float[B,2] item_h) => (float[B,3] y) <float[2,8] u, float[8,3] w> {{
            h = {ratio} p = MatMul(h, u) m = Mul(user, p) y = MatMul(m, w)
        }}""",
        exact=False,
    )
    assert outcome.times == times


@given(
    rank=st.integers(1, 3), width=st.integers(1, 5), columns=st.integers(1, 3), bias=st.booleans(), rest=st.booleans()
)
def test_sizes(rank: int, width: int, columns: int, bias: bool, rest: bool) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,{width}] user, float[B,{width}] item, float[B,{rank}] item_h) => (float[B,{columns}] y)
            <float[{rank},{width}] u, float[{width}] b, float[{width},{columns}] w> {{
                p = Gemm(item_h, u{", b" if bias else ""})
                m = Mul(user, p)
                x = {"Add(m, item)" if rest else "Identity(m)"}
                y = MatMul(x, w)
            }}""",
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == 1
