"""f(u[i]) = f(u)[i]."""

from __future__ import annotations

import pytest

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import IDS, Outcome, apply, at_work, model_of, rule_named, sides_of

RULE = "late-lookup"


def looked_up(nodes: str, weights: str = "", result: str = "B,2,3", *, axis: int = 1) -> Outcome:
    """Work on rows of ``user`` that items choose."""
    text = f"""score (float[B,{IDS},3] user, int64[B,2,1] item_i, float[{result}] item) => (float[{result}] y)
        <int64[3] wide = {{1, 1, 3}}{weights}> {{
        w = Expand(item_i, wide) g = GatherElements<axis = 1>(user, w) {nodes} y = Add(f, item)
    }}"""
    return apply([rule_named("shared-rows"), rule_named(RULE)], text)


def times(outcome: Outcome) -> int:
    return sum(a.rule == RULE for a in outcome.applied)


@pytest.mark.parametrize(
    ("nodes", "weights", "result"),
    [
        ("f = MatMul(g, v)", ", float[3,4] v", "B,2,4"),
        ("f = Relu(g)", "", "B,2,3"),
        ("f = Mul(g, s)", ", float[3] s", "B,2,3"),
        ("f = Sub(s, g)", ", float s", "B,2,3"),
        ("f = Where(c, g, s)", ", bool[3] c, float[1] s", "B,2,3"),
    ],
)
def test_work_row_by_row(nodes: str, weights: str, result: str) -> None:
    outcome = looked_up(nodes, weights, result)
    assert times(outcome) == 1
    (lookup,) = outcome.of("Gather")
    assert [n.op for n in outcome.workspace.graph.consumers(lookup.output[0])] == ["Add"]


def test_layer_by_layer() -> None:
    assert times(looked_up("h = MatMul(g, v) r = Relu(h) f = MatMul(r, t)", ", float[3,4] v, float[4,3] t")) == 3


@pytest.mark.parametrize(
    ("nodes", "weights", "result"),
    [
        ("f = Mul(g, s)", ", float[2,3] s", "B,2,3"),
        ("f = Mul(g, s)", ", float[1,1,3] s", "B,2,3"),
        ("f = MatMul(s, g)", ", float[2,2] s", "B,2,3"),
        ("f = MatMul(g, s)", ", float[1,3,4] s", "B,2,4"),
        ("f = Mul(g, item)", "", "B,2,3"),
    ],
)
def test_not_where_rows_count_for_one_another_or_items_do(nodes: str, weights: str, result: str) -> None:
    assert times(looked_up(nodes, weights, result)) == 0


def test_not_for_tables_of_weights() -> None:
    """A table of all ids would become another large table."""
    text = f"""score (int64[B] item_i, float[B,4] user) => (float[B,4] y) <float[{IDS},3] table, float[3,4] v> {{
        g = Gather(table, item_i) h = MatMul(g, v) y = Add(h, user)
    }}"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize(("rows", "kept"), [(64, True), (4096, False)])
def test_where_the_user_has_fewer_rows_than_candidates_choose(rows: int, kept: bool) -> None:
    model = model_of(
        f"""score (float[B,{rows},32] user, int64[B,2,1] item_i, float[B,2,32] item) => (float[B,2,32] y)
        <int64[3] wide = {{1, 1, 32}}, float[32,32] v> {{
            w = Expand(item_i, wide) g = GatherElements<axis = 1>(user, w) h = MatMul(g, v) y = Add(h, item)
        }}"""
    )
    workspace = at_work(model, sides_of(model))
    assert (RULE in {a.rule for a in rewrite(workspace, RULES, CostModel()).applied}) == kept


@pytest.mark.parametrize(
    ("axis", "times"),
    [(0, 1), (1, 1), (-2, 1), (2, 0), (-1, 0)],
)
@pytest.mark.parametrize("node", ["f = Relu(g)", "f = MatMul(g, v)", "f = Mul(g, s)"])
def test_what_is_looked_up_along_any_axis_but_the_last(node: str, axis: int, times: int) -> None:
    text = f"""score (float[{IDS},{IDS},{IDS}] given, int64[B,{IDS}] item_i) => (float[N] y)
        <float[{IDS},2] v, float[{IDS}] s> {{
            g = Gather<axis = {axis}>(given, item_i) {node} minus = Constant<value_ints = [-1]>() y = Reshape(f, minus)
        }}"""
    assert apply(RULE, text).times == times
