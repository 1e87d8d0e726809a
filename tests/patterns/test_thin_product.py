"""a b^T for each pair = a * b."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "thin-product"


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ("B,3,1", "B,1,4", "B,3,4"),
        ("B,1,1", "B,1,4", "B,1,4"),
        ("B,2,3,1", "B,2,1,4", "B,2,3,4"),
        ("B,2,3,1", "B,1,1,4", "B,2,3,4"),
        ("2,3,1", "B,2,1,4", "B,2,3,4"),
    ],
)
def test_outer_products(left: str, right: str, result: str, opset: int) -> None:
    names = ["item" if "B" in shape else "given" for shape in (left, right)]
    names[1] += "_2"
    outcome = apply(
        RULE,
        f"score (float[{left}] {names[0]}, float[{right}] {names[1]}) => (float[{result}] y) "
        f"{{ y = MatMul({names[0]}, {names[1]}) }}",
        opset=opset,
    )
    assert outcome.times == 1
    assert outcome.ops == {"Mul": 1}


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize(("left", "right", "result"), [("B,1,4", "B,4,1", "B,1,1"), ("B,2,1,4", "B,2,4,1", "B,2,1,1")])
def test_inner_products(left: str, right: str, result: str, opset: int) -> None:
    outcome = apply(
        RULE,
        f"score (float[{left}] item, float[{right}] item_2) => (float[{result}] y) {{ y = MatMul(item, item_2) }}",
        opset=opset,
    )
    assert outcome.times == 1
    assert outcome.ops == {"Mul": 1, "ReduceSum": 1, "Transpose": 1}


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ("B,3,2", "B,2,4", "B,3,4"),
        ("B,1,4", "B,4,2", "B,1,2"),
        ("B,3,4", "B,4,1", "B,3,1"),
        ("B,1,N", "B,N,1", "B,1,1"),
    ],
)
def test_not_thicker_ones(left: str, right: str, result: str) -> None:
    text = f"score (float[{left}] item, float[{right}] item_2) => (float[{result}] y) {{ y = MatMul(item, item_2) }}"
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("shape", ["1,4", "4,1", "1,1,4", "1,4,1"])
def test_not_with_a_single_matrix(shape: str) -> None:
    rows, columns = shape.split(",")[-2:]
    left = f"B,3,{rows}" if rows == "1" else f"B,1,{rows}"
    result = f"B,{left.split(',')[1]},{columns}"
    text = f"score (float[{left}] item) => (float[{result}] y) <float[{shape}] w> {{ y = MatMul(item, w) }}"
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize(
    ("equation", "left", "right", "result"),
    [
        ("bhd,bfd->bhfd", "B,3,2", "B,4,2", "B,3,4,2"),
        ("bi,bj->bij", "B,3", "B,4", "B,3,4"),
        ("bi,bj->jbi", "B,3", "B,4", "4,B,3"),
        ("b...,b...->b...", "B,3,2", "B,3,2", "B,3,2"),
    ],
)
def test_an_einsum_that_sums_nothing(equation: str, left: str, right: str, result: str) -> None:
    outcome = apply(
        RULE,
        f"score (float[{left}] item, float[{right}] user) => (float[{result}] y) "
        f'{{ y = Einsum<equation = "{equation}">(item, user) }}',
    )
    assert outcome.times == 1
    assert outcome.ops["Mul"] == 1


@pytest.mark.parametrize("equation", ["bid,bjd->bij", "bii,bij->bij"])
def test_not_an_einsum_that_sums_or_picks(equation: str) -> None:
    outcome = apply(
        RULE,
        f"score (float[B,3,3] item, float[B,3,3] user) => (float[B,3,3] y) "
        f'{{ y = Einsum<equation = "{equation}">(item, user) }}',
    )
    assert outcome.times == 0


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_not_of_whole_numbers(dtype: str) -> None:
    """A MatMul wraps around where a sum of ONNX Runtime goes through doubles."""
    text = f"score ({dtype}[B,1,4] item, {dtype}[B,4,1] item_2) => ({dtype}[B,1,1] y) {{ y = MatMul(item, item_2) }}"
    assert apply(RULE, text).times == 0
