"""p (x s) = (p x) s."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "column-scale"


def summed(
    scaled: str = "Mul(user, item)",
    *,
    item: str = "B,1,4",
    weights: str = "B,2,5",
    user: str = "B,5,4",
    out: str = "B,2,4",
) -> Outcome:
    return apply(
        RULE,
        f"""score (float[{user}] user, float[{item}] item, float[{weights}] item_p) => (float[{out}] y) {{
            v = {scaled}
            y = MatMul(item_p, v)
        }}""",
    )


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaled", ["Mul(user, item)", "Mul(item, user)"])
def test_steps_times_the_candidate(scaled: str) -> None:
    outcome = summed(scaled)
    assert outcome.times == 1
    (product,) = outcome.of("MatMul")
    assert "user" in product.input[1]
    assert outcome.size_of(outcome.of("Mul")[0].output[0])[1:] == (2, 4)


def test_steps_divided() -> None:
    outcome = apply(
        RULE,
        """score (float[B,5,4] user, float[B,1,4] item, float[B,2,5] item_p) => (float[B,2,4] y)
        <float half = {0.5}> {
            a = Abs(item)
            d = Add(a, half)
            v = Div(user, d)
            y = MatMul(item_p, v)
        }""",
        exact=False,
    )
    assert outcome.times == 1


@pytest.mark.parametrize("item", ["B,1,1", "B,1,4"])
def test_one_number_or_one_of_each_column(item: str) -> None:
    assert summed(item=item).times == 1


def test_numbers_without_an_axis_of_steps() -> None:
    outcome = apply(
        RULE,
        """score (float[B,5,4] item, float[B,2,5] item_p) => (float[B,2,4] y) <float[4] w> {
            v = Mul(item, w)
            y = MatMul(item_p, v)
        }""",
    )
    assert outcome.times == 1


def test_heads_of_which_each_has_its_own_numbers() -> None:
    assert summed(user="B,1,5,4", item="B,3,1,4", weights="B,3,2,5", out="B,3,2,4").times == 1


# -- does not ----------------------------------------------------------------------------------------------------------


def test_not_numbers_of_the_steps() -> None:
    assert summed(item="B,5,1").times == 0


def test_not_a_matrix_that_the_numbers_make() -> None:
    assert summed(user="B,5,1").times == 0
    assert summed(user="B,5,1", item="B,1,1", out="B,2,1").times == 1


def test_not_what_divides_the_candidate() -> None:
    outcome = apply(
        RULE,
        """score (float[B,5,4] user, float[B,1,4] item, float[B,2,5] item_p) => (float[B,2,4] y)
        <float half = {0.5}> {
            a = Abs(user)
            d = Add(a, half)
            v = Div(item, d)
            y = MatMul(item_p, v)
        }""",
        exact=False,
    )
    assert outcome.times == 0


def test_not_for_a_single_row() -> None:
    outcome = apply(
        RULE,
        """score (float[5,4] shared, float[B,1,4] item, float[5] p) => (float[B,4] y) {
            v = Mul(shared, item)
            y = MatMul(p, v)
        }""",
    )
    assert outcome.times == 0


def test_not_over_steps_that_there_may_be_none_of() -> None:
    assert summed(user="B,T,4", weights="B,2,T").times == 0


def test_not_in_half_precision() -> None:
    outcome = apply(
        RULE,
        """score (float16[B,5,4] user, float16[B,1,4] item, float16[B,2,5] item_p) => (float16[B,2,4] y) {
            v = Mul(user, item)
            y = MatMul(item_p, v)
        }""",
    )
    assert outcome.times == 0


@pytest.mark.parametrize("scaled", ["Div(user, item)", "Mul(user, r)"])
def test_not_what_may_be_divided_by_zero(scaled: str) -> None:
    """Infinite steps of both signs are no number when they are added up; their sum divided by 0 is infinite."""
    outcome = apply(
        RULE,
        f"""score (float[B,5,4] user, float[B,1,4] item, float[B,2,5] item_p) => (float[B,2,4] y) {{
            r = Reciprocal(item)
            v = {scaled}
            y = MatMul(item_p, v)
        }}""",
        exact=False,
    )
    assert outcome.times == 0
