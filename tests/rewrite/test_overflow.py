"""Constants that are worked out beforehand stay in the range of their type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mari_onnx.errors import RuleError
from mari_onnx.rewrite.overflow import within_range
from tests.patterns.support import apply, model_of

HALF = np.float16


@pytest.mark.parametrize(
    "made",
    [
        lambda: np.array([1e30], np.float32) * np.float32(1e30),
        lambda: np.array([6e4], HALF) + np.array([6e4], HALF),
        lambda: np.array([1e39]).astype(np.float32),
        lambda: np.array([1e200]) * 1e200,
    ],
)
def test_an_infinity_of_finite_numbers_is_refused(made: Callable[[], np.ndarray]) -> None:
    with pytest.raises(RuleError, match="leaves the range"), within_range():
        made()


@pytest.mark.parametrize(
    "made",
    [
        lambda: np.array([np.inf, -np.inf, np.nan], np.float32) * np.float32(0),
        lambda: np.array([[np.inf, 1.0]]) @ np.array([[0.0], [1.0]]),
        lambda: np.array([np.inf]).astype(HALF),
        lambda: np.array([1e-200]) * 1e-200,
        lambda: np.ones(1) / np.zeros(1),
    ],
)
def test_what_is_none_already_may_be_so(made: Callable[[], np.ndarray]) -> None:
    with within_range():
        made()


RULES = {
    "repeated-windows": """(float[B,2,1] item) => (float[B,4,T] y) <int64[3] sizes = {1, 1, 6}> {
        x = Expand(item, sizes)
        y = Conv(x, w)
    }""",
    "product-norm": """(float[B,3] item) => (float[B,4] y) <float[4] o = {1, 1, 1, 1}, float[4] z = {0, 0, 0, 0}> {
        p = Gemm(item, w)
        y = BatchNormalization(p, s, z, z, o)
    }""",
    "row-scale": """(float[B,2,9] user, float[B,2,2] item, float[B,2,1] item_s) => (float[B,2,4] y) {
        x = Concat<axis = -1>(user, item)
        n0 = Mul(x, item_s)
        n = Mul(n0, s)
        y = MatMul(n, w)
    }""",
}
SHAPES = {"repeated-windows": (4, 2, 3), "product-norm": (3, 4), "row-scale": (11, 4)}


@pytest.mark.parametrize(("number", "fires"), [(2e38, False), (2.0, True)])
@pytest.mark.parametrize("rule", RULES)
def test_rules_leave_weights_that_would_be_infinite(rule: str, number: float, fires: bool) -> None:
    """With small items the model as it is makes numbers of the same weights."""
    shape = SHAPES[rule]
    weights = {"w": np.full(shape, number, np.float32)}
    if " s" in RULES[rule].replace(" sizes", ""):
        weights["s"] = np.full(shape[-1] if rule == "product-norm" else shape[0], 3, np.float32)
    outcome = apply(rule, model_of(f"score {RULES[rule]}", **weights), exact=False, batches=() if not fires else (1, 3))
    assert bool(outcome.times) == fires
    assert fires or any("leaves the range" in reason for reason in outcome.reasons)


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_infinite_weights_are_multiplied_without_a_warning(number: float) -> None:
    text = "score (float[B,2] item) => (float[B,4] y) { h = MatMul(item, v) y = MatMul(h, w) }"
    weights = {"v": np.full((2, 6), number, np.float32), "w": np.zeros((6, 4), np.float32)}
    assert apply("chained-products", model_of(text, **weights), exact=False, batches=()).times == 1
