"""sum_k repeat(U)[b, k] x[b, k] = sum_k U[k] x[b, k]."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "einsum-repeat"


def einsum(equation: str, user: str, item: str, result: str, *, operands: str = "user, item") -> Outcome:
    return apply(
        RULE,
        f"score (float[{user}] user, float[{item}] item) => (float[{result}] z)"
        f' {{ y = Einsum<equation = "{equation}">({operands}) z = Abs(y) }}',
    )


@pytest.mark.parametrize(
    ("equation", "user", "item", "result", "transposed"),
    [
        ("bld,bd->bl", "B,5,3", "B,3", "B,5", 1),
        ("bld,bd->bl", "B,T,3", "B,3", "B,T", 1),
        ("bld,bl->bd", "B,T,3", "B,T", "B,3", 0),
        ("blhd,bhd->bhl", "B,5,2,3", "B,2,3", "B,2,5", 3),
    ],
)
def test_the_user_in_front(equation: str, user: str, item: str, result: str, transposed: int) -> None:
    """Two operands are products of matrices, which may be empty, as a history of nothing is."""
    outcome = einsum(equation, user, item, result)
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 1
    assert outcome.ops.get("Transpose", 0) == transposed


def test_no_sum() -> None:
    outcome = einsum("bl,bd->bld", "B,5", "B,3", "B,5,3")
    assert outcome.of("Einsum")[0].attribute[0].s.decode() == "l,bd->bld"


def test_the_user_behind() -> None:
    outcome = einsum("bhl,blhd->bhd", "B,5,2,3", "B,2,5", "B,2,3", operands="item, user")
    assert outcome.times == outcome.ops["MatMul"] == 1


@pytest.mark.parametrize(
    ("equation", "user", "item", "result"),
    [
        ("bld,bd->b", "B,5,{0}", "B,{0}", "B"),
        ("bld,bd->bld", "B,{0},3", "B,3", "B,{0},3"),
        ("bd,bde->bde", "B,{0}", "B,{0},4", "B,{0},4"),
    ],
)
def test_not_of_operands_that_may_be_empty(equation: str, user: str, item: str, result: str) -> None:
    """ONNX Runtime would not survive some of them, summed or kept."""
    assert einsum(equation, *(shape.format("2") for shape in (user, item, result))).times == 1
    assert einsum(equation, *(shape.format("T") for shape in (user, item, result))).times == 0


def test_not_of_three_operands_that_may_be_empty() -> None:
    text = """score (float[B,{0},3] user, float[B,3] item, float[B,{0}] item2) => (float[B,{0}] z) {{
        z = Einsum<equation = "bld,bd,bl->bl">(user, item, item2)
    }}"""
    assert apply(RULE, text.format("2")).times == 1
    assert apply(RULE, text.format("T")).times == 0


def test_three_operands() -> None:
    outcome = apply(
        RULE,
        """score (float[B,5,3] user, float[B,3] item) => (float[B,5,2] z) <float[3,2] w> {
            z = Einsum<equation = "bld,bd,de->ble">(user, item, w)
        }""",
    )
    assert outcome.of("Einsum")[0].attribute[0].s.decode() == "ld,bd,de->ble"


@pytest.mark.parametrize(
    ("equation", "user", "item", "result"),
    [
        ("b,bd->bd", "B", "B,3", "B,3"),
        ("...ld,...d->...l", "B,5,3", "B,3", "B,5"),
    ],
)
def test_equations_that_stay(equation: str, user: str, item: str, result: str) -> None:
    assert einsum(equation, user, item, result).times == 0


def test_operands_of_items_stay() -> None:
    outcome = apply(
        RULE,
        """score (float[B,5,3] item, float[B,3] item2, float[B,5] user) => (float[B,5] z) {
            y = Einsum<equation = "bld,bd->bl">(item, item2)
            z = Add(y, user)
        }""",
    )
    assert outcome.times == 0


def test_the_row_of_an_input_that_is_an_output_stays_at_hand() -> None:
    """Whatever read it before is gone: of that, only the size was asked for."""
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,3] item) => (float[B,3,3] z, float[B,3] user) {
            a = Abs(user)
            n = Sub(a, item)
            s = Shape(n)
            c = Cast<to = 1>(s)
            f = ReduceSum<keepdims = 0>(c)
            y = Einsum<equation = "bl,bd->bld">(user, item)
            z = Mul(y, f)
        }""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize(("equation", "item"), [("bl,bc->lc", "1,3"), ("bl,b->l", "1")])
def test_not_where_the_sum_over_candidates_rests_on_the_user_alone(equation: str, item: str) -> None:
    """ONNX Runtime repeats what has size 1, so as many equal rows are added up as there are candidates."""
    result = "5,3" if "c" in equation else "5"
    text = f"""score (float[B,5] user, float[B,2] item_2, float[{item}] given) => (float[{result}] z, float[B,2] y) {{
        z = Einsum<equation = "{equation}">(user, given) y = Abs(item_2)
    }}"""
    outcome = apply(RULE, text)
    assert outcome.times == 0
