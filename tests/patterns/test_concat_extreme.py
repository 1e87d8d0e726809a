"""max([u, i]) = max([max(u), i])."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply, requests, session

RULE = "concat-extreme"


def reduced(op: str, opset: int, parts: str = "user, item", keep: int = 1, axis: int = 1) -> Outcome:
    given = f"a = Constant<value_ints = [{axis}]>() y = {op}<keepdims = {keep}>(x, a)"
    before = f"y = {op}<keepdims = {keep}, axes = [{axis}]>(x)"
    return apply(
        RULE,
        f"""score (float[B,5,3] user, float[B,2,3] item) => (float[B{",1" * keep},3] y) {{
            x = Concat<axis = 1>({parts})
            {given if opset >= 18 else before}
        }}""",
        opset=opset,
    )


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("keep", [0, 1])
def test_a_history_with_the_candidate_behind_it(op: str, opset: int, keep: int) -> None:
    outcome = reduced(op, opset, keep=keep)
    assert outcome.times == 1
    assert [outcome.size_of(n.input[0])[1] for n in outcome.of(op)] == [5, 3]


def test_the_user_behind_the_item_as_well() -> None:
    assert reduced("ReduceMax", 18, "user, item, user").times == 1


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("first", [0, 1, 4])
def test_a_nan_in_the_history_reaches_the_scores_it_reached_before(first: int, opset: int) -> None:
    outcome = reduced("ReduceMax", opset)
    full, single = requests(outcome.original, outcome.inputs, 7)
    for feeds in (full, single):
        feeds["user"] = feeds["user"].copy()
        feeds["user"][:, first, 1] = np.nan
        feeds["item"] = full["item"].copy()
        feeds["item"][3, 0, 2] = np.nan
    (expected,), (found,) = (session(m).run(None, f) for m, f in ((outcome.original, full), (outcome.result, single)))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("parts", ["item, user", "item, item"])
def test_what_begins_with_the_item(parts: str) -> None:
    assert reduced("ReduceMax", 18, parts).times == 0


def test_over_another_axis() -> None:
    outcome = apply(
        RULE,
        """score (float[B,5,3] user, float[B,2,3] item) => (float[B,7,1] y) {
            x = Concat<axis = 1>(user, item)
            a = Constant<value_ints = [2]>()
            y = ReduceMax(x, a)
        }""",
        opset=18,
    )
    assert outcome.times == 0
