"""x V, x W = x [V, W]."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import apply, at_work, model_of, sides_of

RULE = "sibling-products"


def text_of(first: str, second: str, declared: str, *, sides: str = "float[B,6] item", behind: str = "Abs") -> str:
    return f"""score ({sides}) => (float[B,4] z) <{declared}> {{
        left = {first}
        right = {second}
        p = {behind}(left)
        q = {behind}(right)
        z = Sub(p, q)
    }}"""


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
def test_two_of_the_items(opset: int) -> None:
    text = text_of("MatMul(item, v)", "MatMul(item, w)", "float[6,4] v, float[6,4] w")
    outcome = apply(RULE, text, opset=opset)
    assert outcome.times == 1
    assert (outcome.ops["MatMul"], outcome.ops["Split"]) == (1, 1)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("bias", ["4", "1,4", ""])
def test_layers_with_biases(turned: tuple[int, int], bias: str) -> None:
    added = [", b", ", c"] if bias else ["", ""]
    shapes = ["4,6" if t else "6,4" for t in turned]
    outcome = apply(
        RULE,
        text_of(
            f"Gemm<transB = {turned[0]}>(item, v{added[0]})",
            f"Gemm<transB = {turned[1]}>(item, w{added[1]})",
            f"float[{shapes[0]}] v, float[{shapes[1]}] w" + (f", float[{bias}] b, float[{bias}] c" if bias else ""),
        ),
    )
    assert outcome.times == 1
    assert outcome.ops["Gemm"] == 1


def test_three_of_the_user_whatever_follows() -> None:
    outcome = apply(
        RULE,
        """score (float[B,6] user, float[B,4] item) => (float[B,4] z) <float[6,4] v, float[6,4] w, float[6,4] t> {
            a = MatMul(user, v)
            b = MatMul(user, w)
            c = MatMul(user, t)
            p = Relu(a)
            q = Add(p, b)
            r = Add(q, c)
            z = Mul(r, item)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 1
    assert len(outcome.of("Split")[0].output) == 3


def test_tokens() -> None:
    outcome = apply(
        RULE,
        """score (float[B,5,6] item) => (float[B,5,5] z) <float[6,4] v, float[6,4] w> {
            a = MatMul(item, v)
            b = MatMul(item, w)
            t = Transpose<perm = [0, 2, 1]>(b)
            z = MatMul(a, t)
        }""",
    )
    assert outcome.times == 1


def test_halves_that_were_split() -> None:
    """Biases computed once; the user's halves are siblings, too, and no Concat of what is split stays."""
    outcome = apply(
        [r for r in RULES if r.name in (RULE, "rejoined")],
        """score (float[B,3] user, float[B,6] item) => (float[B,4] z)
        <float[3,4] u, float[3,4] t, float[6,4] v, float[6,4] w> {
            b = MatMul(user, u)
            c = MatMul(user, t)
            p = Gemm(item, v, b)
            q = Gemm(item, w, c)
            z = Sub(p, q)
        }""",
    )
    assert (outcome.ops["MatMul"], outcome.ops["Gemm"]) == (1, 1)
    assert outcome.ops["Concat"] == 0


def test_matrices_with_a_row_of_the_user() -> None:
    outcome = apply(
        [r for r in RULES if r.name in (RULE, "rejoined")],
        """score (float[B,3] user, float[1,3] once, float[B,6] item) => (float[B,4] z)
        <float[3,4] u, float[3,4] t, float[5,4] v, float[5,4] w> {
            b = MatMul(once, u)
            c = MatMul(once, t)
            m = Concat<axis = 0>(v, b)
            n = Concat<axis = 0>(w, c)
            p = MatMul(item, m)
            q = MatMul(item, n)
            z = Sub(p, q)
        }""",
    )
    assert outcome.ops["MatMul"] == 2
    assert outcome.ops["Concat"] == 1


@given(
    columns=st.integers(1, 3),
    rows=st.integers(1, 3),
    count=st.integers(2, 4),
    op=st.sampled_from(["MatMul", "Gemm"]),
    user=st.booleans(),
)
def test_any_number_of_them(columns: int, rows: int, count: int, op: str, user: bool) -> None:
    side = "user" if user else "item"
    made = "\n".join(f"p{i} = {op}({side}, w{i})" for i in range(count))
    total = "\n".join(f"s{i + 1} = Sub(s{i}, p{i})" for i in range(count))
    declared = ", ".join(f"float[{rows},{columns}] w{i}" for i in range(count))
    outcome = apply(
        RULE,
        f"""score (float[B,{rows}] user, float[B,{rows}] item, float[B,{columns}] item2)
        => (float[B,{columns}] s{count}) <{declared}> {{ s0 = Identity(item2) {made} {total} }}""",
    )
    assert outcome.times == 1
    assert outcome.ops[op] == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "declared"),
    [
        ("MatMul(item, v)", "Gemm(item, w)", "float[6,4] v, float[6,4] w"),
        ("MatMul(item, v)", "MatMul(item, w)", "float[6,4] v, float[6,1] w"),
        ("Gemm(item, v, b)", "Gemm(item, w)", "float[6,4] v, float[6,4] w, float[4] b"),
        ("Gemm<alpha = 2.0>(item, v)", "Gemm(item, w)", "float[6,4] v, float[6,4] w"),
        ("Gemm(item, v, b)", "Gemm<beta = 2.0>(item, w, b)", "float[6,4] v, float[6,4] w, float[4] b"),
        ("Gemm(item, v, b)", "Gemm(item, w, c)", "float[6,4] v, float[6,4] w, float[4] b, float[1] c"),
        ("MatMul(item, v)", "MatMul(other, w)", "float[6,4] v, float[6,4] w"),
    ],
)
def test_products_that_differ(first: str, second: str, declared: str) -> None:
    sides = "float[B,6] item, float[B,6] item2"
    assert apply(RULE, text_of(first, second.replace("other", "item2"), declared, sides=sides)).times == 0


