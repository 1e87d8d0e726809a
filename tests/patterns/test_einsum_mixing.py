"""sum_j W[i, j] x[.., j, d] = W x."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply, rule_named

RULE = "einsum-mixing"


def mixed(equation: str, weight: str, item: str, result: str, *, first: bool = True, dtype: str = "float") -> Outcome:
    operands = "w, item" if first else "item, w"
    return apply(
        RULE,
        f"""score ({dtype}[{item}] item) => ({dtype}[{result}] y) <{dtype}[{weight}] w> {{
            y = Einsum<equation = "{equation}">({operands})
        }}""",
    )


@pytest.mark.parametrize(
    ("equation", "weight", "item", "result"),
    [
        ("ij,bjd->bid", "5,3", "B,3,4", "B,5,4"),
        ("ji,bjd->bid", "3,5", "B,3,4", "B,5,4"),
        ("ij,bhjd->bhid", "5,3", "B,2,3,4", "B,2,5,4"),
        ("ij,bjd->bdi", "5,3", "B,3,4", "B,4,5"),
        ("ij,bjd->ibd", "5,3", "B,3,4", "5,B,4"),
        ("m n, b n d -> b m d", "3,3", "B,3,4", "B,3,4"),
    ],
)
def test_tokens_that_are_mixed(equation: str, weight: str, item: str, result: str) -> None:
    outcome = mixed(equation, weight, item, result)
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 1
    assert outcome.ops["Einsum"] == 0


def test_the_matrix_may_come_last() -> None:
    assert mixed("bnd,nm->bmd", "3,5", "B,3,4", "B,5,4", first=False).times == 1


@pytest.mark.parametrize("dtype", ["double", "float"])
def test_types(dtype: str) -> None:
    assert mixed("ij,bjd->bid", "5,3", "B,3,4", "B,5,4", dtype=dtype).times == 1


@pytest.mark.parametrize(
    ("equation", "weight", "item", "result"),
    [
        ("ij,bdj->bdi", "5,3", "B,4,3", "B,4,5"),
        ("ij,jdb->idb", "5,3", "3,4,B", "5,4,B"),
        ("ij,bjd->bi", "5,3", "B,3,4", "B,5"),
        ("ij,bjd->bijd", "5,3", "B,3,4", "B,5,3,4"),
        ("dj,bjd->bd", "4,3", "B,3,4", "B,4"),
        ("bij,bjd->bid", "1,5,3", "B,3,4", "B,5,4"),
        ("ij,bj->bi", "5,3", "B,3", "B,5"),
    ],
)
def test_not_other_sums(equation: str, weight: str, item: str, result: str) -> None:
    assert mixed(equation, weight, item, result).times == 0


def test_not_where_the_matrix_is_computed() -> None:
    text = """score (float[B,3,4] item, float[5,3] given) => (float[B,5,4] y) {
        y = Einsum<equation = "ij,bjd->bid">(given, item)
    }"""
    assert apply(RULE, text).times == 0


def test_the_users_tokens_are_mixed_once() -> None:
    outcome = apply(
        [rule_named(RULE), rule_named("split-product")],
        """score (float[B,6,4] user, float[B,2,4] item) => (float[B,5,4] y) <float[5,8] w> {
            x = Concat<axis = 1>(user, item)
            y = Einsum<equation = "ij,bjd->bid">(w, x)
        }""",
    )
    assert {a.rule for a in outcome.applied} == {RULE, "split-product"}
    assert {outcome.size_of(n.output[0])[0] == 1 for n in outcome.of("MatMul")} == {True, False}
