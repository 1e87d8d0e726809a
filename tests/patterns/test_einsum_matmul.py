"""sum_k x[..., k] W[k, n] = x W."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "einsum-matmul"


def times(equation: str, item: str, weight: str, result: str) -> int:
    outcome = apply(
        RULE,
        f"""score (float[{item}] item) => (float[{result}] y) <float[{weight}] w> {{
            y = Einsum<equation = "{equation}">(item, w)
        }}""",
    )
    assert outcome.ops["MatMul"] == outcome.times
    return outcome.times


@pytest.mark.parametrize(
    ("equation", "item", "result"),
    [
        ("bk,kn->bn", "B,3", "B,4"),
        ("b k, k n -> b n", "B,3", "B,4"),
        ("btk,kn->btn", "B,T,3", "B,T,4"),
        ("...k,kn->...n", "B,2,3", "B,2,4"),
        ("b...i,io->b...o", "B,2,2,3", "B,2,2,4"),
        ("BK,KN->BN", "B,3", "B,4"),
    ],
)
def test_products(equation: str, item: str, result: str) -> None:
    assert times(equation, item, "3,4", result) == 1


@pytest.mark.parametrize(
    ("equation", "item", "weight", "result"),
    [
        ("bk,nk->bn", "B,3", "4,3", "B,4"),
        ("bk,kn->nb", "B,3", "3,4", "4,B"),
        ("kb,kn->bn", "3,B", "3,4", "B,4"),
        ("btk,tkn->btn", "B,2,3", "2,3,4", "B,2,4"),
        ("bk,kn->bkn", "B,3", "3,4", "B,3,4"),
        ("bk,kb->b", "B,3", "3,B2", "B"),
        ("bkk,kn->bn", "B,3,3", "3,4", "B,4"),
        ("bk,kk->bk", "B,3", "3,3", "B,3"),
        ("bk,kn", "B,3", "3,4", "B,4"),
        ("bk,kn->b", "B,3", "3,4", "B"),
    ],
)
def test_not_other_sums(equation: str, item: str, weight: str, result: str) -> None:
    if "B2" in weight:
        text = f"""score (float[B,3] item, float[3,B] item2) => (float[B] y) {{
            y = Einsum<equation = "{equation}">(item, item2)
        }}"""
        assert apply(RULE, text).times == 0
    else:
        assert times(equation, item, weight, result) == 0


def test_not_where_the_matrix_is_given() -> None:
    text = """score (float[B,3] item, float[3,4] given) => (float[B,4] y) {
        y = Einsum<equation = "bk,kn->bn">(item, given)
    }"""
    assert apply(RULE, text).times == 0


def test_not_one_or_three_operands() -> None:
    text = """score (float[B,3] item) => (float[3,B] y, float[B,4] x) <float[3,4] w, float[4] v> {
        y = Einsum<equation = "ij->ji">(item)
        x = Einsum<equation = "ij,jk,k->ik">(item, w, v)
    }"""
    assert apply(RULE, text).times == 0


def test_an_open_size_may_be_one() -> None:
    """Then Einsum repeats the entry for all rows of the weight, and MatMul does not run."""
    assert times("bk,kn->bn", "B,K", "3,4", "B,4") == 0
