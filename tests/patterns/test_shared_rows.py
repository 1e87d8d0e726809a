"""repeat(u)[b, i_b] = u[i_b]."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import IDS, Outcome, apply

RULE = "shared-rows"
ROWS = IDS
"""As many rows as ids are drawn for, so that each id is one."""


def chosen(indices: str, wide: str, *, axis: int = 1, opset: int = 17, more: str = "") -> Outcome:
    """Rows of ``user`` that each item chooses."""
    text = f"""score (float[B,{ROWS},3] user, int64[B,2,1] item_i, float[B,2,3] item{more}) => (float[B,2,3] y)
        <int64[3] three = {{1, 1, 3}}> {{
        w = {wide}
        g = GatherElements<axis = {axis}>(user, {indices})
        y = Add(g, item)
    }}"""
    return apply(RULE, text, opset=opset)


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize(
    "wide",
    [
        "Expand(item_i, three)",
        "Tile(item_i, three)",
        "Concat<axis = 2>(item_i, item_i, item_i)",
    ],
)
def test_rows_by_their_elements(wide: str, opset: int) -> None:
    outcome = chosen("w", wide, opset=opset)
    assert outcome.times == 1
    assert outcome.ops["GatherElements"] == 0
    assert outcome.ops["Gather"] == 1
    assert "user" in outcome.workspace.graph.nodes[0].inputs or outcome.ops["Reshape"] > 0


def test_entries_of_a_vector() -> None:
    text = f"""score (float[B,{ROWS}] user, int64[B,4] item_i, float[B,4] item) => (float[B,4] y) {{
        g = GatherElements<axis = 1>(user, item_i) y = Add(g, item)
    }}"""
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert outcome.ops["Expand"] == 0


@pytest.mark.parametrize(("axes", "result"), [("4,1", "4,3"), ("1", "3"), ("2,2,1", "2,2,3")])
def test_rows_by_tuples(axes: str, result: str) -> None:
    text = f"""score (float[B,{ROWS},3] user, int64[B,{axes}] item_i, float[B,{result}] item)
        => (float[B,{result}] y) {{
        g = GatherND<batch_dims = 1>(user, item_i) y = Add(g, item)
    }}"""
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert outcome.ops["GatherND"] == 0
    assert outcome.ops["Expand"] == 0


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_rows_of_each_head(opset: int) -> None:
    text = f"""score (float[B,2,{ROWS},3] user, int64[B,2,4,1] item_i, float[B,2,4,3] item) => (float[B,2,4,3] y)
        <int64[4] three = {{1, 1, 1, 3}}> {{
        w = Expand(item_i, three) g = GatherElements<axis = 2>(user, w) y = Add(g, item)
    }}"""
    outcome = apply(RULE, text, opset=opset)
    assert outcome.times == 1
    assert outcome.ops["GatherElements"] == 0
    assert outcome.ops["Mod"] == 1, "ids may count from the end"


def test_rows_of_each_head_that_cannot_count_from_the_end() -> None:
    text = """score (float[B,2,5,3] user, float[B,2,5] item_scores, float[B,2,4,3] item) => (float[B,2,4,3] y)
        <int64[1] four = {4}, int64[1] last = {-1}, int64[4] three = {1, 1, 1, 3}> {
        best, i = TopK(item_scores, four) n = Unsqueeze(i, last) w = Expand(n, three)
        g = GatherElements<axis = -2>(user, w) y = Add(g, item)
    }"""
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert outcome.ops["Mod"] == 0


def test_rows_of_each_head_counted_from_the_end() -> None:
    text = f"""score (float[B,2,{ROWS},3] user, int64[B,2,4,1] item_i, float[B,2,4,3] item) => (float[B,2,4,3] y)
        <int64 back = {{{-ROWS}}}, int64[4] three = {{1, 1, 1, 3}}> {{
        last = Add(item_i, back) w = Expand(last, three) g = GatherElements<axis = 2>(user, w) y = Add(g, item)
    }}"""
    assert apply(RULE, text).times == 1


def test_one_head_of_any_length() -> None:
    text = """score (float[B,1,T,3] user, float[B,1,T] item_scores, float[B,1,2,3] item) => (float[B,1,2,3] y)
        <int64[1] two = {2}, int64[1] last = {-1}, int64[4] three = {1, 1, 1, 3}> {
        best, i = TopK(item_scores, two) n = Unsqueeze(i, last) w = Expand(n, three)
        g = GatherElements<axis = 2>(user, w) y = Add(g, item)
    }"""
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert outcome.ops["Add"] == 1, "nothing is added to the indices"


def test_rows_counted_from_the_end() -> None:
    text = f"""score (float[B,{ROWS},3] user, int64[B,2,1] item_i, float[B,2,3] item) => (float[B,2,3] y)
        <int64 back = {{{-ROWS}}}, int64[3] three = {{1, 1, 3}}> {{
        last = Add(item_i, back) w = Expand(last, three)
        g = GatherElements<axis = -2>(user, w) y = Add(g, item)
    }}"""
    assert apply(RULE, text).times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_where_columns_choose_different_rows() -> None:
    text = f"""score (float[B,{ROWS},3] user, int64[B,2,3] item_i, float[B,2,3] item) => (float[B,2,3] y) {{
        g = GatherElements<axis = 1>(user, item_i) y = Add(g, item)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_where_some_columns_are_left_out() -> None:
    text = f"""score (float[B,{ROWS},3] user, int64[B,2,1] item_i, float[B,2,1] item) => (float[B,2,1] y) {{
        g = GatherElements<axis = 1>(user, item_i) y = Add(g, item)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_where_heads_have_any_number_of_rows() -> None:
    text = """score (float[B,2,T] user, float[B,2,T] item_scores, float[B,2,1] item) => (float[B,2,1] y)
        <int64[1] one = {1}> {
        best, i = TopK(item_scores, one) g = GatherElements<axis = 2>(user, i) y = Add(g, item)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_some_heads_are_left_out() -> None:
    text = f"""score (float[B,3,{ROWS}] user, int64[B,2,1] item_i, float[B,2,1] item) => (float[B,2,1] y) {{
        g = GatherElements<axis = 2>(user, item_i) y = Add(g, item)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_from_rows_of_items() -> None:
    text = f"""score (float[B,{ROWS},3] item2, int64[B,2,1] item_i, float[B,2,3] user) => (float[B,2,3] y)
        <int64[3] three = {{1, 1, 3}}> {{
        w = Expand(item_i, three) g = GatherElements<axis = 1>(item2, w) y = Add(g, user)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_by_tuples_of_several_numbers_or_without_a_batch() -> None:
    text = f"""score (float[B,{ROWS},{ROWS}] user, int64[B,4,2] item_i, float[B,4] item) => (float[B,4] y) {{
        g = GatherND<batch_dims = 1>(user, item_i) y = Add(g, item)
    }}"""
    assert apply(RULE, text).times == 0


@given(count=st.integers(1, 4), columns=st.integers(1, 3), rest=st.integers(1, 2))
def test_any_sizes(count: int, columns: int, rest: int) -> None:
    shape = f"B,{count},{columns},{rest}"
    text = f"""score (float[B,{ROWS},{columns},{rest}] user, int64[B,{count},1,1] item_i, float[{shape}] item)
        => (float[{shape}] y) <int64[4] wide = {{1, 1, {columns}, {rest}}}> {{
        w = Expand(item_i, wide) g = GatherElements<axis = 1>(user, w) y = Add(g, item)
    }}"""
    assert apply(RULE, text).times == 1
