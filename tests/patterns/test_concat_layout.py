"""move([u, i]) = [move(u), move(i)]."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply, typed

RULE = "concat-layout"


def moved(call: str, user: str, item: str, axis: int, result: str, **settings: Any) -> int:
    """How often the rule fires for one operator behind a Concat."""
    outcome = apply(
        RULE,
        f"""score (float[{user}] user, float[{item}] item) => (float[{result}] y) {{
            x = Concat<axis = {axis}>(user, item)
            y = {call}
        }}""",
        **settings,
    )
    return outcome.times


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("perm", "user", "item", "axis", "result"),
    [
        ("[1, 0]", "B,3", "B,2", 1, "5,B"),
        ("[0, 2, 1]", "B,3,2", "B,2,2", 1, "B,2,5"),
        ("[0, 2, 1]", "B,2,3", "B,2,2", 2, "B,5,2"),
        ("[2, 1, 0]", "B,3,2", "B,2,2", -2, "2,5,B"),
        ("[0, 2, 1, 3]", "B,2,3,2", "B,2,3,3", 3, "B,3,2,5"),
    ],
)
def test_transpose(perm: str, user: str, item: str, axis: int, result: str) -> None:
    assert moved(f"Transpose<perm = {perm}>(x)", user, item, axis, result) == 1


def test_transpose_without_an_order() -> None:
    assert moved("Transpose(x)", "B,3,2", "B,2,2", 1, "2,5,B") == 1


@pytest.mark.parametrize(
    ("target", "user", "item", "axis", "result"),
    [
        ([-1, 10], "B,3,2", "B,2,2", 1, "B,10"),
        ([0, -1], "B,3,2", "B,2,2", 1, "B,10"),
        ([-1, 3, 2], "B,4", "B,2", 1, "B,3,2"),
        ([0, 3, 2], "B,4", "B,2", -1, "B,3,2"),
        ([-1, 1, 5, 2], "B,3,2", "B,2,2", 1, "B,1,5,2"),
        ([-1, 2, 5], "B,2,1,3", "B,2,1,2", 3, "B,2,5"),
        ([-1, 5], "B,4,3", "B,4,2", 2, "M,5"),
    ],
)
def test_reshape(target: list[int], user: str, item: str, axis: int, result: str) -> None:
    assert moved("Reshape(x, sizes)", user, item, axis, result, sizes=np.array(target)) == 1


@pytest.mark.parametrize(
    ("axis", "result"),
    [(1, "B,10"), (-2, "B,10"), (2, "M,2")],
)
def test_flatten(axis: int, result: str) -> None:
    fires = int(axis != 2)
    assert moved(f"Flatten<axis = {axis}>(x)", "B,3,2", "B,2,2", 1, result) == fires


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 20])
def test_squeeze_and_unsqueeze_in_each_operator_set(opset: int) -> None:
    axes, weights = ("", {"axes": np.array([1])}) if opset >= 13 else ("<axes = [1]>", {})
    second = ", axes" if opset >= 13 else ""
    assert moved(f"Squeeze{axes}(x{second})", "B,1,3", "B,1,2", 2, "B,5", opset=opset, **weights) == 1
    assert moved(f"Unsqueeze{axes}(x{second})", "B,3", "B,2", 1, "B,1,5", opset=opset, **weights) == 1


def test_several_parts_in_turn() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2] user, float[B,4] item, float[B,4] user2, float[B,2] item2) => (float[B,6,2] y)
        <int64[3] sizes = {0, 6, 2}> {
            x = Concat<axis = 1>(user, item, user2, item2)
            y = Reshape(x, sizes)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["Reshape"] == 4


def test_other_readers_keep_the_whole() -> None:
    outcome = apply(
        RULE,
        """score (float[B,4] user, float[B,2] item) => (float[B,3,2] y, float[B,6] x) <int64[3] sizes = {0, 3, 2}> {
            x = Concat<axis = 1>(user, item)
            y = Reshape(x, sizes)
        }""",
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_a_token_that_is_half_the_users_goes_with_those_of_the_items() -> None:
    """[3 + 3] columns as [2 x 3] are fine, as [3 x 2] the middle row is half the user's."""
    assert moved("Reshape(x, s)", "B,3", "B,3", 1, "B,2,3", s=np.array([-1, 2, 3])) == 1
    assert moved("Reshape(x, s)", "B,3", "B,3", 1, "B,3,2", s=np.array([-1, 3, 2])) == 1


