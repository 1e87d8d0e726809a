"""view(repeat(x)) = repeat(view(x))."""

from __future__ import annotations

import pytest

from mari_onnx.patterns import RULES
from tests.patterns.support import apply

RULE = "late-view"


def text_of(lines: str, shape: str, *, item: str = "float[B,4]") -> str:
    return f"""score ({item} item) => (float[{shape}] z) <int64[4] apart = {{0, 4, 1, 1}},
        int64[4] tiles = {{1, 1, 1, 3}}, int64[3] joined = {{-1, 4, 3}}, int64[2] merged = {{-1, 12}},
        int64[4] wide = {{1, 4, 1, 3}}, int64[4] more = {{1, 2, 1, 1}}, int64[2] long = {{-1, 8}},
        int64[1] axis = {{2}}> {{ x = Abs(item) {lines} z = Neg(v) }}"""


@pytest.mark.parametrize(
    "lines",
    [
        "a = Reshape(x, apart) t = Tile(a, tiles) v = Reshape(t, joined)",
        "a = Reshape(x, apart) t = Expand(a, wide) v = Reshape(t, joined)",
        "a = Reshape(x, apart) t = Tile(a, tiles) v = Squeeze(t, axis)",
    ],
)
def test_axes_of_size_one_come_and_go(lines: str) -> None:
    outcome = apply(RULE, text_of(lines, "B,4,3"))
    assert outcome.times == 1
    assert outcome.ops["Tile"] == 0


@pytest.mark.parametrize("order", ["1, 0, 2", "2, 1, 0", "0, 2, 1"])
def test_axes_are_put_in_order_before(order: str) -> None:
    sizes = ["B", "3", "4"]
    text = text_of(
        f"a = Reshape(x, front) t = Expand(a, experts) v = Transpose<perm = [{order}]>(t)",
        ",".join(sizes[int(a)] for a in order.split(",")),
    ).replace("int64[1] axis", "int64[3] front = {-1, 1, 4}, int64[3] experts = {1, 3, 1}, int64[1] axis")
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert outcome.ops["Expand"] == 1


def test_a_value_for_each_of_some_experts() -> None:
    """The product needs no copy of it, and is split."""
    text = """score (float[B,6] user, float[B,2] item) => (float[B,3,5] z) <float[3,8,5] w, int64[1] one = {1},
        int64[3] experts = {1, 3, 1}> {
        x = Concat<axis = 1>(user, item) a = Unsqueeze(x, one) t = Expand(a, experts)
        v = Transpose<perm = [1, 0, 2]>(t) y = MatMul(v, w) z = Transpose<perm = [1, 0, 2]>(y) }"""
    names = (RULE, "batched-matmul", "views", "concat-layout", "split-product")
    outcome = apply([r for r in RULES if r.name in names], text)
    assert outcome.ops["Expand"] == 0
    assert outcome.ops["MatMul"] == 2


@pytest.mark.parametrize(
    ("lines", "shape"),
    [
        ("a = Reshape(x, apart) t = Tile(a, tiles) v = Reshape(t, merged)", "B,12"),
        ("a = Reshape(x, apart) t = Tile(a, more) v = Reshape(t, long)", "B,8"),
        ("a = Reshape(x, apart) t = Abs(a) v = Squeeze(t, axis)", "B,4,1"),
        ("a = Reshape(x, apart) t = Abs(a) v = Transpose<perm = [0, 2, 1, 3]>(t)", "B,1,4,1"),
    ],
)
def test_other_views_stay(lines: str, shape: str) -> None:
    assert apply(RULE, text_of(lines, shape)).times == 0


def test_a_mask_that_is_repeated_for_every_column_is_broadcast() -> None:
    text = """score (float[B,4] item, float[B,4,3] item_tokens) => (float[B,4,3] z) <int64[4] apart = {0, 4, 1, 1},
        int64[4] tiles = {1, 1, 1, 3}, int64[3] joined = {-1, 4, 3}> {
        a = Reshape(item, apart) t = Tile(a, tiles) v = Reshape(t, joined) z = Mul(v, item_tokens) }"""
    outcome = apply([r for r in RULES if r.name in (RULE, "broadcast", "views")], text)
    assert outcome.ops["Tile"] == outcome.ops["Expand"] == 0
