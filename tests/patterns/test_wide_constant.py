"""op(x, a) = op(x, repeat(a))."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import apply

RULE = "wide-constant"


def text_of(line: str, *, item: str = "float[B,3,4]", declared: str = "float[3,1] a") -> str:
    return (
        f"score ({item} item) => ({item} z) <{declared}, float[4,4] w, float s> {{ x = Neg(item) {line} z = Neg(y) }}"
    )


@pytest.mark.parametrize(
    ("line", "declared"),
    [
        ("y = Mul(x, a)", "float[3,1] a"),
        ("y = Sub(a, x)", "float[1,3,1] a"),
        ("y = Add(x, a)", "float[4] a"),
        ("y = Div(x, a)", "float[1,4] a"),
        ("m = Greater(x, s) y = Where(m, x, a)", "float[3,1] a"),
        ("m = MatMul(x, w) y = Add(m, a)", "float[4] a"),
        ("m = MatMul(x, w) y = Mul(m, a)", "float[4] a"),
    ],
)
def test_as_long_as_what_belongs_to_a_candidate(line: str, declared: str) -> None:
    weights = {"a": 1 + abs(_numbers(declared))} if "Div" in line else {}
    outcome = apply(RULE, text_of(line, declared=declared), **weights)
    assert outcome.times == 1
    assert [tuple(i.dims) for i in outcome.result.graph.initializer if i.name.endswith("/wide")] == [(3, 4)]


def _numbers(declared: str) -> np.ndarray:
    sizes = [int(n) for n in declared[declared.index("[") + 1 : declared.index("]")].split(",")]
    return np.arange(np.prod(sizes), dtype=np.float32).reshape(sizes)


@pytest.mark.parametrize(
    ("line", "declared"),
    [
        ("y = Mul(x, a)", "float[3,4] a"),
        ("y = Mul(x, a)", "float[1] a"),
        ("d = Div(x, s) y = Mul(d, a)", "float[4] a"),
        ("d = Div(x, s) m = Mul(d, s) y = Add(m, a)", "float[4] a"),
        ("t = Add(x, a) e = Erf(t) y = Mul(e, t)", "float[4] a"),
        ("y = PRelu(x, a)", "float[4] a"),
    ],
)
def test_what_stays_as_it_is(line: str, declared: str) -> None:
    assert apply(RULE, text_of(line, declared=declared), s=np.array(2, np.float32)).times == 0


@pytest.mark.parametrize("op", ["Max", "Min", "Pow"])
def test_hashes_of_32_bits_keep_the_bounds_that_are_one_number(op: str) -> None:
    """ONNX Runtime takes the lower halves of such ids for signed where both operands have axes."""
    hashes = np.array([2**31 + 5, 2**32 - 1, 7, 3 * 2**30] * 4, np.int64).reshape(16, 1)
    lines = f"r = Reshape(x, sizes) y = {op}(r, a)"
    text = f"score (int64[B,1] item) => (int64[B,1] y) {{ x = Gather(table, item) {lines} }}"
    assert apply(RULE, text, table=hashes, sizes=np.array([-1, 1]), a=np.array(999)).times == 0


@pytest.mark.parametrize("declared", ["float a", "float[1] a", "float[1,1] a"])
def test_one_number_has_the_rank_of_what_it_meets(declared: str) -> None:
    outcome = apply(RULE, text_of("y = Add(x, a)", item="float[B,3,1]", declared=declared))
    assert outcome.times == 1
    assert [tuple(i.dims) for i in outcome.result.graph.initializer if i.name.endswith("/wide")] == [(1, 1, 1)]


@pytest.mark.parametrize(("item", "declared"), [("float[B,3,1]", "float[1,1,1] a"), ("float[B,1,3]", "float[1] a")])
def test_one_number_that_meets_no_axis_of_one_entry_stays(item: str, declared: str) -> None:
    assert apply(RULE, text_of("y = Add(x, a)", item=item, declared=declared)).times == 0


def test_the_bias_of_a_product_of_matrices_stays() -> None:
    assert apply(RULE, text_of("m = MatMul(x, w) y = Add(m, a)", item="float[B,4]", declared="float[4] a")).times == 0


def test_a_row_is_all_that_belongs_to_a_candidate() -> None:
    assert apply(RULE, text_of("y = Mul(x, a)", item="float[B,4]", declared="float[4] a")).times == 0


def test_sizes_that_are_not_known_stay() -> None:
    text = """score (float[B,T,4] item) => (float[B,T,4] z) <float[4] a> { x = Neg(item) z = Mul(x, a) }"""
    assert apply(RULE, text).times == 0


def test_large_constants_are_not_made() -> None:
    assert apply(RULE, text_of("y = Mul(x, a)", item="float[B,64,512]", declared="float[512] a")).times == 0


def test_what_is_the_users_stays() -> None:
    text = """score (float[B,3,4] user, float[B,3,4] item) => (float[B,3,4] z) <float[4] a> {
        x = Mul(user, a) z = Mul(x, item) }"""
    assert apply(RULE, text).times == 0
