"""cumsum([u, i]) = [cumsum(u), sum(u) + cumsum(i)]."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "concat-cumsum"


def summed(parts: str, *, attrs: str = "", axis: int = 1, opset: int = 17, dtype: str = "float") -> Outcome:
    return apply(
        RULE,
        f"""score ({dtype}[B,3,2] user, {dtype}[B,1,2] item, {dtype}[B,2,2] item_more, {dtype}[B,1,2] user_more)
            => ({dtype}[B,N,2] y) <int64 axis = {{{axis}}}> {{
            x = Concat<axis = 1>({parts})
            y = CumSum{attrs}(x, axis)
        }}""",
        opset=opset,
    )


def once(outcome: Outcome) -> int:
    """How many running sums are worked out for the user alone."""
    return sum(outcome.size_of(node.output[0])[0] == 1 for node in outcome.of("CumSum"))


ATTRS = ("", "<exclusive = 1>", "<reverse = 1>", "<exclusive = 1, reverse = 1>")


@pytest.mark.parametrize("attrs", ATTRS)
@pytest.mark.parametrize(
    "parts",
    ["user, item", "user, item_more", "item, user", "item_more, user, item", "user, item, user_more, item_more"],
)
def test_parts_are_added_up_one_after_the_other(parts: str, attrs: str) -> None:
    outcome = summed(parts, attrs=attrs)
    assert outcome.times == 1
    assert once(outcome) >= 1


@pytest.mark.parametrize("attrs", ATTRS)
@pytest.mark.parametrize("axis", [2, -1])
def test_along_another_axis(axis: int, attrs: str) -> None:
    outcome = summed("user, item_more", attrs=attrs, axis=axis)
    assert outcome.times == 1
    assert once(outcome) == 1
    assert "Add" not in outcome.ops


@pytest.mark.parametrize("dtype", ["double", "int64", "int32"])
def test_other_types(dtype: str) -> None:
    assert summed("user, item, item_more", dtype=dtype).times == 1


def test_before_operator_set_13() -> None:
    assert summed("user, item_more", opset=11).times == 1


def test_a_candidate_at_the_end_is_added_to_the_sum() -> None:
    outcome = summed("user, item")
    assert outcome.ops["CumSum"] == 1


def test_not_over_candidates() -> None:
    assert summed("user, item", axis=0).times == 0


def test_not_on_one_side() -> None:
    assert summed("item, item_more").times == 0


def test_not_where_the_axis_is_not_known() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item, int64 axis) => (float[B,5] y) {
            x = Concat<axis = 1>(user, item)
            one = Constant<value_int = 1>()
            zero = Sub(axis, axis)
            along = Add(zero, one)
            y = CumSum(x, along)
        }""",
    )
    assert outcome.times == 0
