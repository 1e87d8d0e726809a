"""(x W + c) s + o = x (W s) + (c s + o), and (x s + o) W + c = x (s W) + (o W + c)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

BEHIND, BEFORE = "product-norm", "norm-product"
NORM = {
    "scale": np.array([1, -2, 3, 0.5], np.float32),
    "shift": np.array([0, 1, -1, 2], np.float32),
    "mean": np.array([1, 0, -2, 0.5], np.float32),
    "var": np.array([1, 4, 0.25, 0], np.float32),
}
PARAMETERS = "float[4] scale, float[4] shift, float[4] mean, float[4] var"


def normalised(rule: str, body: str, declared: str, *, opset: int = 17, item: str = "B,3", **weights: Any) -> Outcome:
    return apply(
        rule,
        f"""score (float[B,4] user, float[{item}] item) => (float[B,4] z) <{PARAMETERS}, {declared}> {{
            {body}
            z = Add(y, user)
        }}""",
        opset=opset,
        exact=False,
        **{**NORM, **weights},
    )


NORMALISE = "BatchNormalization(p, scale, shift, mean, var)"


@pytest.mark.parametrize("opset", [11, 13, 15, 18])
@pytest.mark.parametrize(
    ("product", "declared"),
    [
        ("p = Gemm(item, w, c)", "float[3,4] w, float[4] c"),
        ("p = Gemm<transB = 1, alpha = 0.5>(item, w, c)", "float[4,3] w, float[1,4] c"),
        ("p = Gemm(item, w)", "float[3,4] w"),
        ("p = MatMul(item, w)", "float[3,4] w"),
        ("m = MatMul(item, w) p = Add(m, c)", "float[3,4] w, float[4] c"),
        ("m = MatMul(item, w) p = Add(c, m)", "float[3,4] w, float[1,4] c"),
    ],
)
def test_behind_a_product(product: str, declared: str, opset: int) -> None:
    outcome = normalised(BEHIND, f"{product} y = {NORMALISE}", declared, opset=opset)
    assert outcome.times == 1
    assert outcome.ops["BatchNormalization"] == 0
    assert outcome.ops["Gemm"] == 1


def test_behind_a_product_whose_bias_is_the_user_half() -> None:
    outcome = normalised(
        BEHIND, f"u = MatMul(user, v) p = Gemm(item, w, u) y = {NORMALISE}", "float[3,4] w, float[4,4] v"
    )
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("Mul")[0].output[0]) == (1, 4)


@pytest.mark.parametrize("opset", [11, 13, 15, 18])
@pytest.mark.parametrize(
    ("product", "declared"),
    [
        ("y = Gemm(p, w, c)", "float[4,4] w, float[4] c"),
        ("y = Gemm<transB = 1, alpha = 0.5>(p, w, c)", "float[4,4] w, float[1,4] c"),
        ("y = MatMul(p, w)", "float[4,4] w"),
        ("a = MatMul(p, w) b = MatMul(p, v) y = Sub(a, b)", "float[4,4] w, float[4,4] v"),
    ],
)
def test_before_a_product(product: str, declared: str, opset: int) -> None:
    outcome = normalised(BEFORE, f"p = {NORMALISE.replace('(p', '(item')} {product}", declared, opset=opset, item="B,4")
    assert outcome.times == product.count("p, ")
    assert outcome.ops["BatchNormalization"] == 0


@pytest.mark.parametrize(
    "body",
    [
        # Another reader, another bias, a scaled one, something in between, three axes.
        f"p = Gemm(item, w, c) q = {NORMALISE} y = Add(p, q)",
        f"p = Gemm(item, w, d) y = {NORMALISE}",
        f"p = Gemm<beta = 2.0>(item, w, c) y = {NORMALISE}",
        f"m = Gemm(item, w, c) p = Relu(m) y = {NORMALISE}",
    ],
)
def test_what_stays_behind(body: str) -> None:
    assert normalised(BEHIND, body, "float[3,4] w, float[4] c, float[1] d").times == 0


@pytest.mark.parametrize(
    "product",
    [
        "a = MatMul(p, w) y = Add(a, p)",
        "t = Transpose(p) s = MatMul(w, t) r = Transpose(s) y = Abs(r)",
    ],
)
def test_what_stays_before(product: str) -> None:
    body = f"p = {NORMALISE.replace('(p', '(item')} {product}"
    assert normalised(BEFORE, body, "float[4,4] w", item="B,4").times == 0


def test_no_number_is_made_up() -> None:
    """Where a variance makes no sense, the normalisation stays, and makes what it makes."""
    outcome = normalised(
        BEHIND, f"p = Gemm(item, w) y = {NORMALISE}", "float[3,4] w", var=np.array([1, -1, 1, 1], np.float32)
    )
    assert outcome.times == 0
