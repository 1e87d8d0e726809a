"""(x W + b) + y V = [x, y] [W; V] + b."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply

RULE = "merge-products"


def text_of(first: str, second: str, declared: str, *, result: str = "float[B,4] z", more: str = "") -> str:
    return f"""score (float[B,3] user, float[B,2] user2, float[B,4] item) => ({result}) <{declared}> {{
        p = Gemm{first}
        y = Gemm{second}
        z = Mul(y, item)
        {more}
    }}"""


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", ["float[4] b", "float[1,4] b", "float[1] b", ""])
@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_two_user_products(bias: str, turned: tuple[int, int]) -> None:
    shapes = ("4,3" if turned[0] else "3,4", "4,2" if turned[1] else "2,4")
    outcome = apply(
        RULE,
        text_of(
            f"<transB = {turned[0]}>(user, w{', b' if bias else ''})",
            f"<transB = {turned[1]}>(user2, v, p)",
            f"float[{shapes[0]}] w, float[{shapes[1]}] v" + (f", {bias}" if bias else ""),
        ),
    )
    assert outcome.times == 1
    assert outcome.ops["Gemm"] == 1


def test_three_in_a_row() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] user2, float[B,5] user3, float[B,4] item) => (float[B,4] z)
        <float[3,4] w, float[2,4] v, float[5,4] t> {
            p = Gemm(user, w)
            q = Gemm(user2, v, p)
            y = Gemm(user3, t, q)
            z = Mul(y, item)
        }""",
    )
    assert outcome.times == 2
    assert outcome.ops["Gemm"] == 1
    assert max(len(node.input) for node in outcome.of("Concat")) == 3


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_same_operand_twice(turned: tuple[int, int]) -> None:
    shapes = ["4,3" if each else "3,4" for each in turned]
    outcome = apply(
        RULE,
        text_of(
            f"<transB = {turned[0]}>(user, w, b)",
            f"<transB = {turned[1]}>(user, v, p)",
            f"float[{shapes[0]}] w, float[{shapes[1]}] v, float[4] b",
        ),
    )
    assert outcome.times == 1
    (product,) = outcome.of("Gemm")
    assert outcome.size_of(product.input[1]) == (3, 4)


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["alpha = 2.0", "beta = 0.5", "transA = 1"])
@pytest.mark.parametrize("place", [0, 1])
def test_not_where_one_is_scaled_or_turned(attribute: str, place: int) -> None:
    if attribute.startswith("transA"):
        text = """score (float[3,B] user, float[B,2] user2, float[B,4] item) => (float[B,4] z)
        <float[3,4] w, float[2,4] v> {
            p = Gemm<transA = 1>(user, w)
            y = Gemm(user2, v, p)
            z = Mul(y, item)
        }"""
    else:
        attributes = [f"<{attribute}>" if place == index else "" for index in (0, 1)]
        text = text_of(
            f"{attributes[0]}(user, w, b)", f"{attributes[1]}(user2, v, p)", "float[3,4] w, float[2,4] v, float[4] b"
        )
    assert apply(RULE, text).times == 0


def test_not_where_the_inner_one_has_another_reader() -> None:
    text = text_of(
        "(user, w)",
        "(user2, v, p)",
        "float[3,4] w, float[2,4] v",
        result="float[B,4] z, float[B,4] r",
        more="r = Mul(p, item)",
    )
    assert apply(RULE, text).times == 0


def test_not_where_the_inner_one_is_an_output() -> None:
    text = text_of("(user, w)", "(user2, v, p)", "float[3,4] w, float[2,4] v", result="float[B,4] z, float[B,4] p")
    assert apply(RULE, text).times == 0


def test_not_for_each_candidate() -> None:
    text = """score (float[B,3] item, float[B,2] user) => (float[B,4] y) <float[3,4] w, float[2,4] v> {
        p = Gemm(user, v)
        y = Gemm(item, w, p)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_a_weight_is_given() -> None:
    text = """score (float[B,3] user, float[B,2] user2, float[B,4] item, float[3,4] w) => (float[B,4] z)
    <float[2,4] v> {
        p = Gemm(user, w)
        y = Gemm(user2, v, p)
        z = Mul(y, item)
    }"""
    assert apply(RULE, text).times == 0


def test_not_one_row_with_many() -> None:
    """The inner product has one row, which the outer one repeats for its rows."""
    text = """score (float[1,3] x, float[R,2] rows, float[B,4] item) => (float[R,4] y, float[B,4] z)
    <float[3,4] w, float[2,4] v> {
        p = Gemm(x, w)
        y = Gemm(rows, v, p)
        z = Neg(item)
    }"""
    assert apply(RULE, text).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    widths=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    turns=st.lists(st.booleans(), min_size=4, max_size=4),
    rows=st.sampled_from(["B", "1", "3"]),
    bias=st.booleans(),
)
def test_any_chain(widths: list[int], turns: list[bool], rows: str, bias: bool) -> None:
    side = "user" if rows == "B" else "given"
    inputs = ", ".join(f"float[{rows},{width}] {side}{index}" for index, width in enumerate(widths))
    declared = [
        f"float[{f'4,{width}' if turn else f'{width},4'}] w{index}"
        for index, (width, turn) in enumerate(zip(widths, turns, strict=False))
    ]
    nodes, before = [], "b" if bias else ""
    for index, turn in zip(range(len(widths)), turns, strict=False):
        operands = ", ".join(filter(None, [f"{side}{index}", f"w{index}", before]))
        nodes.append(f"p{index} = Gemm<transB = {int(turn)}>({operands})")
        before = f"p{index}"
    outcome = apply(
        RULE,
        f"""score ({inputs}, float[B,3,1] item) => (float[B,3,4] y) <{", ".join(declared)}, float[4] b> {{
            {" ".join(nodes)}
            one = Constant<value_ints = [1]>()
            q = Unsqueeze({before}, one)
            q0 = Squeeze(q, one)
            r = Constant<value_ints = [{-1 if rows == "B" else 1}, {1 if rows != "3" else 3}, 4]>()
            t = Reshape(q0, r)
            y = Mul(t, item)
        }}""",
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == len(widths) - 1
    assert outcome.ops["Gemm"] == 1
