"""repeat(u)[j] = u[j mod T]."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "flat-lookup"
TEXT = """score (float[B,5,3] user, int64[B,2] item_i, float[B,2,3] item) => (float[B,2,3] y)
<int64[2] flat = {{-1, 3}}, int64[1] two = {{2}}, int64[1] zero = {{0}}, int64 nil = {{0}}, int64 one = {{1}},
int64 five = {{5}}, int64[1] last = {{-1}}> {{
    t = Reshape(user, flat)
    sizes = Shape(item_i)
    {body}
    y = Add(g, item)
}}"""
NUMBERS = "n = Gather<axis = 0>(sizes, nil) b = Range(nil, n, one) o = Mul(b, five) c = Unsqueeze(o, last)"
LOOKED_UP = f"{NUMBERS} j = Add(c, item_i)"


@pytest.mark.parametrize(
    "body",
    [
        f"{LOOKED_UP} g = Gather<axis = 0>(t, j)",
        f"{LOOKED_UP} k = Unsqueeze(j, last) g = GatherND(t, k)",
        # From the end, and rows of whichever candidate.
        "j = Neg(item_i) m = Sub(j, one) g = Gather<axis = 0>(t, m)",
        "g = Gather<axis = 0>(t, item_i)",
        f"{LOOKED_UP} i = Cast<to = 6>(j) g = Gather<axis = 0>(t, i)",
    ],
)
def test_the_table_is_there_once(body: str) -> None:
    outcome = apply(RULE, TEXT.format(body=body))
    assert outcome.times == 1
    assert outcome.ops.get("Tile", 0) + outcome.ops.get("Expand", 0) == 0
    assert outcome.ops["Mod"] == 1


def test_numbers_of_steps_alone_are_the_same_for_all() -> None:
    outcome = apply(
        RULE,
        TEXT.format(
            body=f"{NUMBERS} two_steps = Range(one, three, one) j = Add(c, two_steps) g = Gather<axis = 0>(t, j)"
        ).replace("int64 nil", "int64 three = {3}, int64 nil"),
    )
    assert outcome.times == 1
    assert outcome.ops.get("Mul", 0) == 0


def test_a_number_of_rows_that_is_not_known() -> None:
    text = TEXT.replace("float[B,5,3]", "float[B,T,3]").format(body="k = Mod(item_i, two) g = Gather<axis = 0>(t, k)")
    assert apply(RULE, text).times == 1


@pytest.mark.parametrize(
    "body",
    [
        # Columns, not rows.
        "s = Transpose(t) h = Gather<axis = 1>(s, item_i) g = Transpose<perm = [1, 2, 0]>(h)",
        # Rows of a table that items are in.
        "v = Reshape(item, flat) g = Gather<axis = 0>(v, item_i)",
    ],
)
def test_other_tables(body: str) -> None:
    assert apply(RULE, TEXT.format(body=body)).times == 0


def test_entries_by_two_numbers_are_no_rows() -> None:
    text = """score (float[B,5,4] user, int64[B,2,2] item_i, float[B,2] item) => (float[B,2] y)
    <int64[2] flat = {-1, 4}> { t = Reshape(user, flat) g = GatherND(t, item_i) y = Add(g, item) }"""
    assert apply(RULE, text).times == 0
