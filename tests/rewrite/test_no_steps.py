"""Histories of no steps: a size that comes out as 0 is neither copied nor forgotten."""

from __future__ import annotations

import pytest

from mari_onnx.ir.dims import CANDIDATES, Dim, symbol
from mari_onnx.rewrite.sizes import without_zeros
from tests.analysis.support import assert_right, parse
from tests.patterns.support import at_work, model_of, sides_of

T, S = symbol("T"), symbol("S")
OPSETS = pytest.mark.parametrize("opset", [12, 13, 14, 18])


@OPSETS
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("inputs", ["float[B,T,4] u, float[B,T,1] i", "float[B,T,4] i, float[B,T,1] u"])
def test_weighted_sums(inputs: str, steps: int, opset: int) -> None:
    rows, weights = ("u", "i") if "4] u" in inputs else ("i", "u")
    total = "ReduceSum<keepdims = 0, axes = [1]>(s)" if opset < 13 else "ReduceSum<keepdims = 0>(s, one)"
    text = f"""g ({inputs}) => (float[B,4] y) <int64[1] one = {{1}}> {{
        w = Relu({weights}) x = Relu({rows}) s = Mul(w, x) y = {total}
    }}"""
    assert_right(parse(text, opset), lengths={"T": steps})


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("weights", ["float[B,1,T] u", "float[B,2,T] u"])
def test_products_over_the_steps_of_an_item(weights: str, steps: int) -> None:
    rows = weights[8]
    text = f"g ({weights}, float[B,T,4] i) => (float[B,{rows},4] y) {{ w = Relu(u) x = Relu(i) y = MatMul(w, x) }}"
    assert_right(parse(text), lengths={"T": steps})


@pytest.mark.parametrize(
    ("before", "shape", "expected"),
    [
        ((CANDIDATES, T, 1), (CANDIDATES, 1, T), (CANDIDATES, 1, -1)),
        ((CANDIDATES, T, 1), (CANDIDATES, T, 1, 1), (CANDIDATES, T, 1, 1)),  # what is copied is 0 as well
        ((CANDIDATES * T, 4), (CANDIDATES, T, 4), (CANDIDATES, -1, 4)),
        ((CANDIDATES, 4, 2 * T), (CANDIDATES, 8, T), (CANDIDATES, 8, T)),
        ((CANDIDATES, T + 1), (T + 1, CANDIDATES), (T + 1, CANDIDATES)),
        ((CANDIDATES, 3, 0), (CANDIDATES, 0, 3), (CANDIDATES, -1, 3)),
        ((T, S), (S, T), (S, T)),  # there is one -1 only
        ((CANDIDATES, T, S), (CANDIDATES, T, 1, S), (CANDIDATES, T, 1, S)),
    ],
)
def test_sizes_that_could_be_taken_for_copies(
    before: tuple[Dim, ...], shape: tuple[Dim, ...], expected: tuple[Dim, ...]
) -> None:
    assert without_zeros(shape, before) == expected


@pytest.mark.parametrize("opset", [13, 18])
def test_constant_sizes_of_nothing(opset: int) -> None:
    model = model_of(
        """g (float[B,3] user, float[B,3] item, float[5,0] none) => (float[B,3] y, float[5,0] z)
        { y = Add(user, item) z = Neg(none) }""",
        opset=opset,
    )
    workspace = at_work(model, sides_of(model))
    turned = workspace.reshape("z", (0, 5))
    assert workspace.fact(turned).shape == (0, 5)
