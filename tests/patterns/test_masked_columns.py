"""[u_1, i_1] [m, 0] = [u_1 m, 0]."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import apply

RULE = "masked-columns"

MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 1, 1, 1, 1]], np.float32)
MODEL = """score (float[B,3,3] user, float[B,3,2] item) => (float[B,3,5] y)
<float[3,5] m, float[3,3] w, float[2,2] v> {
    a = MatMul(user, w)
    b = MatMul(item, v)
    x = Concat<axis = 2>(a, b)
    y = Mul(x, m)
}"""


def test_rows_that_the_mask_leaves_to_the_user() -> None:
    outcome = apply(RULE, MODEL, m=MASK)
    assert outcome.times == 1
    (pad,) = outcome.of("Pad")
    assert outcome.size_of(pad.output[0]) == (1, 2, 5)


def test_zeros_put_in_by_a_where() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,3] user, float[B,3,2] item) => (float[B,3,5] y) <bool[3,5] m, float zero> {
            a = Tanh(user)
            b = Tanh(item)
            x = Concat<axis = 2>(a, b)
            y = Where(m, x, zero)
        }""",
        m=MASK.astype(bool),
        zero=np.array(0, np.float32),
    )
    assert outcome.times == 1


def test_columns_that_take_turns() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,2] user1, float[B,2,1] item1, float[B,2,1] user2, float[B,2,1] item2) => (float[B,2,5] y)
        <float[2,5] m, float[2,2] w, float[1,1] v> {
            a = MatMul(user1, w) b = MatMul(item1, v) c = MatMul(user2, v) d = MatMul(item2, v)
            x = Concat<axis = 2>(a, b, c, d)
            y = Mul(x, m)
        }""",
        m=np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1]], np.float32),
    )
    assert outcome.times == 1


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((3, 5), np.float32),
        np.array([[1, 1, 1, 0.1, 0], [1, 1, 1, 0, 0.1], [1, 1, 1, 1, 1]], np.float32),  # leaves something of the items
        np.array([[0, 0, 0, 1, 1]] * 3, np.float32),  # the user's columns are the ones that are cut off
    ],
)
def test_not_where_something_of_the_items_is_left(mask: np.ndarray) -> None:
    assert apply(RULE, MODEL, m=mask).times == 0


def test_not_where_the_mask_is_no_constant() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,3] user, float[B,3,2] item, float[3,5] m) => (float[B,3,5] y) {
            x = Concat<axis = 2>(user, item)
            y = Mul(x, m)
        }""",
    )
    assert outcome.times == 0


def test_not_where_what_is_masked_may_be_infinite() -> None:
    outcome = apply(RULE, MODEL.replace("MatMul(item, v)", "Log(item)"), m=MASK)
    assert outcome.times == 0
