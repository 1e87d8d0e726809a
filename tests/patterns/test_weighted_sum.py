"""sum_k a_k x_k = a^T x"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import apply, at_work, model_of, sides_of, typed

RULE = "weighted-sum"


def text(weights: str, rows: str, axis: int = 1, keep: int = 0, product: str = "w, x", rank: int = 3) -> str:
    """A weighted sum; what is called item or user in the signature is the operand of that name here."""
    result = ["B", "4"] if keep == 0 else ["B", "1", "4"]
    return f"""score (float[{weights}] item_w, float[{rows}] item_x) => (float[{",".join(result)}] y)
        <int64[1] axes = {{{axis}}}> {{
            w = Relu(item_w)
            x = Relu(item_x)
            scaled = Mul({product})
            y = ReduceSum<keepdims = {keep}>(scaled, axes)
        }}"""


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axis", [1, -2])
@pytest.mark.parametrize("product", ["w, x", "x, w"])
def test_a_mixture_of_experts(axis: int, keep: int, product: str) -> None:
    outcome = apply(RULE, text("B,3,1", "B,3,4", axis, keep, product))
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 1
    assert not {"Mul", "ReduceSum"} & set(outcome.ops)


@pytest.mark.parametrize(
    ("weights", "rows"), [("3,1", "B,3,4"), ("1,3,1", "B,3,4"), ("B,3,1", "3,4"), ("B,3,1", "1,3,4")]
)
def test_operands_that_are_repeated(weights: str, rows: str) -> None:
    graph = text(weights, rows)
    for name, shape in (("item_w", weights), ("item_x", rows)):
        if "B" not in shape:
            graph = graph.replace(name, f"shared_{name}")
    assert apply(RULE, graph).times == 1


def test_a_history_of_the_user_weighed_by_an_item() -> None:
    outcome = apply(
        RULE,
        """score (float[B,5,4] user, float[B,5,1] item) => (float[B,4] y) <int64[1] axes = {1}> {
            scaled = Mul(user, item)
            y = ReduceSum<keepdims = 0>(scaled, axes)
        }""",
    )
    assert outcome.times == 1


def test_axes_as_an_attribute() -> None:
    graph = """score (float[B,3,1] item_w, float[B,3,4] item_x) => (float[B,4] y) {
        scaled = Mul(item_w, item_x)
        y = ReduceSum<axes = [1], keepdims = 0>(scaled)
    }"""
    assert apply(RULE, graph, opset=11).times == 1


def test_the_rows_may_be_read_elsewhere() -> None:
    graph = text("B,3,1", "B,3,4").replace("(float[B,4] y)", "(float[B,4] y, float[B,3,4] scaled)")
    outcome = apply(RULE, graph)
    assert (outcome.times, outcome.ops["Mul"]) == (1, 1)


@pytest.mark.parametrize(
    ("weights", "rows", "axis", "result"),
    [
        ("B,3,4", "B,3,4", 1, "B,4"),
        ("B,3,1", "B,3,4", 2, "B,3"),
        ("B,1,1", "B,3,4", 1, "B,4"),
        ("B,3,1", "B,3,1", 1, "B,1"),
        ("B,1,4", "B,3,4", 1, "B,4"),
        ("B,3,1", "B,N,4", 1, "B,4"),
    ],
)
def test_not_elsewhere(weights: str, rows: str, axis: int, result: str) -> None:
    assert apply(RULE, text(weights, rows, axis).replace("(float[B,4] y)", f"(float[{result}] y)")).times == 0


def test_a_history_that_the_user_weighs() -> None:
    sides = "float[B,3,1] user_w, float[B,3,4] user_x, float[B,4] item"
    graph = f"""score ({sides}) => (float[B,4] z) <int64[1] axes = {{1}}> {{
        scaled = Mul(user_w, user_x)
        y = ReduceSum<keepdims = 0>(scaled, axes)
        z = Mul(y, item)
    }}"""
    outcome = apply(RULE, graph)
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("MatMul")[0].output[0]) == (1, 1, 4)


def test_not_of_whole_numbers() -> None:
    assert apply(RULE, text("B,3,1", "B,3,4").replace("float", "int32").replace("Relu", "Abs")).times == 0


@pytest.mark.parametrize(("width", "times"), [(256, 1), (2, 0)])
def test_kept_where_it_pays(width: int, times: int) -> None:
    """A product is started for each candidate; for rows of two numbers that takes longer than the sum."""
    model = model_of(text("B,2,1", f"B,2,{width}").replace("[B,4]", f"[B,{width}]"))
    rules = [r for r in RULES if r.name in (RULE, "few-terms")]
    applied = rewrite(at_work(model, sides_of(model)), rules, CostModel()).applied
    assert [a.rule for a in applied].count(RULE) == times


@given(
    lead=st.lists(st.integers(1, 3), max_size=2),
    narrow=st.integers(0, 2),
    count=st.integers(1, 5),
    width=st.integers(2, 4),
    dtype=st.sampled_from(["float", "double"]),
)
def test_any_leading_axes(lead: list[int], narrow: int, count: int, width: int, dtype: str) -> None:
    rows = ["B", *lead, count, width]
    weights = [*(["B", *lead][narrow:]), count, 1]
    name = "item_w" if "B" in weights else "shared_w"
    outcome = apply(
        RULE,
        f"""score ({typed(dtype, weights)} {name}, {typed(dtype, rows)} item_x)
            => ({typed(dtype, ["B", *lead, width])} y) <int64[1] axes = {{-2}}> {{
                scaled = Mul(item_x, {name})
                y = ReduceSum<keepdims = 0>(scaled, axes)
            }}""",
    )
    assert outcome.times == 1
