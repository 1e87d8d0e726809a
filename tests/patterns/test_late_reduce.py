"""sum(repeat(x)) = repeat(sum(x)), along other axes."""

from __future__ import annotations

import pytest

from mari_onnx.patterns import RULES
from tests.patterns.support import apply

RULE = "late-reduce"


def text_of(reduce: str, result: str) -> str:
    return f"""score (float[B,1,4] item) => (float[{result}] z) <int64[3] wide = {{1, 3, 1}}, int64[1] last = {{-1}},
        int64[1] middle = {{1}}, int64[2] both = {{1, 2}}> {{
        x = Abs(item) r = Expand(x, wide) y = {reduce} z = Neg(y)
    }}"""


@pytest.mark.parametrize(
    ("reduce", "result"),
    [
        ("ReduceSum(r, last)", "B,3,1"),
        ("ReduceSum<keepdims = 0>(r, last)", "B,3"),
        ("ReduceL1<axes = [2]>(r)", "B,3,1"),
        ("ReduceMax<axes = [-1], keepdims = 0>(r)", "B,3"),
    ],
)
def test_along_another_axis(reduce: str, result: str) -> None:
    outcome = apply(RULE, text_of(reduce, result))
    assert outcome.times == 1
    assert (
        outcome.size_of(next(n.output[0] for n in outcome.result.graph.node if n.op_type.startswith("Reduce")))[1] == 1
    )


@pytest.mark.parametrize(
    ("reduce", "result"),
    [
        ("ReduceSum(r, middle)", "B,1,4"),
        ("ReduceSum(r, both)", "B,1,1"),
        ("ReduceSum(r)", "1,1,1"),
        ("ReduceSum(x, last)", "B,1,1"),
    ],
)
def test_along_the_same_axis(reduce: str, result: str) -> None:
    assert apply(RULE, text_of(reduce, result)).times == 0


def test_a_cosine_is_a_product() -> None:
    text = """score (float[B,3,4] user, float[B,1,4] item) => (float[B,3] z) <int64[3] wide = {1, 3, 1},
        int64[1] last = {-1}> {
        x = Expand(item, wide) a = ReduceSumSquare<axes = [2]>(x) n = Add(a, a) y = Mul(item, n)
        m = Mul(y, user) z = ReduceSum<keepdims = 0>(m, last)
    }"""
    names = (RULE, "late-repeat", "broadcast", "dot-product")
    outcome = apply([r for r in RULES if r.name in names], text)
    assert outcome.ops["MatMul"] == 1
