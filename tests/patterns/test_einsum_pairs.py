"""sum_ij y_i W_ij u_j = sum_i y_i (sum_j W_ij u_j)."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "einsum-pairs"
SIZES = {"b": "B", "t": "3", "i": "2", "j": "4", "k": "5", "o": "2"}


def shape(letters: str) -> str:
    return ",".join(SIZES[letter] for letter in letters)


def einsum(equation: str) -> Outcome:
    """An Einsum of the item's, a weight and the user's, in this order."""
    terms, result = equation.split("->")
    item, weight, other = terms.split(",")
    return apply(
        RULE,
        f"""score (float[{shape(other)}] user, float[{shape(item)}] item) => (float[{shape(result)}] r)
            <float[{shape(weight)}] w> {{
            r = Einsum<equation = "{equation}">(item, w, user)
        }}""",
    )


def equations(outcome: Outcome) -> list[str]:
    return [attribute.s.decode() for node in outcome.of("Einsum") for attribute in node.attribute]


@pytest.mark.parametrize(
    ("equation", "expected"),
    [
        ("bi,ij,btj->bt", ["ij,btj->ibt", "bi,ibt->bt"]),  # the user's keys with the weight, once
        ("bi,oij,bj->bo", ["oij,bj->oib", "bi,oib->bo"]),  # a bilinear layer
        ("bi,ij,bj->b", ["ij,bj->ib", "bi,ib->b"]),
    ],
)
def test_what_is_the_users_is_made_once(equation: str, expected: list[str]) -> None:
    outcome = einsum(equation)
    assert outcome.times == 1
    assert equations(outcome) == expected
    made = outcome.size_of(outcome.of("Einsum")[0].output[0])
    assert made[expected[0].partition("->")[2].index("b")] == 1


def test_from_the_left_where_something_may_be_infinite() -> None:
    outcome = apply(
        RULE,
        """score (float[B,4] user, float[B,2] item, float[B,4] user_length) => (float[B] r) <float[2,4] w> {
            u = Div(user, user_length)
            r = Einsum<equation = "bi,ij,bj->b">(item, w, u)
        }""",
    )
    assert outcome.times == 1
    assert equations(outcome) == ["bi,ij->bj", "bj,bj->b"]


def test_four_operands() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,3] user, float[B,2] item) => (float[B,3] r) <float[2,4] v, float[4,2] w> {
            r = Einsum<equation = "bi,ij,jk,bkt->bt">(item, v, w, user)
        }""",
    )
    assert outcome.times == 1
    assert len(outcome.of("Einsum")) == 3


@pytest.mark.parametrize(
    "text",
    [
        # two operands are a pair already
        """score (float[B,4] user, float[B,4] item) => (float[B] r) {
            r = Einsum<equation = "bi,bi->b">(item, user)
        }""",
        # there once: nothing runs for candidates
        """score (float[B,4] user, float[B,4] user_too, float[B,4] item) => (float[B,4] r) <float[4] w> {
            u = Einsum<equation = "bi,bi,i->bi">(user, user_too, w)
            r = Add(u, item)
        }""",
        # a diagonal
        """score (float[B,4] user, float[B,4] item) => (float[B] r) <float[4,4] w> {
            r = Einsum<equation = "bi,bi,ii->b">(item, user, w)
        }""",
        # an axis of one entry that is repeated
        """score (float[B,1] user, float[B,4] item) => (float[B,4] r) <float[4] w> {
            r = Einsum<equation = "bi,bi,i->bi">(item, user, w)
        }""",
        # whole numbers
        """score (int64[B,4] user, int64[B,4] item) => (int64[B,4] r) <int64[4] w> {
            r = Einsum<equation = "bi,bi,i->bi">(item, user, w)
        }""",
        # a history that may have no steps
        """score (float[B,T,4] user, float[B,4] item) => (float[B,T] r) <float[4] w> {
            r = Einsum<equation = "bi,bti,i->bt">(item, user, w)
        }""",
    ],
)
def test_left_as_it_is(text: str) -> None:
    assert apply(RULE, text).times == 0
