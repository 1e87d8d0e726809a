"""[x_j, y_k] = [x, y][j, k]."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.patterns.support import apply

RULE = "joined-entries"
INPUTS = "float[B,4,3] user, float[B,5,3] user_2, float[B,4,3] item, float[B,5,3] item_2"


def text_of(picks: Sequence[tuple[str, int]], *, inputs: str = INPUTS, axis: int = 1, result: str = "B,W") -> str:
    """Entries of values, one after the other, side by side."""
    work = " ".join(f"p{n} = Gather<axis = 1>({value}, i{k})" for n, (value, k) in enumerate(picks))
    names = ", ".join(f"p{n}" for n in range(len(picks)))
    return f"""score ({inputs}) => (float[{result.replace("W", str(3 * len(picks)))}] z)
        <{", ".join(f"int64 i{k} = {{{k}}}" for k in range(5))}, int64 i_4 = {{-4}}> {{
        {work.replace("i-4", "i_4")} y = Concat<axis = {axis}>({names}) z = Neg(y)
    }}"""


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize(
    "picks",
    [
        [("item", 2), ("item", 0), ("item", 3)],
        [("item", 2), ("item", 2), ("item", -4)],
        [("item", 2), ("item_2", 0), ("item", 1), ("item_2", 4), ("item", 0)],
        [("item", 0), ("item", 1), ("item", 3), ("item", 0)],  # two of them neighbours
    ],
)
def test_entries_in_any_order(picks: list[tuple[str, int]], axis: int) -> None:
    outcome = apply(RULE, text_of(picks, axis=axis))
    assert outcome.times == 1
    assert outcome.ops["Gather"] == 1


def test_of_the_user() -> None:
    picks = [("user", 2), ("user", 0), ("user_2", 3), ("user", 1), ("user_2", 0)]
    text = text_of(picks).replace("z = Neg(y)", "s = ReduceSum<keepdims = 0>(item) z = Mul(y, s)")
    outcome = apply(RULE, text)
    assert outcome.times == 1
    [gather] = outcome.of("Gather")
    assert outcome.size_of(gather.output[0]) == (1, 5, 3)


def test_each_side_and_what_is_no_entry_stays_where_it_is() -> None:
    picks = [("item", 2), ("item", 0), ("item", 3), ("item_3", 0), ("item", 1), ("item", 0), ("item", 2)]
    text = text_of(picks, inputs=INPUTS + ", float[B,3] item_3").replace("Gather<axis = 1>(item_3, i0)", "Abs(item_3)")
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert outcome.ops["Gather"] == 2


def test_an_axis_further_back() -> None:
    picks = [("item", 2), ("item", 0), ("item", 3)]
    text = text_of(picks, inputs="float[B,2,4,3] item", axis=2, result="B,2,W").replace(
        "Gather<axis = 1>", "Gather<axis = 2>"
    )
    assert apply(RULE, text).times == 1


@pytest.mark.parametrize(
    "picks",
    [
        [("item", 2), ("item", 0)],  # few
        [("item", 2), ("item_2", 0), ("item", 1), ("item_2", 1)],
        [("item", 0), ("item", 1), ("item", 2), ("item", 3)],  # neighbours, which are one piece
        [("item", 2), ("user", 0), ("item", 1), ("item", 0), ("user", 2)],  # what runs once and what does not
    ],
)
def test_others(picks: list[tuple[str, int]]) -> None:
    assert apply(RULE, text_of(picks)).times == 0


def test_another_axis() -> None:
    picks = [("item", 2), ("item", 0), ("item", 3)]
    text = text_of(picks, inputs="float[B,4,2,3] item", axis=2, result="B,2,W")
    assert apply(RULE, text).times == 0


def test_entries_of_another_size() -> None:
    picks = [("item", 2), ("item_2", 0), ("item", 1), ("item_2", 1), ("item", 0)]
    text = text_of(picks, inputs="float[B,4,3] item, float[B,5,2] item_2", result="B,13")
    assert apply(RULE, text).times == 0


def test_entries_that_are_lists() -> None:
    text = """score (float[B,4,3] item) => (float[B,3,3] z) <int64[1] a = {2}, int64[1] b = {0}, int64[1] c = {3}> {
        p = Gather<axis = 1>(item, a) q = Gather<axis = 1>(item, b) r = Gather<axis = 1>(item, c)
        y = Concat<axis = 1>(p, q, r) z = Neg(y) }"""
    assert apply(RULE, text).times == 0
