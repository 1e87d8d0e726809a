"""[x[k], y[l]] W = (x W_1)[k] + (y W_2)[l]."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "listed-product"

FIELDS = 3
LEFT = np.repeat(np.arange(FIELDS), FIELDS)
RIGHT = np.tile(np.arange(FIELDS), FIELDS)


def product_of(body: str, weights: str, result: str = "float[B,9,5]", **given: Any) -> Outcome:
    return apply(
        RULE,
        f"""score (float[B,2,4] user, float[B,1,4] item) => ({result} y) <{weights}> {{
            x = Concat<axis = 1>(user, item)
            {body}
        }}""",
        opset=13,
        left=LEFT,
        right=RIGHT,
        **given,
    )


def rows_multiplied(outcome: Outcome) -> list[object]:
    """Along the axis of the fields, what each product takes."""
    return sorted(outcome.size_of(node.input[0])[1] for node in outcome.of("MatMul"))


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "l = Gather<axis = 1>(x, left) y = MatMul(l, w)",
        "l = Gather<axis = -2>(x, right) y = MatMul(l, w)",
        "l = Tile(x, times) y = MatMul(l, w)",
        "l = Concat<axis = 1>(x, x, x) y = MatMul(l, w)",
    ],
)
def test_one_list(body: str) -> None:
    outcome = product_of(body, "float[4,5] w, int64[3] times = {1, 3, 1}")
    assert outcome.times == 1
    assert rows_multiplied(outcome) == [FIELDS]


def test_two_lists_side_by_side() -> None:
    outcome = product_of(
        "l = Gather<axis = 1>(x, left) r = Gather<axis = 1>(x, right) c = Concat<axis = -1>(l, r) y = MatMul(c, w)",
        "float[8,5] w",
    )
    assert outcome.times == 1
    assert rows_multiplied(outcome) == [FIELDS, FIELDS]


def test_a_list_beside_what_is_none() -> None:
    outcome = product_of(
        """l = Gather<axis = 1>(x, left) r = Gather<axis = 1>(x, right) m = Mul(l, r)
        c = Concat<axis = 2>(l, m, r) y = MatMul(c, w)""",
        "float[12,5] w",
    )
    assert outcome.times == 1
    assert rows_multiplied(outcome) == [FIELDS, FIELDS, 9]


def test_rows_laid_end_to_end_and_a_bias() -> None:
    outcome = product_of(
        "l = Gather<axis = 1>(x, left) f = Reshape(l, rows) y = Gemm<transB = 1, alpha = 0.5>(f, w, c)",
        "float[5,4] w, float[5] c, int64[2] rows = {-1, 4}",
        "float[N,5]",
    )
    assert outcome.times == 1
    assert rows_multiplied(outcome) == [FIELDS]


def test_lists_of_different_values() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,4] user, float[B,3,2] item) => (float[B,6,5] y) <float[6,5] w> {
            l = Gather<axis = 1>(user, left)
            r = Gather<axis = 1>(item, right)
            c = Concat<axis = 2>(l, r)
            y = MatMul(c, w)
        }""",
        opset=13,
        left=np.array([0, 0, 0, 1, 1, 1]),
        right=np.array([0, 1, 2, -3, -2, -1]),
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "weights", "result"),
    [
        ("l = Gather<axis = 1>(x, fewer) y = MatMul(l, w)", "float[4,5] w", "float[B,2,5]"),
        ("l = Gather<axis = 1>(x, same) y = MatMul(l, w)", "float[4,5] w", "float[B,3,5]"),
        ("l = Gather<axis = 2>(x, columns) y = MatMul(l, w)", "float[6,5] w", "float[B,3,5]"),
    ],
)
def test_no_more_entries_than_there_are(body: str, weights: str, result: str) -> None:
    given = {"fewer": np.array([2, 0]), "same": np.array([2, 0, 0]), "columns": np.array([0, 1, 2, 3, 0, 1])}
    assert product_of(body, weights, result, **given).times == 0


def test_another_operand_than_a_weight() -> None:
    outcome = product_of(
        "l = Gather<axis = 1>(x, left) t = Transpose<perm = [0, 2, 1]>(x) y = MatMul(l, t)",
        "float[1] w",
        "float[B,9,3]",
    )
    assert outcome.times == 0
    assert "the other operand is not a plain weight matrix of floats" in outcome.reasons
