"""sum_t [u; i]_t [W; V]_t = sum_t u_t W_t + sum_t i_t V_t."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "split-einsum"


def test_a_weight_for_each_token() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item) => (float[B,4] y) <float[5,2,4] w> {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "btd,tde->be">(x, w)
        }""",
    )
    assert outcome.times == 1
    assert {outcome.workspace.graph.weights[n.input[1]].shape for n in outcome.of("Einsum")} == {(3, 2, 4), (2, 2, 4)}
    assert (1, 4) in {outcome.size_of(n.output[0]) for n in outcome.of("Einsum")}


def test_two_operands_that_are_joined_alike() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item, float[B,3,2] user2, float[B,2,2] item2) => (float[B,2] y) {
            x = Concat<axis = 1>(user, item)
            z = Concat<axis = 1>(user2, item2)
            y = Einsum<equation = "btd,btd->bd">(x, z)
        }""",
    )
    assert outcome.times == 1
    assert len(outcome.of("Einsum")) == 2


def test_pairs_of_fields_with_a_weight_for_each() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item) => (float[B,4,2] y) <float[4,5,5] w> {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "bid,bjd,hij->bhd">(x, x, w)
        }""",
    )
    assert outcome.times == 3
    weights = {outcome.workspace.graph.weights[n.input[2]].shape for n in outcome.of("Einsum")}
    assert weights == {(4, 3, 3), (4, 3, 2), (4, 2, 3), (4, 2, 2)}


def test_half_precision() -> None:
    outcome = apply(
        RULE,
        """score (float16[B,3,2] user, float16[B,2,2] item) => (float16[B,4] y) <float16[5,2,4] w> {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "btd,tde->be">(x, w)
        }""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize(
    "text",
    [
        # an axis that stays is another rule's
        """score (float[B,3,2] user, float[B,2,2] item) => (float[B,5,4] y) <float[5,2,4] w> {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "btd,tde->bte">(x, w)
        }""",
        # the other operand is the items' over all of the axis
        """score (float[B,3,2] user, float[B,2,2] item, float[B,5,2] item_w) => (float[B,2] y) {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "btd,btd->bd">(x, item_w)
        }""",
        # the other operand has one entry that is repeated
        """score (float[B,3,2] user, float[B,2,2] item) => (float[B,4] y) <float[1,2,4] w> {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "btd,tde->be">(x, w)
        }""",
        # a diagonal
        """score (float[B,3,5] user, float[B,2,5] item) => (float[B] y) {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "btt->b">(x)
        }""",
        # whole numbers
        """score (int64[B,3,2] user, int64[B,2,2] item) => (int64[B,4] y) <int64[5,2,4] w> {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "btd,tde->be">(x, w)
        }""",
        # items alone
        """score (float[B,3,2] item, float[B,2,2] item2, float[B,4] user) => (float[B,4] y) <float[5,2,4] w> {
            x = Concat<axis = 1>(item, item2)
            z = Einsum<equation = "btd,tde->be">(x, w)
            y = Add(z, user)
        }""",
    ],
)
def test_left_as_it_is(text: str) -> None:
    assert apply(RULE, text).times == 0
