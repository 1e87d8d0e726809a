"""[u; i] x_t [W; V] = [u x W; i x V]."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "concat-einsum"


def test_a_weight_for_each_token() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item) => (float[B,5,4] y) <float[5,2,4] w> {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "btd,tde->bte">(x, w)
        }""",
    )
    assert outcome.times == 1
    assert {outcome.workspace.graph.weights[n.input[1]].shape for n in outcome.of("Einsum")} == {(3, 2, 4), (2, 2, 4)}


@pytest.mark.parametrize("equation", ["btd,de->bte", "btd,de->tbe", "btd,de->bet"])
def test_one_weight_for_all_tokens(equation: str) -> None:
    shape = ",".join({"b": "B", "t": "5", "e": "4"}[letter] for letter in equation[-3:])
    outcome = apply(
        RULE,
        f"""score (float[B,3,2] user, float[B,2,2] item) => (float[{shape}] y) <float[2,4] w> {{
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "{equation}">(x, w)
        }}""",
    )
    assert outcome.times == 1


def test_two_operands_that_are_joined_alike() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item, float[B,3,2] user2, float[B,2,2] item2) => (float[B,5] y) {
            x = Concat<axis = 1>(user, item)
            z = Concat<axis = 1>(user2, item2)
            y = Einsum<equation = "btd,btd->bt">(x, z)
        }""",
    )
    assert outcome.times == 1
    assert {outcome.size_of(n.output[0]) for n in outcome.of("Einsum")} >= {(1, 3)}


@pytest.mark.parametrize("equation", ["btd,tde->be", "btd,td->bd"])
def test_not_where_tokens_are_added_up(equation: str) -> None:
    weight, result = ("5,2,4", "B,4") if "e" in equation else ("5,2", "B,2")
    outcome = apply(
        RULE,
        f"""score (float[B,3,2] user, float[B,2,2] item) => (float[{result}] y) <float[{weight}] w> {{
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "{equation}">(x, w)
        }}""",
    )
    assert outcome.times == 0


def test_not_where_the_other_operand_is_another_one_for_each_candidate() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item, float[B,5,2] item_w) => (float[B,5] y) {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "btd,btd->bt">(x, item_w)
        }""",
    )
    assert outcome.times == 0
