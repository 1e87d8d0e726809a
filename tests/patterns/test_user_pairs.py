"""x[k] = [u[k_u], x[k_i]]."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "user-pairs"

FIELDS = "user, item, user_more, item_more"
SIDES = [True, True, False, True, False]
"""Of the fields, in their order: whether they are the user's."""
PAIRS = np.array(list(combinations(range(5), 2)))
BOTH_USERS = 3


def pairs_of(rest: str, result: str = "float[B,N]", weights: str = "", **given: Any) -> Outcome:
    return apply(
        RULE,
        f"""score (float[B,2,3] user, float[B,1,3] item, float[B,1,3] user_more, float[B,1,3] item_more)
            => ({result} y) {f"<{weights}>" if weights else ""} {{
            x = Concat<axis = 1>({FIELDS})
            l = Gather<axis = 1>(x, left)
            r = Gather<axis = 1>(x, right)
            {rest}
        }}""",
        opset=13,
        left=PAIRS[:, 0],
        right=PAIRS[:, 1],
        **given,
    )


def lists(outcome: Outcome) -> list[tuple[object, object]]:
    """For each list of pairs its candidates and its length."""
    shapes = [outcome.size_of(node.output[0]) for node in outcome.of("Gather")]
    return sorted(((s[0] if isinstance(s[0], int) else "B", s[1]) for s in shapes), key=str)


SPLIT = sorted([("B", 7), ("B", 7), (1, 3), (1, 3)], key=str)


def test_as_many_pairs_are_the_users_as_are_said() -> None:
    assert sum(SIDES[a] and SIDES[b] for a, b in PAIRS) == BOTH_USERS
    assert len(PAIRS) == BOTH_USERS + 7


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "result", "weights"),
    [
        ("p = Mul(l, r) one = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(p, one)", "float[B,N]", ""),
        ("p = Mul(l, r) f = Flatten(p) y = MatMul(f, w)", "float[B,N]", "float[30,2] w"),
        ("p = Mul(l, r) f = Flatten(p) y = Gemm<transB = 1>(f, w)", "float[B,N]", "float[2,30] w"),
        (
            "q = Mul(r, w) p = Mul(l, q) one = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(p, one)",
            "float[B,N]",
            "float[10,1] w",
        ),
        (
            """u = Unsqueeze(l, three) m = MatMul(u, w) s = Squeeze(m, three) p = Mul(s, r)
            one = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(p, one)""",
            "float[B,N]",
            "float[10,3,3] w, int64[1] three = {2}",
        ),
    ],
)
def test_pairs_that_end_in_a_sum(rest: str, result: str, weights: str) -> None:
    outcome = pairs_of(rest, result, weights)
    assert outcome.times == 1
    assert lists(outcome) == SPLIT


def test_pairs_with_a_value_that_is_computed_once() -> None:
    rest = """t = Gather<axis = 1>(user, left_two) p = Mul(l, t) q = Mul(p, r)
        one = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(q, one)"""
    outcome = pairs_of(rest, left_two=PAIRS[:, 0] % 2)
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_pairs_whose_order_is_seen() -> None:
    outcome = pairs_of("y = Mul(l, r)", "float[B,10,3]")
    assert outcome.times == 0
    assert "the order of its pairs matters to something that reads them" in outcome.reasons


def test_pairs_that_all_have_a_field_of_the_item() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,3] user, float[B,2,3] item) => (float[B,3] y) {
            x = Concat<axis = 1>(user, item)
            l = Gather<axis = 1>(x, left)
            r = Gather<axis = 1>(x, right)
            p = Mul(l, r)
            one = Constant<value_ints = [1]>()
            y = ReduceSum<keepdims = 0>(p, one)
        }""",
        opset=13,
        left=np.array([0, 0, 1]),
        right=np.array([1, 2, 2]),
    )
    assert outcome.times == 0
