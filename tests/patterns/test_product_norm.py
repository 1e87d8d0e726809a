"""(x W + c) s + o = x (W s) + (c s + o)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.norms import NORMALISE, normalised

RULE = "product-norm"


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
    outcome = normalised(RULE, f"{product} y = {NORMALISE}", declared, opset=opset)
    assert outcome.times == 1
    assert outcome.ops["BatchNormalization"] == 0
    assert outcome.ops["Gemm"] == 1


def test_behind_a_product_whose_bias_is_the_user_half() -> None:
    outcome = normalised(
        RULE, f"u = MatMul(user, v) p = Gemm(item, w, u) y = {NORMALISE}", "float[3,4] w, float[4,4] v"
    )
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("Mul")[0].output[0]) == (1, 4)


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
    assert normalised(RULE, body, "float[3,4] w, float[4] c, float[1] d").times == 0


def test_no_number_is_made_up() -> None:
    """Where a variance makes no sense, the normalisation stays, and makes what it makes."""
    outcome = normalised(
        RULE, f"p = Gemm(item, w) y = {NORMALISE}", "float[3,4] w", var=np.array([1, -1, 1, 1], np.float32)
    )
    assert outcome.times == 0
