"""max(x, s x) = x where x > 0, s x elsewhere"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import apply, at_work, model_of, sides_of

RULE = "plain-activation"


def text(shape: str = "4", dtype: str = "float") -> str:
    return f"score ({dtype}[B,3,4] item) => ({dtype}[B,3,4] y) <{dtype}[{shape}] slope> {{ y = PRelu(item, slope) }}"


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 1, 1), (3, 1)])
@pytest.mark.parametrize("slope", [0.25, 0.0, -0.5, 3.0])
def test_one_slope_for_all(shape: tuple[int, ...], slope: float) -> None:
    array = np.full(shape, slope, np.float32)
    declared = f"<float[{','.join(map(str, shape))}] slope>" if shape else "<float slope>"
    outcome = apply(
        RULE, f"score (float[B,3,4] item) => (float[B,3,4] y) {declared} {{ y = PRelu(item, slope) }}", slope=array
    )
    assert outcome.ops == {"LeakyRelu": 1}


@pytest.mark.parametrize("opset", [11, 17])
def test_slopes_up_to_one(opset: int) -> None:
    outcome = apply(RULE, text(), slope=np.array([0.25, 0.5, 1.0, 0.125], np.float32), opset=opset)
    assert outcome.ops == {"Mul": 1, "Max": 1}


@pytest.mark.parametrize("slope", [(0.0, 0.5, 1.0, 0.25), (2.0, 0.5, 0.5, 0.5), (-1.0, 0.5, 0.5, 0.5)])
def test_any_slopes(slope: tuple[float, ...]) -> None:
    outcome = apply(RULE, text(), slope=np.array(slope, np.float32))
    assert outcome.ops == {"Relu": 1, "Min": 1, "Mul": 1, "Add": 1}


@pytest.mark.parametrize("slope", [(0.5, 0.5, 0.5, 0.5), (0.25, 0.5, 1.0, 0.125), (2.0, 0.5, 0.0, -1.0)])
def test_infinite_entries(slope: tuple[float, ...]) -> None:
    """What overflowed stays what it was."""
    graph = """score (float[B,4] item) => (float[B,4] y) <float[4] large, float[4] slope> {
        wide = Mul(item, large)
        x = Mul(wide, large)
        y = PRelu(x, slope)
    }"""
    large = np.full(4, 3e38, np.float32)
    assert apply(RULE, graph, slope=np.array(slope, np.float32), large=large).times == 1


def test_a_slope_that_is_computed_stays() -> None:
    graph = "score (float[B,4] item, float[B,4] user) => (float[B,4] y) { y = PRelu(item, user) }"
    assert apply(RULE, graph).times == 0


@pytest.mark.parametrize("slope", [0.5, -2.0])
@pytest.mark.parametrize(("rows", "times"), [("T,4", 0), ("3,4", 1)])
def test_slopes_that_may_be_more_than_the_entries_stay(rows: str, times: int, slope: float) -> None:
    """ONNX Runtime repeats the entries then, though the standard has no such thing."""
    graph = f"score (float[B,{rows}] item) => (float[B,X,Y] y) <float[3,4] slope> {{ y = PRelu(item, slope) }}"
    assert apply(RULE, graph, slope=np.full((3, 4), slope, np.float32)).times == times


@pytest.mark.parametrize("slope", [np.array([np.inf, 1, 1, 1]), np.array([np.nan, 1, 1, 1])])
def test_a_slope_that_is_no_number_stays(slope: np.ndarray) -> None:
    assert apply(RULE, text(), slope=slope.astype(np.float32)).times == 0


@pytest.mark.parametrize("slope", [(0.2, 0.2, 0.2, 0.2), (0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, -0.4)])
def test_the_dearer_operator_goes(slope: tuple[float, ...]) -> None:
    model = model_of(text(), slope=np.array(slope, np.float32))
    rules = [r for r in RULES if r.name == RULE]
    assert len(rewrite(at_work(model, sides_of(model)), rules, CostModel()).applied) == 1


@given(slope=arrays(np.float32, (3, 4), elements=st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 4.0])))
def test_whatever_the_slopes(slope: np.ndarray) -> None:
    assert apply(RULE, text("3,4"), slope=slope, batches=(0, 1, 2, 7)).times == 1
