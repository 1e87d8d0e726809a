"""repeat(u)[r, j] = u[j]."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "same-row"


def masked(body: str, result: str = "B,1,1,5", *, opset: int = 17) -> Outcome:
    """A history looked up by the numbers of rows ``r`` and steps ``j``, as Transformers looks up its mask."""
    return apply(
        RULE,
        f"""score (float[B,5] user, float[B,1] item) => (float[{result}] z)
        <int64[1,1,1,5] steps = {{0, 1, 2, 3, 4}}, int64[1] minus = {{-1}}, int64[3] behind = {{1, 2, 3}},
        int64 nil = {{0}}, int64 one = {{1}}> {{
            sizes = Shape(item)
            count = Gather(sizes, nil)
            numbers = Range(nil, count, one)
            rows = Unsqueeze(numbers, behind)
            both = Max(rows, steps)
            whole = Shape(both)
            rows2 = Expand(rows, whole)
            r = Unsqueeze(rows2, minus)
            steps2 = Expand(steps, whole)
            j = Unsqueeze(steps2, minus)
            {body}
            more = ReduceSum(item, minus)
            m = Reshape(more, minus)
            scalar = ReduceSum<keepdims = 0>(m)
            z = Add(y, scalar)
        }}""",
        opset=opset,
    )


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_the_mask_of_a_history(opset: int) -> None:
    outcome = masked("i = Concat<axis = -1>(r, j) y = GatherND(user, i)", opset=opset)
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("GatherND")[0].input[0]) == (5,)


def test_rows_alone() -> None:
    outcome = masked("y = GatherND(user, r)", "B,1,1,5,5")
    assert outcome.times == 1
    assert outcome.ops["GatherND"] == 0


def looked_up(indices: str, numbers: str, result: str, *, axis: int = 0, item: str = "B,2,3") -> Outcome:
    return apply(
        RULE,
        f"""score (float[B,2,3] user, float[{item}] item) => (float[{result}] z) <int64{indices} r = {{{numbers}}}> {{
            u = Relu(user)
            y = Gather<axis = {axis}>(u, r)
            z = Add(y, item)
        }}""",
        batches=(2, 7),
    )


@pytest.mark.parametrize(
    ("indices", "numbers", "result"),
    [
        ("", "1", "B,2,3"),
        ("", "-1", "B,2,3"),
        ("[1]", "1", "B,2,3"),
        ("[1,1]", "1", "1,B,2,3"),
    ],
)
def test_some_row(indices: str, numbers: str, result: str) -> None:
    outcome = looked_up(indices, numbers, result)
    assert outcome.times == 1
    assert outcome.ops["Gather"] == 0


@pytest.mark.parametrize(("indices", "result"), [("", "B,2,3"), ("[1]", "B,2,3")])
def test_the_first_row_is_known_to_be_the_users_before(indices: str, result: str) -> None:
    assert looked_up(indices, "0", result).times == 0


def test_several_rows() -> None:
    outcome = looked_up("[2]", "0, 1", "2,2,3", item="2,3")
    assert outcome.times == 1


@pytest.mark.parametrize("axis", [1, 2])
def test_other_axes_stay(axis: int) -> None:
    item = "B,2,1" if axis == 2 else "B,1,3"
    assert looked_up("[1]", "0", item, axis=axis, item=item).times == 0


SORTED = """score (float[B,3] user, float[B] user_len, float[B,3] item) => (float[B,3] z) <int64[1] last = {{-1}}> {{
    count = Shape(user_len)
    lengths, order = TopK<axis = 0>(user_len, count)
    {body}
    z = Add(y, item)
}}"""


def test_candidates_sorted_by_lengths() -> None:
    body = "h = Gather<axis = 0>(user, order) c = Unsqueeze(lengths, last) y = Mul(h, c)"
    outcome = apply(RULE, SORTED.format(body=body))
    assert outcome.times == 2
    assert outcome.ops["TopK"] == outcome.ops["Gather"] == 0


def test_the_order_itself_is_asked_for() -> None:
    body = "o = Cast<to = 1>(order) s = Add(o, lengths) y = Unsqueeze(s, last)"
    outcome = apply(RULE, SORTED.format(body=body))
    assert outcome.times == 1
    assert outcome.ops["TopK"] == 1


def test_entries_of_a_row_that_are_sorted_stay() -> None:
    outcome = apply(
        RULE,
        """score (float[B,5] user, float[B,2] item) => (float[B,2] z) <int64[1] two = {2}> {
            most, which = TopK(user, two)
            z = Add(most, item)
        }""",
    )
    assert outcome.times == 0


def test_candidates_that_another_number_picks() -> None:
    """The candidates are the second axis, and the first number picks the first."""
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,1] item) => (float[B,2] z) <int64[2,2] i = {1, 0, 2, 0}> {
            t = Transpose<perm = [1, 0]>(user)
            y = GatherND(t, i)
            z = Add(y, item)
        }""",
    )
    assert outcome.times == 0


def test_rows_of_items_stay() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,3] item) => (float[B,3] z) <int64 r = {0}> {
            y = Gather<axis = 0>(item, r)
            z = Add(y, user)
        }""",
    )
    assert outcome.times == 0
