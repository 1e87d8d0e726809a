"""sum_k x_k = x_0 + x_1 + .."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.patterns.few_terms import MOST
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import apply, at_work, model_of, sides_of, typed

RULE = "few-terms"
SINGLE = {"ReduceSum": "Sum", "ReduceMean": "Mean"}


def reduction(op: str, axes: list[int], keep: int, opset: int) -> tuple[str, str]:
    """The node and the weight it needs, as the operator set has them."""
    if opset >= 18 or (opset >= 13 and op == "ReduceSum"):
        weight = f"<int64[{len(axes)}] axes = {{{', '.join(map(str, axes))}}}>"
        return f"y = {op}<keepdims = {keep}>(item, axes)", weight
    return f"y = {op}<axes = {axes}, keepdims = {keep}>(item)", ""


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("op", sorted(SINGLE))
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axis", [1, -2])
def test_fields_of_an_item(op: str, keep: int, axis: int, opset: int) -> None:
    node, weight = reduction(op, [axis], keep, opset)
    outcome = apply(
        RULE,
        f"score (float[B,3,4] item) => (float[{'B,1,4' if keep else 'B,4'}] y) {weight} {{ {node} }}",
        opset=opset,
        exact=op != "ReduceMean",
    )
    assert outcome.times == 1
    assert outcome.ops[SINGLE[op]] == outcome.ops["Split"] == 1
    assert outcome.ops["Squeeze"] == 1 - keep


def test_kept_where_it_pays() -> None:
    """Two or three fields are added up; fifty are reduced."""
    rules = [r for r in RULES if r.name == RULE]
    for count, expected in ((2, 1), (3, 1), (MOST + 1, 0)):
        text = f"score (float[B,{count},8] item) => (float[B,8] y) {{ y = ReduceMean<axes = [1], keepdims = 0>(item) }}"
        model = model_of(text)
        rewritten = rewrite(at_work(model, sides_of(model)), rules, CostModel())
        assert len(rewritten.applied) == expected


@pytest.mark.parametrize(
    ("shape", "axes", "result"),
    [
        ("B,3,4", [2], "B,3"),
        ("B,3,4", [1, 2], "B"),
        ("B,N,4", [1], "B,4"),
        ("B,1,4", [1], "B,4"),
        ("3,B,4", [0], "B,4"),
        (f"B,{MOST + 1},4", [1], "B,4"),
    ],
)
def test_not_elsewhere(shape: str, axes: list[int], result: str) -> None:
    node, weight = reduction("ReduceSum", axes, 0, 17)
    assert apply(RULE, f"score (float[{shape}] item) => (float[{result}] y) {weight} {{ {node} }}").times == 0


def test_not_for_the_user() -> None:
    node, weight = reduction("ReduceSum", [1], 0, 17)
    text = f"""score (float[B,3,4] user, float[B,4] item) => (float[B,4] z) {weight} {{
        {node.replace("item", "user")}
        z = Mul(y, item)
    }}"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("dtype", ["float16", "int64", "int32"])
def test_not_of_other_types(dtype: str) -> None:
    node, weight = reduction("ReduceSum", [1], 0, 17)
    assert apply(RULE, f"score ({dtype}[B,3,4] item) => ({dtype}[B,4] y) {weight} {{ {node} }}").times == 0


def test_not_of_a_maximum() -> None:
    """What is no number would come out differently."""
    text = "score (float[B,3,4] item) => (float[B,4] y) { y = ReduceMax<axes = [1], keepdims = 0>(item) }"
    assert apply(RULE, text).times == 0


@given(
    lead=st.lists(st.integers(1, 3), max_size=2),
    count=st.integers(2, 5),
    tail=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    keep=st.integers(0, 1),
    dtype=st.sampled_from(["float", "double"]),
)
def test_any_axis(lead: list[int], count: int, tail: list[int], keep: int, dtype: str) -> None:
    axis = 1 + len(lead)
    node, weight = reduction("ReduceSum", [axis], keep, 17)
    before, after = ["B", *lead, count, *tail], ["B", *lead, *([1] * keep), *tail]
    outcome = apply(
        RULE,
        f"score ({typed(dtype, before)} item) => ({typed(dtype, after)} y) {weight} {{ {node} }}",
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == 1


def test_a_mean_of_doubles_is_a_reduction() -> None:
    text = "score (double[B,3,4] item) => (double[B,1,4] y) {{ y = {op}<axes = [1]>(item) }}"
    assert apply(RULE, text.format(op="ReduceMean"), opset=11).times == 0
    assert apply(RULE, text.format(op="ReduceSum"), opset=11).times == 1
