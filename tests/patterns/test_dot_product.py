"""sum_k x_k u_k = x u^T."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "dot-product"


def text_of(work: str, *, item: str = "B,1,4", user: str = "1,3,4", result: str = "B,3", head: str = "float") -> str:
    return f"""score (float[{item}] item, {head}[{user}] once) => (float[{result}] z)
        <int64[1] axis = {{2}}, int64[1] last = {{-1}}> {{
        x = Abs(item) u = Neg(once) {work} z = Neg(s)
    }}"""


@pytest.mark.parametrize(
    ("work", "item", "user", "result"),
    [
        ("m = Mul(x, u) s = ReduceSum<keepdims = 0>(m, axis)", "B,1,4", "1,3,4", "B,3"),
        ("m = Mul(u, x) s = ReduceSum<keepdims = 1>(m, last)", "B,1,4", "1,3,4", "B,3,1"),
        ("m = Mul(u, x) s = ReduceSum<keepdims = 0>(m, last)", "B,1,4", "3,4", "B,3"),
        ("m = Mul(x, u) s = ReduceSum<keepdims = 0>(m, last)", "B,1,4", "1,T,4", "B,T"),
        ("m = Mul(x, u) s = ReduceSum<keepdims = 0>(m, last)", "B,1,1,4", "1,2,3,4", "B,2,3"),
        ("m = Mul(x, u) s = ReduceSum<keepdims = 0>(m, axis)", "B,3,4", "1,1,4", "B,3"),
        ("m = Mul(x, u) s = ReduceSum<keepdims = 0>(m, last)", "B,4", "4", "B"),
    ],
)
def test_rows_of_items_and_of_the_user(work: str, item: str, user: str, result: str) -> None:
    outcome = apply(RULE, text_of(work, item=item, user=user, result=result))
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 1
    assert outcome.ops["ReduceSum"] == 0


def test_a_mean() -> None:
    outcome = apply(RULE, text_of("m = Mul(x, u) s = ReduceMean<axes = [2], keepdims = 0>(m)"))
    assert outcome.times == 1
    assert outcome.ops["ReduceMean"] == 0


def test_a_users_row_that_is_repeated() -> None:
    text = """score (float[B,3,4] user, float[B,1,4] item) => (float[B,3] z) <int64[1] axis = {2}> {
        u = Abs(user) m = Mul(u, item) s = ReduceSum<keepdims = 0>(m, axis) z = Neg(s) }"""
    assert apply(RULE, text).times == 1


@pytest.mark.parametrize(
    ("work", "item", "user", "result"),
    [
        ("m = Mul(x, u) s = ReduceSum<keepdims = 0>(m, axis)", "B,3,4", "1,3,4", "B,3"),
        ("m = Mul(x, u) s = ReduceSum<keepdims = 0>(m, axis)", "B,1,4", "1,3,1", "B,3"),
        ("m = Add(x, u) s = ReduceSum<keepdims = 0>(m, axis)", "B,1,4", "1,3,4", "B,3"),
        ("m = Mul(x, x) s = ReduceSum<keepdims = 0>(m, axis)", "B,3,4", "1,3,4", "B,3"),
        ("m = Mul(x, u) s = ReduceMax<keepdims = 0, axes = [2]>(m)", "B,1,4", "1,3,4", "B,3"),
        ("m = Mul(x, u) s = ReduceSum<keepdims = 0>(m)", "B,1,4", "1,3,4", ""),
    ],
)
def test_other_sums(work: str, item: str, user: str, result: str) -> None:
    text = text_of(work, item=item, user=user, result=result)
    assert apply(RULE, text.replace("float[] z", "float z")).times == 0


def test_items_among_themselves() -> None:
    text = """score (float[B,3,4] item_x, float[B,1,4] item_y) => (float[B,3] z) <int64[1] axis = {2}> {
        m = Mul(item_x, item_y) s = ReduceSum<keepdims = 0>(m, axis) z = Neg(s) }"""
    assert apply(RULE, text).times == 0