@pytest.mark.parametrize("behind", ["Relu", "Tanh"])
def test_activations_stay_at_their_products(behind: str) -> None:
    text = text_of("Gemm(item, v)", "Gemm(item, w)", "float[6,4] v, float[6,4] w", behind=behind)
    assert apply(RULE, text, exact=behind == "Relu").times == 0


def test_constant_biases_stay_at_their_products() -> None:
    outcome = apply(
        RULE,
        """score (float[B,6] item) => (float[B,4] z) <float[6,4] v, float[6,4] w, float[4] b> {
            p = MatMul(item, v)
            q = MatMul(item, w)
            r = Add(p, b)
            z = Sub(r, q)
        }""",
    )
    assert outcome.times == 0


def test_outputs_stay() -> None:
    outcome = apply(
        RULE,
        """score (float[B,6] item) => (float[B,4] y, float[B,4] z) <float[6,4] v, float[6,4] w> {
            y = MatMul(item, v)
            z = MatMul(item, w)
        }""",
    )
    assert outcome.times == 0


def test_a_product_that_waits_for_another() -> None:
    outcome = apply(
        RULE,
        """score (float[B,6] user, float[B,4] item) => (float[B,4] z) <float[6,4] v, float[6,4] w> {
            p = Gemm(user, v)
            q = Gemm(user, w, p)
            r = Gemm(user, v, q)
            z = Mul(r, item)
        }""",
    )
    assert outcome.times == 0


# -- pays --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("columns", "times"), [(4, 1), (256, 0)])
def test_narrow_products_only(columns: int, times: int) -> None:
    model = model_of(
        f"""score (float[B,200] item) => (float[B,{columns}] z) <float[200,{columns}] v, float[200,{columns}] w> {{
            a = MatMul(item, v)
            b = MatMul(item, w)
            p = Abs(a)
            q = Abs(b)
            z = Sub(p, q)
        }}"""
    )
    found = rewrite(at_work(model, sides_of(model)), [r for r in RULES if r.name == RULE], CostModel())
    assert len(found.applied) == times
