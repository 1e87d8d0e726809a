"""x_b U_h for all b = [x_1; x_2; ..] U_h."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "candidate-rows"


def multiplied(rows: str, matrices: str, result: str, opset: int) -> Outcome:
    """The rule on rows of items and matrices of the user."""
    text = f"score (float[{rows}] item, float[{matrices}] user) => (float[{result}] y) {{ y = MatMul(item, user) }}"
    return apply(RULE, text, opset=opset)


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize(
    ("rows", "matrices", "result"),
    [
        ("B,2,1,4", "B,2,4,3", "B,2,1,3"),
        ("B,2,5,4", "B,2,4,3", "B,2,5,3"),
        ("B,2,3,1,4", "B,2,3,4,5", "B,2,3,1,5"),
        ("B,2,3,1,4", "B,2,1,4,5", "B,2,3,1,5"),
        ("B,2,3,6,4", "B,1,3,4,5", "B,2,3,6,5"),
    ],
)
def test_one_product_for_each_head(rows: str, matrices: str, result: str, opset: int) -> None:
    outcome = multiplied(rows, matrices, result, opset)
    assert outcome.times == 1
    [product] = outcome.of("MatMul")
    heads = tuple(int(d) for d in rows.split(",")[1:-2])
    assert (outcome.size_of(product.output[0]) or ())[:-2] == heads


@pytest.mark.parametrize("shape", ["1,2,4,3", "2,4,3"])
def test_matrices_that_are_given_once(shape: str) -> None:
    outcome = apply(
        RULE,
        f"score (float[B,2,5,4] item, float[{shape}] given) => (float[B,2,5,3] y) {{ y = MatMul(item, given) }}",
    )
    assert outcome.times == 1


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    ("rows", "matrices", "result", "turned"),
    [
        ("2,B,1,4", "2,B,4,3", "2,B,1,3", 0),
        ("2,B,5,4", "2,B,4,3", "2,B,5,3", 0),
        ("2,3,B,5,4", "2,1,B,4,3", "2,3,B,5,3", 0),
        ("2,B,3,5,4", "2,B,3,4,6", "2,B,3,5,6", 2),
        ("1,B,3,5,4", "2,B,3,4,6", "2,B,3,5,6", 2),
        ("1,B,5,4", "2,B,4,3", "2,B,5,3", 0),
        ("2,B,3,5,4", "2,B,1,4,6", "2,B,3,5,6", 2),
    ],
)
def test_candidates_behind_the_heads(rows: str, matrices: str, result: str, turned: int, opset: int) -> None:
    outcome = multiplied(rows, matrices, result, opset)
    assert outcome.times == 1
    assert outcome.ops["Transpose"] == turned


def test_candidates_behind_the_heads_of_matrices_given_once() -> None:
    text = "score (float[2,B,5,4] item, float[2,1,4,N] given) => (float[2,B,5,N] y) { y = MatMul(item, given) }"
    assert apply(RULE, text).times == 1


def test_weights_of_the_heads() -> None:
    outcome = apply(RULE, "score (float[B,2,5,4] item) => (float[B,2,5,3] y) <float[2,4,3] w> { y = MatMul(item, w) }")
    assert outcome.times == 1


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    ("rows", "matrices", "result", "turned"),
    [
        ("B,1,5,4", "B,2,4,3", "B,2,5,3", 1),
        ("B,1,1,4", "B,2,4,3", "B,2,1,3", 1),
        ("B,1,1,1,4", "B,2,3,4,5", "B,2,3,1,5", 1),
        ("B,2,1,1,4", "B,2,3,4,5", "B,2,3,1,5", 2),
        ("B,1,3,2,4", "B,2,3,4,5", "B,2,3,2,5", 2),
    ],
)
def test_the_same_rows_for_several_matrices(rows: str, matrices: str, result: str, turned: int, opset: int) -> None:
    outcome = multiplied(rows, matrices, result, opset)
    assert outcome.times == 1
    assert outcome.ops["Transpose"] == turned
    [product] = outcome.of("MatMul")
    assert outcome.size_of(product.output[0])[0] == 2


@pytest.mark.parametrize(
    ("inputs", "call", "result"),
    [
        ("float[B,1,5,4] item, float[B,1,4,3] user", "MatMul(item, user)", "B,1,5,3"),  # one matrix
        ("float[B,5,4] item, float[B,4,3] user", "MatMul(item, user)", "B,5,3"),
        ("float[B,2,5,4] item, float[B,2,4,3] item_2", "MatMul(item, item_2)", "B,2,5,3"),
        ("float[B] item, float[B,2,5,4] user_2, float[B,2,4,3] user", "MatMul(user_2, user)", "B,2,5,3"),
        ("float[B,2,5,4] user, float[B,2,4,3] item", "MatMul(user, item)", "B,2,5,3"),
        ("float[B,5,4] item, float[2,1,4,3] given", "MatMul(item, given)", "2,B,5,3"),  # no heads on the left
        ("float[2,5,B,4] item, float[2,1,4,3] given", "MatMul(item, given)", "2,5,B,3"),  # candidates as rows
        ("float[2,B,N,4] item, float[2,B,4,3] user", "MatMul(item, user)", "2,B,N,3"),
        ("float[B,3,5,4] item, float[B,1,4,3] user", "MatMul(item, user)", "B,3,5,3"),  # one matrix for all heads
        ("float[B,1,5,4] item, float[B,N,4,3] user", "MatMul(item, user)", "B,N,5,3"),
        ("float[B,2,N,4] item, float[B,2,4,3] user", "MatMul(item, user)", "B,2,N,3"),
    ],
)
def test_not_otherwise(inputs: str, call: str, result: str) -> None:
    assert apply(RULE, f"score ({inputs}) => (float[{result}] y) {{ y = {call} }}").times == 0
