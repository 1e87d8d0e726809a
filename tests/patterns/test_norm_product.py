"""(x s + o) W + c = x (s W) + (o W + c)."""

from __future__ import annotations

import pytest

from tests.patterns.norms import NORMALISE, normalised

RULE = "norm-product"


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
    outcome = normalised(RULE, f"p = {NORMALISE.replace('(p', '(item')} {product}", declared, opset=opset, item="B,4")
    assert outcome.times == product.count("p, ")
    assert outcome.ops["BatchNormalization"] == 0


@pytest.mark.parametrize(
    "product",
    [
        "a = MatMul(p, w) y = Add(a, p)",
        "t = Transpose(p) s = MatMul(w, t) r = Transpose(s) y = Abs(r)",
    ],
)
def test_what_stays_before(product: str) -> None:
    body = f"p = {NORMALISE.replace('(p', '(item')} {product}"
    assert normalised(RULE, body, "float[4,4] w", item="B,4").times == 0
