"""[U, V, i] = [[U, V], i]."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply

RULE = "concat-group"


def text_of(names: list[str]) -> str:
    inputs = ", ".join(f"float[B,{2 + index}] {name}" for index, name in enumerate(names))
    return f"score ({inputs}) => (float[B,M] y) {{ y = Concat<axis = 1>({', '.join(names)}) }}"


def test_neighbours_are_repeated_together() -> None:
    outcome = apply(RULE, text_of(["user1", "user2", "item1"]))
    assert outcome.times == 1
    assert outcome.ops["Expand"] == 1


def test_each_run_of_neighbours() -> None:
    outcome = apply(RULE, text_of(["user1", "user2", "item1", "user3", "user4", "user5"]))
    assert outcome.times == 1
    assert outcome.ops["Expand"] == 2


def test_not_a_single_part() -> None:
    assert apply(RULE, text_of(["user1", "item1", "user2"])).times == 0


def test_not_without_items() -> None:
    assert apply(RULE, text_of(["user1", "user2"]).replace("(float[B,2]", "(float[B] item, float[B,2]")).times == 0


def test_not_without_users() -> None:
    assert apply(RULE, text_of(["item1", "item2"])).times == 0


def test_not_along_the_candidates() -> None:
    text = """score (float[B,3] user, float[B,3] user2, float[B,3] item) => (float[M,3] y) {
        y = Concat<axis = 0>(user, user2, item)
    }"""
    assert apply(RULE, text).times == 0


@given(sides=st.lists(st.sampled_from(["user", "item"]), min_size=1, max_size=7))
def test_any_order(sides: list[str]) -> None:
    names = [f"{side}{index}" for index, side in enumerate([*sides, "item"])]
    outcome = apply(RULE, text_of(names), batches=(0, 1, 2, 7))
    neighbours = any(a == b == "user" for a, b in pairwise(sides))
    runs = sum(side == "user" and (index == 0 or sides[index - 1] != "user") for index, side in enumerate(sides))
    assert outcome.times == neighbours
    assert outcome.ops["Expand"] == runs
