"""sum_k where(m_k, u_k, 0) = m^T u"""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "masked-sum"
TABLE = np.arange(16, dtype=np.float32).reshape(4, 4) - 7


def summed(
    choice: str = "Where(m, x, zero)",
    *,
    made: str = "",
    keep: int = 0,
    axis: int = 1,
    zero: float = 0.0,
    mask: str = "B,3,1",
    table: np.ndarray = TABLE,
) -> Outcome:
    """Rows of a table that the user's ids pick, as far as a mask leaves them."""
    result = "B,1,4" if keep else "B,4"
    return apply(
        RULE,
        f"""score (int64[B,3] user, bool[{mask}] item, float[B,3,4] item_x, float[B,3,4] user_x) => (float[{result}] y)
        <float[4,4] table, float zero, int64[1] axes = {{{axis}}}> {{
            x = Gather(table, user) m = Identity(item) n = Not(m) {made}
            z = {choice} y = ReduceSum<keepdims={keep}>(z, axes)
        }}""",
        table=table,
        zero=np.array(zero, np.float32),
    )


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("choice", ["Where(m, x, zero)", "Where(n, zero, x)", "Where(n, x, zero)"])
def test_rows_that_a_mask_leaves(choice: str, keep: int) -> None:
    outcome = summed(choice, keep=keep, axis=1 if keep else -2)
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 1
    assert not {"Where", "ReduceSum"} & set(outcome.ops)


def test_rows_that_layers_make() -> None:
    outcome = summed("Where(m, t, zero)", made="h = MatMul(x, table) r = Relu(h) t = Add(r, x)")
    assert outcome.times == 1


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("Where(m, user_x, zero)", ""),  # a request may bring what is no number
        ("Where(m, t, zero)", "t = Add(x, user_x)"),
        ("Where(m, t, zero)", "t = Sqrt(x)"),
        ("Where(m, t, zero)", "t = Div(x, x)"),
        ("Where(m, item_x, zero)", ""),
    ],
)
def test_not_where_rows_may_be_no_numbers(choice: str, made: str) -> None:
    table = np.abs(TABLE) + 1
    assert summed(choice, made=made, table=table).times == 0


def test_not_where_a_constant_is_no_number() -> None:
    table = TABLE.copy()
    table[0, 0] = np.nan
    outcome = summed(table=table)
    assert outcome.times == 0


def test_not_with_another_number_or_axis_or_mask() -> None:
    assert summed(zero=1.0).times == 0
    assert summed(mask="B,3,4").times == 0
