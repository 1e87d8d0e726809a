"""[u; i] W = [u W; i W]."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply

RULE = "concat-tokens"


def rows_of_products(outcome: Outcome) -> set[tuple[object, ...]]:
    """What the products make, as shapes; B where it is not a number."""
    shapes = [outcome.size_of(node.output[0]) or () for node in outcome.of("MatMul")]
    return {tuple(d if isinstance(d, int) else "B" for d in shape) for shape in shapes}


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_the_users_tokens_are_projected_once(opset: int) -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item) => (float[B,5,6] y) <float[4,6] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }""",
        opset=opset,
    )
    assert outcome.times == 1
    assert rows_of_products(outcome) == {(1, 3, 6), ("B", 2, 6)}


def test_tokens_in_front_of_the_candidates() -> None:
    outcome = apply(
        RULE,
        """score (float[3,B,4] user, float[2,B,4] item) => (float[5,B,6] y) <float[4,6] w> {
            x = Concat<axis = 0>(user, item)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 1
    assert rows_of_products(outcome) == {(3, 1, 6), (2, "B", 6)}


def test_each_token_with_a_weight_of_its_own() -> None:
    outcome = apply(
        RULE,
        """score (float[3,B,4] user, float[2,B,4] item) => (float[5,B,6] y) <float[5,4,6] w> {
            x = Concat<axis = 0>(user, item)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 1
    assert rows_of_products(outcome) == {(3, 1, 6), (2, "B", 6)}


def test_one_weight_for_all_heads_of_a_stack() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,3,4] user, float[B,2,1,4] item) => (float[B,2,4,6] y) <float[2,4,6] w> {
            x = Concat<axis = 2>(user, item)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 1
    assert rows_of_products(outcome) == {(1, 2, 3, 6), ("B", 2, 1, 6)}


def test_columns_of_the_right_operand() -> None:
    outcome = apply(
        RULE,
        """score (float[B,4,3] user, float[B,4,2] item) => (float[B,6,5] y) <float[6,4] w> {
            x = Concat<axis = -1>(user, item)
            y = MatMul(w, x)
        }""",
    )
    assert outcome.times == 1
    assert rows_of_products(outcome) == {(1, 6, 3), ("B", 6, 2)}


def test_what_the_user_computes_stands_for_the_weight() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item, float[B,4,6] user_keys) => (float[B,5,6] y) {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, user_keys)
        }""",
    )
    assert outcome.times == 1
    assert (1, 3, 6) in rows_of_products(outcome)


def test_keys_of_the_user_are_not_copied_for_the_queries_of_the_items() -> None:
    outcome = apply(
        RULE,
        """score (float[B,4,3] user, float[B,4,2] item, float[B,1,4] item_q) => (float[B,1,5] y) {
            k = Concat<axis = 2>(user, item)
            y = MatMul(item_q, k)
        }""",
    )
    assert outcome.times == 1
    assert rows_of_products(outcome) == {("B", 1, 3), ("B", 1, 2)}


def test_scores_of_tokens_with_each_other() -> None:
    """Those of the user's with each other are computed once."""
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item) => (float[B,5,5] y) {
            x = Concat<axis = 1>(user, item)
            t = Transpose<perm = [0, 2, 1]>(user)
            u = Transpose<perm = [0, 2, 1]>(item)
            k = Concat<axis = 2>(t, u)
            y = MatMul(x, k)
        }""",
    )
    assert outcome.times >= 2
    assert (1, 3, 3) in rows_of_products(outcome)


def test_neighbouring_tokens_stay_together() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,1,4] user_2, float[B,2,4] item, float[B,1,4] item_2) => (float[B,7,6] y)
        <float[4,6] w> {
            x = Concat<axis = 1>(user, user_2, item, item_2)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 1
    assert rows_of_products(outcome) == {(1, 4, 6), ("B", 3, 6)}


@given(
    sizes=st.lists(st.tuples(st.booleans(), st.integers(1, 3)), min_size=2, max_size=4).filter(
        lambda parts: len({side for side, _ in parts}) == 2
    ),
    axis=st.sampled_from([1, 2]),
)
def test_any_order_of_tokens(sizes: list[tuple[bool, int]], axis: int) -> None:
    names = [f"{'user' if user else 'item'}{index}" for index, (user, _) in enumerate(sizes)]
    shapes = [f"B,{n},2,4" if axis == 1 else f"B,2,{n},4" for _, n in sizes]
    total = sum(n for _, n in sizes)
    declared = ", ".join(f"float[{shape}] {name}" for shape, name in zip(shapes, names, strict=True))
    result = f"B,{total},2,3" if axis == 1 else f"B,2,{total},3"
    outcome = apply(
        RULE,
        f"""score ({declared}) => (float[{result}] y) <float[4,3] w> {{
            x = Concat<axis = {axis}>({", ".join(names)})
            y = MatMul(x, w)
        }}""",
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "item", "axis", "other", "call", "result"),
    [
        ("B,3,4", "B,3,2", 2, "float[6,5] w", "MatMul(x, w)", "B,3,5"),  # summed over
        ("B,3,4", "B,2,4", 1, "float[6,5] w", "MatMul(w, x)", "B,6,4"),
    ],
)
def test_not_over_the_axis_that_is_summed(user: str, item: str, axis: int, other: str, call: str, result: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[{user}] user, float[{item}] item) => (float[{result}] y) <{other}> {{
            x = Concat<axis = {axis}>(user, item)
            y = {call}
        }}""",
    )
    assert outcome.times == 0


def test_not_each_candidate_with_a_matrix_of_its_own() -> None:
    outcome = apply(
        RULE,
        """score (float[3,B,1,4] user, float[2,B,1,4] item, float[5,B,4,6] item_keys) => (float[5,B,1,6] y) {
            x = Concat<axis = 0>(user, item)
            y = MatMul(x, item_keys)
        }""",
    )
    assert outcome.times == 0


def test_not_a_concat_of_candidates() -> None:
    outcome = apply(
        RULE,
        "score (float[1,4] given, float[B,4] item) => (float[N,6] y) <float[4,6] w> {"
        "x = Concat<axis = 0>(given, item) y = MatMul(x, w) }",
    )
    assert outcome.times == 0


def test_not_a_vector() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item) => (float[B,5] y) <float[4] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }""",
        w=np.ones(4, np.float32),
    )
    assert outcome.times == 0
