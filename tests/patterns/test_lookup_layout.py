"""move(u[i]) = move(u)[move(i)]."""

from __future__ import annotations

import pytest

from tests.patterns.support import IDS, Outcome, apply, rule_named

RULE = "lookup-layout"


def laid_out(nodes: str, *, axis: int = 0, rows: str = f"{IDS},2,6", indices: str = "B,5", opset: int = 17) -> Outcome:
    """Rows that were given once per request, of which each candidate chooses some, behind one operator."""
    return apply(
        RULE,
        f"""score (float[{rows}] given, int64[{indices}] item_i) => (float[N] z) {{
            g = Gather<axis = {axis}>(given, item_i) {nodes}
            minus = Constant<value_ints = [-1]>()
            z = Reshape(y, minus)
        }}""",
        opset=opset,
    )


@pytest.mark.parametrize(
    ("perm", "count"),
    [("1, 0, 2, 3", 1), ("0, 1, 3, 2", 1), ("2, 0, 1, 3", 1), ("3, 2, 1, 0", 2), ("2, 1, 0, 3", 2), ("3, 0, 1, 2", 1)],
)
def test_axes_in_another_order(perm: str, count: int) -> None:
    outcome = laid_out(f"y = Transpose<perm = [{perm}]>(g)")
    assert outcome.times == 1
    (lookup,) = outcome.of("Gather")
    assert len(outcome.of("Transpose")) == count
    assert all(node.output[0] in lookup.input for node in outcome.of("Transpose"))


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("perm", ["2, 1, 0", "2, 0, 1", "0, 2, 1", "1, 0, 2"])
def test_any_axis_may_be_looked_up(axis: int, perm: str) -> None:
    rows = {1: f"2,{IDS},3", 2: f"2,3,{IDS}", -1: f"2,3,{IDS}"}[axis]
    outcome = laid_out(f"y = Transpose<perm = [{perm}]>(g)", axis=axis, rows=rows, indices="B")
    assert outcome.times == 1


@pytest.mark.parametrize("perm", ["0, 2, 1, 3", "1, 2, 3, 0", "0, 3, 2, 1"])
def test_not_where_axes_of_the_indices_come_apart(perm: str) -> None:
    assert laid_out(f"y = Transpose<perm = [{perm}]>(g)").times == 0


def test_all_axes_turned_round() -> None:
    assert laid_out("y = Transpose(g)").times == 1


@pytest.mark.parametrize(
    "shape", ["0, 5, 12", "0, 0, 2, 2, 3", "0, 5, 2, 3, 2", "0, 5, -1, 1", "-1, 5, 4, 3", "1, -1, 5, 12"]
)
def test_rows_in_another_shape(shape: str) -> None:
    outcome = laid_out(f"s = Constant<value_ints = [{shape}]>() y = Reshape(g, s)")
    assert outcome.times == 1
    (lookup,) = outcome.of("Gather")
    assert lookup.input[1] == "item_i"
    assert lookup.input[0] != "given"


@pytest.mark.parametrize("axes", ["0", "-1", "2", "4"])
def test_more_axes(axes: str) -> None:
    assert laid_out(f"a = Constant<value_ints = [{axes}]>() y = Unsqueeze(g, a)").times == 1


def test_fewer_axes() -> None:
    outcome = laid_out("a = Constant<value_ints = [-2]>() y = Squeeze(g, a)", rows=f"{IDS},1,6")
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("Gather")[0].input[0]) == (IDS, 6)


@pytest.mark.parametrize("shape", ["-1, 2, 6", "0, 10, 6", "0, 60", "5, -1, 2, 6"])
def test_not_where_indices_and_rows_are_laid_out_as_one(shape: str) -> None:
    assert laid_out(f"s = Constant<value_ints = [{shape}]>() y = Reshape(g, s)").times == 0


def test_nothing_is_done_to_tables_of_weights() -> None:
    text = f"""score (int64[B,5] item_i) => (float[5,B,3] y) <float[{IDS},3] table> {{
        g = Gather(table, item_i) y = Transpose<perm = [1, 0, 2]>(g)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_what_is_the_same_for_all() -> None:
    text = f"""score (float[{IDS},3] given, int64[5] given_i, float[5,3,B] item) => (float[5,3,B] y) {{
        g = Gather(given, given_i) t = Unsqueeze(g, last) y = Mul(t, item)
    }}"""
    assert apply(RULE, text.replace("=> (float[5,3,B] y)", "=> (float[5,3,B] y) <int64[1] last = {-1}>")).times == 0


def test_keys_and_values_of_chosen_steps_are_made_before_they_are_chosen() -> None:
    """What nn.MultiheadAttention does with the batch first: steps go in front, then keys and values are made."""
    rules = [rule_named(name) for name in ("shared-rows", RULE, "late-lookup")]
    outcome = apply(
        rules,
        f"""score (float[B,{IDS},4] user, int64[B,2,1] item_i, float[2,B,6] item) => (float[2,B,6] y)
        <int64[3] wide = {{1, 1, 4}}, float[4,6] w, float[6] b> {{
            i = Expand(item_i, wide) g = GatherElements<axis = 1>(user, i)
            t = Transpose<perm = [1, 0, 2]>(g) k = MatMul(t, w) s = Add(k, b) y = Mul(s, item)
        }}""",
    )
    assert {a.rule for a in outcome.applied} == {"shared-rows", RULE, "late-lookup"}
    (lookup,) = outcome.of("Gather")
    assert outcome.size_of(lookup.input[0]) == (IDS, 6)
    assert [n.op for n in outcome.workspace.graph.consumers(lookup.output[0])] == ["Mul"]
