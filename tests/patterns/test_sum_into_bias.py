"""view(x W + c) + v = view(x W + (c + v))."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply, typed

RULE = "sum-into-bias"


def behind(
    product: str,
    summand: str,
    *,
    columns: list[int] | None = None,
    inputs: str = "",
    declared: str = "",
    **more: Any,
) -> Outcome:
    """The rule on Reshape(product [B, 6] -> [B, 2, 3]) + summand."""
    columns = columns or [2, 3]
    return apply(
        RULE,
        f"""score (float[B,3] item, float[B,{",".join(map(str, columns))}] user {inputs})
        => ({typed("float", ["B", *columns])} y) <float[3,6] w, int64[{len(columns) + 1}] sizes {declared}> {{
            p = {product}
            r = Reshape(p, sizes)
            y = Add({summand})
        }}""",
        sizes=np.array([-1, *columns]),
        **more,
    )


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["r, user", "user, r"])
@pytest.mark.parametrize(
    ("product", "declared"),
    [
        ("MatMul(item, w)", ""),
        ("Gemm(item, w)", ""),
        ("Gemm<alpha = 2.0>(item, w)", ""),
        ("Gemm(item, w, c)", ", float[6] c"),
        ("Gemm(item, w, c)", ", float[1,6] c"),
        ("Gemm(item, w, c)", ", float[1] c"),
        ("Gemm<alpha = 0.5>(item, w, c)", ", float[1,1] c"),
    ],
)
def test_a_users_row_is_a_bias(product: str, declared: str, order: str) -> None:
    outcome = behind(product, order, declared=declared)
    assert outcome.times == 1
    assert outcome.ops["Gemm"] == 1
    assert "MatMul" not in outcome.ops
    assert all(outcome.size_of(node.output[0])[0] == 1 for node in outcome.of("Add"))


@pytest.mark.parametrize("shape", [[2, 3], [3], [1], [2, 1], [1, 2, 3], [1, 1, 3], [1, 1, 1]])
def test_a_constant_of_every_shape(shape: list[int]) -> None:
    outcome = behind("Gemm(item, w, c)", "r, v", declared=f", float[6] c, {typed('float', shape)} v")
    assert outcome.times == 1
    assert outcome.ops["Gemm"] == 1


def test_the_weight_turned() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[B,2,3] user) => (float[B,2,3] y) <float[6,3] w, int64[3] sizes = {-1, 2, 3}> {
            p = Gemm<transB = 1>(item, w)
            r = Reshape(p, sizes)
            y = Add(r, user)
        }""",
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_not_into_a_scaled_bias(beta: float) -> None:
    assert behind(f"Gemm<beta = {beta}>(item, w, c)", "r, user", declared=", float[6] c").times == 0


def test_not_beside_a_bias_of_each_item() -> None:
    assert behind("Gemm(item, w, item_c)", "r, user", inputs=", float[B,6] item_c").times == 0


def test_not_a_summand_of_each_item() -> None:
    assert behind("MatMul(item, w)", "r, item_v", inputs=", float[B,2,3] item_v").times == 0


def test_not_a_summand_that_stretches_the_result() -> None:
    text = """score (float[B,3] item, float[B,2,3] user) => (float[5,B,2,3] y) <float[3,6] w, float[5,1,1,1] v,
    int64[3] sizes = {-1, 2, 3}> {
        p = MatMul(item, w)
        r = Reshape(p, sizes)
        y = Add(r, v)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_rows_are_taken_apart() -> None:
    text = """score (float[B,2,3] item, float[B,2,4] user) => (float[B,2,4] y) <float[3,4] w,
    int64[2] flat = {-1, 3}, int64[3] sizes = {-1, 2, 4}> {
        f = Reshape(item, flat)
        p = MatMul(f, w)
        r = Reshape(p, sizes)
        y = Add(r, user)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("value", ["p", "r"])
def test_not_where_the_product_has_another_reader(value: str) -> None:
    shape = "B,6" if value == "p" else "B,2,3"
    for result, node in ((f"float[{shape}] z", f"z = Neg({value})"), (f"float[{shape}] {value}", "")):
        text = f"""score (float[B,3] item, float[B,2,3] user) => (float[B,2,3] y, {result})
        <float[3,6] w, int64[3] sizes = {{-1, 2, 3}}> {{
            p = MatMul(item, w)
            r = Reshape(p, sizes)
            y = Add(r, user)
            {node}
        }}"""
        assert apply(RULE, text).times == 0


def test_not_for_whole_numbers() -> None:
    text = """score (int32[B,3] item, int32[B,2,3] user) => (int32[B,2,3] y)
    <int32[3,6] w, int64[3] sizes = {-1, 2, 3}> {
        p = MatMul(item, w)
        r = Reshape(p, sizes)
        y = Add(r, user)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_the_product_has_batches() -> None:
    text = """score (float[B,2,3] item, float[B,2,2,2] user) => (float[B,2,2,2] y) <float[3,4] w,
    int64[4] sizes = {-1, 2, 2, 2}> {
        p = MatMul(item, w)
        r = Reshape(p, sizes)
        y = Add(r, user)
    }"""
    assert apply(RULE, text).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    columns=st.sampled_from([[6], [2, 3], [3, 2], [1, 6], [6, 1], [2, 1, 3], [1, 2, 3, 1]]),
    bias=st.sampled_from(["", "float[6]", "float[1,6]", "float[1]", "float[1,1]"]),
    side=st.sampled_from(["user", "w"]),
    data=st.data(),
)
def test_any_summand(columns: list[int], bias: str, side: str, data: st.DataObject) -> None:
    kept = [size if data.draw(st.booleans()) else 1 for size in columns]
    shape: list[object] = ["B", *kept] if side == "user" else list(kept)[data.draw(st.integers(0, len(kept) - 1)) :]
    outcome = apply(
        RULE,
        f"""score (float[B,3] item, {typed("float", shape) if side == "user" else "float[B]"} user)
        => ({typed("float", ["B", *columns])} y)
        <float[3,6] m, int64[{len(columns) + 1}] sizes
        {f", {bias} c" if bias else ""} {f", {typed('float', shape)} w" if side == "w" else ""}> {{
            p = Gemm(item, m{", c" if bias else ""})
            r = Reshape(p, sizes)
            y = Add({side}, r)
        }}""",
        sizes=np.array([0, *columns]),
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == 1
