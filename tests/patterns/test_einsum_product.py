"""sum_k q[b, i, k] k[b, j, k] = q_b k_b^T."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply

RULE = "einsum-product"
SIZES = {"b": "B", "h": "2", "i": "3", "j": "4", "k": "5", "t": "T"}


def shape(letters: str) -> str:
    return ",".join(SIZES[letter] for letter in letters)


def einsum(left: str, right: str, result: str) -> Outcome:
    return apply(
        RULE,
        f"""score (float[{shape(left)}] user, float[{shape(right)}] item) => (float[{shape(result)}] y) {{
            y = Einsum<equation = "{left},{right}->{result}">(user, item)
        }}""",
        exact=False,
    )


@pytest.mark.parametrize(
    ("left", "right", "result", "transposed"),
    [
        ("bhik", "bhjk", "bhij", 1),
        ("bhij", "bhjk", "bhik", 0),
        ("bihk", "bjhk", "bhij", 2),
        ("bhij", "bjhk", "bihk", 2),
        ("bik", "bjk", "bji", 1),
        ("bik", "bkj", "ijb", 1),
        ("bhtk", "bhjk", "bhtj", 1),
        ("bhit", "bhtk", "bhik", 0),
    ],
)
def test_attention(left: str, right: str, result: str, transposed: int) -> None:
    outcome = einsum(left, right, result)
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 1
    assert "Einsum" not in outcome.ops
    kept = outcome.ops.get("Transpose", 0)
    assert kept == transposed


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ("bi", "bj", "bij"),
        ("bik", "bk", "bi"),
        ("bihk", "bjk", "bij"),
        ("bhik", "bhjk", "bij"),
        ("bik", "bik", "bi"),
    ],
)
def test_other_equations(left: str, right: str, result: str) -> None:
    assert einsum(left, right, result).times == 0


def test_a_size_of_one_that_is_repeated() -> None:
    text = """score (float[B,1,3,5] user, float[B,2,4,5] item) => (float[B,2,4,3] y) {
        y = Einsum<equation = "bhik,bhjk->bhij">(item, user)
    }"""
    assert apply(RULE, text).times == 0


def test_not_of_whole_numbers_or_with_a_weight() -> None:
    text = """score (int64[B,3,5] user, int64[B,4,5] item) => (int64[B,3,4] y) {
        y = Einsum<equation = "bik,bjk->bij">(user, item)
    }"""
    assert apply(RULE, text).times == 0
    text = """score (float[B,2,3] item) => (float[B,2,4] y) <float[2,3,4] w> {
        y = Einsum<equation = "bhi,hij->bhj">(item, w)
    }"""
    assert apply(RULE, text).times == 0


@given(st.data())
def test_any_order_of_letters(data: st.DataObject) -> None:
    left, right, result = (
        data.draw(st.sampled_from(["".join(p) for p in itertools.permutations(term)]))
        for term in ("bhik", "bhjk", "bhij")
    )
    assert einsum(left, right, result).times == 1
