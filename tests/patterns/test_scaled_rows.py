"""(q * k) W = k (diag(q) W)"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import apply, at_work, model_of, sides_of

RULE = "scaled-rows"


def text(query: str = "B,1,4", keys: str = "B,5,4", order: str = "item, user", result: str = "B,5,3") -> str:
    return f"""score (float[{query}] item, float[{keys}] user) => (float[{result}] y) <float[4,3] w> {{
        scaled = Mul({order})
        y = MatMul(scaled, w)
    }}"""


@pytest.mark.parametrize("order", ["item, user", "user, item"])
def test_a_history_and_an_item(order: str) -> None:
    outcome = apply(RULE, text(order=order))
    assert outcome.times == 1
    assert {outcome.size_of(node.output[0])[1:] for node in outcome.of("Mul")} == {(4, 3)}
    assert "Expand" not in outcome.ops


@pytest.mark.parametrize("keys", ["5,4", "1,5,4"])
def test_rows_that_are_the_same_for_all_users(keys: str) -> None:
    assert apply(RULE, text(keys=keys).replace("user", "shared")).times == 1


def test_a_history_of_unknown_length() -> None:
    assert apply(RULE, text(keys="B,N,4", result="B,N,3")).times == 1


def test_the_products_may_be_read_elsewhere() -> None:
    graph = text().replace("(float[B,5,3] y)", "(float[B,5,3] y, float[B,5,4] scaled)")
    outcome = apply(RULE, graph)
    assert (outcome.times, outcome.ops["Mul"]) == (1, 2)


@pytest.mark.parametrize(
    "graph",
    [
        text(query="B,5,4"),
        text(query="B,5,1"),
        text(query="B,1,1"),
        text(keys="B,1,4", result="B,1,3").replace("item", "item_q").replace("user", "item_k"),
        text().replace("user", "item_k"),
        text(keys="B,1,4", query="B,5,4"),
        text().replace("y = MatMul(scaled, w)", "more = Relu(scaled) y = MatMul(more, w)"),
    ],
)
def test_not_elsewhere(graph: str) -> None:
    assert apply(RULE, graph).times == 0


def test_not_for_the_user() -> None:
    graph = """score (float[B,1,4] user_q, float[B,5,4] user_k, float[B,5,3] item) => (float[B,5,3] z) <float[4,3] w> {
        scaled = Mul(user_q, user_k)
        y = MatMul(scaled, w)
        z = Add(y, item)
    }"""
    assert apply(RULE, graph).times == 0


def test_a_product_with_what_the_user_brings_stays() -> None:
    graph = """score (float[B,1,4] item, float[B,5,4] user, float[B,4,3] user_w) => (float[B,5,3] y) {
        scaled = Mul(item, user)
        y = MatMul(scaled, user_w)
    }"""
    assert apply(RULE, graph).times == 0


@pytest.mark.parametrize(("columns", "steps", "times"), [(4, 100, 1), (64, 4, 0)])
def test_kept_where_it_pays(columns: int, steps: int, times: int) -> None:
    """A long history and few columns; not few steps and many columns."""
    graph = text("B,1,64", f"B,{steps},64", result=f"B,{steps},{columns}").replace("float[4,3]", f"float[64,{columns}]")
    model = model_of(graph)
    rules = [r for r in RULES if r.name in (RULE, "broadcast")]
    applied = rewrite(at_work(model, sides_of(model)), rules, CostModel()).applied
    assert [a.rule for a in applied].count(RULE) == times


@given(width=st.integers(1, 4), steps=st.integers(2, 4), columns=st.integers(1, 3), whole=st.booleans())
def test_any_sizes(width: int, steps: int, columns: int, whole: bool) -> None:
    keys = ("B," if whole else "1,") + f"{steps},{width}"
    name = "user" if whole else "shared"
    graph = text(f"B,1,{width}", keys, result=f"B,{steps},{columns}").replace("user", name)
    assert apply(RULE, graph.replace("float[4,3]", f"float[{width},{columns}]")).times == 1