def test_not_where_no_token_is_the_users_alone() -> None:
    assert moved("Reshape(x, s)", "B,1", "B,5", 1, "B,3,2", s=np.array([-1, 3, 2])) == 0


def test_not_where_tokens_of_candidates_mix() -> None:
    """[B, T, 5] with T joined, as [B * T, 5]: the parts of one candidate lie between those of others."""
    assert moved("Reshape(x, s)", "B,3,5", "B,2,5", 1, "M,5", s=np.array([-1, 5])) == 0


def test_not_where_columns_are_mixed_with_the_axis_before() -> None:
    assert moved("Reshape(x, s)", "B,2,3", "B,2,2", 2, "B,10", s=np.array([-1, 10])) == 0


def test_not_along_the_candidates() -> None:
    assert moved("Transpose<perm = [1, 0]>(x)", "B,3", "B,3", 0, "3,M") == 0


def test_not_where_a_size_is_unknown() -> None:
    assert moved("Transpose<perm = [1, 0]>(x)", "B,N", "B,2", 1, "K,B") == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(order=st.permutations(range(4)), axis=st.integers(1, 3), sizes=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_any_transpose(order: list[int], axis: int, sizes: tuple[int, int]) -> None:
    shape: list[object] = ["B", 2, 3, 1]
    left, right = ([*shape[:axis], size, *shape[axis + 1 :]] for size in sizes)
    shape[axis] = sum(sizes)
    outcome = apply(
        RULE,
        f"""score ({typed("float", left)} user, {typed("float", right)} item)
        => ({typed("float", [shape[i] for i in order])} y) {{
            x = Concat<axis = {axis}>(user, item)
            y = Transpose<perm = {order}>(x)
        }}""",
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == 1


@given(
    before=st.sampled_from([[12], [2, 6], [6, 2], [3, 4], [2, 3, 2], [1, 12], [12, 1], [3, 1, 4]]),
    after=st.sampled_from([[12], [2, 6], [6, 2], [3, 4], [4, 3], [2, 2, 3], [1, 12], [12, 1], [2, 1, 6]]),
    data=st.data(),
)
def test_any_reshape(before: list[int], after: list[int], data: st.DataObject) -> None:
    """Fires exactly where at least one entry of some axis of the result is the user's alone."""
    axis = data.draw(st.integers(0, len(before) - 1))
    if before[axis] < 2:
        return
    cut = data.draw(st.integers(1, before[axis] - 1))
    user, item = (["B", *before[:axis], size, *before[axis + 1 :]] for size in (cut, before[axis] - cut))
    outcome = apply(
        RULE,
        f"""score ({typed("float", user)} user, {typed("float", item)} item) => ({typed("float", ["B", *after])} y) {{
            x = Concat<axis = {axis + 1}>(user, item)
            y = Reshape(x, sizes)
        }}""",
        sizes=np.array([0, *after]),
        batches=(1, 2, 7),
    )
    lead, right = int(np.prod(before[:axis])), int(np.prod(before[axis + 1 :]))
    possible = False
    for k, size in enumerate(after):
        behind = int(np.prod(after[k + 1 :]))
        whole = right % behind == 0 or behind % right == 0  # the rule leaves other ratios alone
        possible |= int(np.prod(after[:k])) == lead and whole and cut * right >= behind and size > 1
    assert (outcome.times > 0) == possible
