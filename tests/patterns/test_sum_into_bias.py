"""view(x W + c) + v = view(x W + (c + v))."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply, typed

RULE = "sum-into-bias"


def text_of(product: str, summand: str, *, flip: bool = False, more: str = "", outputs: str = "") -> str:
    """Six columns, taken apart into two tokens of three; ``summand`` is declared as an input."""
    order = f"{summand.split()[-1]}, v" if flip else f"v, {summand.split()[-1]}"
    return f"""score (float[B,5] item, {summand}, float[B,6] user9) => (float[B,2,3] y{outputs})
    <float[5,6] w, float[6,5] wt, float[6] b, float[1,6] r, float[1] one, int64[3] apart = {{-1, 2, 3}}> {{
        unused = Neg(user9)
        g = {product}
        v = Reshape(g, apart)
        y = Add({order})
        {more}
    }}"""


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "product",
    [
        "MatMul(item, w)",
        "Gemm(item, w)",
        "Gemm(item, w, b)",
        "Gemm(item, w, r)",
        "Gemm(item, w, one)",
        "Gemm(item, w, unused)",
        "Gemm<alpha = 2.0, transB = 1>(item, wt, b)",
        "Gemm<beta = 2.0>(item, w)",
    ],
)
def test_every_product(product: str, flip: bool, opset: int) -> None:
    outcome = apply(RULE, text_of(product, "float[B,2,3] user", flip=flip), opset=opset)
    assert outcome.times == 1
    assert outcome.ops["Gemm"] == 1
    assert all("B" not in str(outcome.size_of(node.output[0])) for node in outcome.of("Add"))


@pytest.mark.parametrize("shape", ["[B,2,3]", "[B,1,3]", "[B,2,1]", "[B,1,1]", "[2,3]", "[3]", "[1]", "[]", "[1,2,3]"])
@pytest.mark.parametrize("product", ["MatMul(item, w)", "Gemm(item, w, b)"])
def test_every_summand_that_broadcasts(product: str, shape: str) -> None:
    kind = "float" if shape == "[]" else f"float{shape}"
    outcome = apply(RULE, text_of(product, f"{kind} {'user' if 'B' in shape else 'other'}"))
    assert outcome.times == 1


def test_rows_taken_apart() -> None:
    """As TensorFlow writes a dense layer on [B, T, k]."""
    outcome = apply(
        RULE,
        """score (float[B,2,5] item, float[B,1] user) => (float[B,2,3] y)
        <float[5,3] w, float[3] b, int64[2] flat = {-1, 5}, int64[3] apart = {-1, 2, 3}> {
            f = Reshape(item, flat)
            g = MatMul(f, w)
            v = Reshape(g, apart)
            y = Add(v, b)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["Gemm"] == 1
    assert not outcome.ops["Add"]


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("product", ["Gemm<beta = 2.0>(item, w, b)", "Gemm(item, w, item2)"])
def test_not_into_a_bias_that_is_scaled_or_of_each_item(product: str) -> None:
    text = text_of(product, "float[B,2,3] user").replace("float[B,5] item", "float[B,5] item, float[B,6] item2")
    assert apply(RULE, text).times == 0


def test_not_into_a_bias_of_an_open_size() -> None:
    """It may be one, and then it is repeated."""
    text = """score (float[B,5] item, float[B,3] user, float[B,S] user_bias) => (float[B,1,3] y)
        <float[5,3] w, int64[3] apart = {-1, 1, 3}> {
            own = Neg(user_bias) g = Gemm(item, w, own) v = Reshape(g, apart) u = Unsqueeze(user, one) y = Add(v, u)
        }""".replace("<float", "<int64[1] one = {1}, float")
    assert apply(RULE, text).times == 0


def test_not_a_summand_of_each_item() -> None:
    assert apply(RULE, text_of("MatMul(item, w)", "float[B,2,3] item2")).times == 0


@pytest.mark.parametrize("more", ["z = Neg(v)", "z = Neg(g)"])
def test_not_where_the_product_is_read_elsewhere(more: str) -> None:
    outputs = ", float[B,2,3] z" if "v" in more else ", float[B,6] z"
    assert apply(RULE, text_of("MatMul(item, w)", "float[B,2,3] user", more=more, outputs=outputs)).times == 0


def test_not_where_the_product_is_an_output() -> None:
    assert apply(RULE, text_of("MatMul(item, w)", "float[B,2,3] user", outputs=", float[B,6] g")).times == 0


def test_not_where_columns_of_several_rows_are_mixed() -> None:
    text = """score (float[B,2,5] item, float[B,3,2] user) => (float[B,3,2] y)
    <float[5,3] w, int64[2] flat = {-1, 5}, int64[3] apart = {-1, 3, 2}> {
        f = Reshape(item, flat)
        g = MatMul(f, w)
        v = Reshape(g, apart)
        y = Add(v, user)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_rows_differ_in_the_summand() -> None:
    text = """score (float[B,2,5] item, float[B,2,3] user) => (float[B,2,3] y)
    <float[5,3] w, int64[2] flat = {-1, 5}, int64[3] apart = {-1, 2, 3}> {
        f = Reshape(item, flat)
        g = MatMul(f, w)
        v = Reshape(g, apart)
        y = Add(v, user)
    }"""
    assert apply(RULE, text).times == 0


def test_not_a_product_in_batches() -> None:
    text = """score (float[B,2,5] item, float[B,2,3] user) => (float[B,2,1,3] y)
    <float[5,3] w, int64[4] apart = {-1, 2, 1, 3}, float[3] b> {
        unused = Neg(user)
        g = MatMul(item, w)
        v = Reshape(g, apart)
        y = Add(v, b)
    }"""
    assert apply(RULE, text).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3),
    ones=st.lists(st.booleans(), min_size=4, max_size=4),
    dropped=st.integers(0, 4),
    bias=st.sampled_from(["", ", b"]),
)
def test_any_columns(sizes: list[int], ones: list[bool], dropped: int, bias: str) -> None:
    columns = 1
    for size in sizes:
        columns *= size
    summand = ["B", *(1 if one else size for one, size in zip(ones, sizes, strict=False))][dropped:]
    name = "user" if "B" in summand else "other"
    outcome = apply(
        RULE,
        f"""score (float[B,5] item, {typed("float", summand)} {name}) => ({typed("float", ["B", *sizes])} y)
        <float[5,{columns}] w, float[{columns}] b,
        int64[{len(sizes) + 1}] apart = {{{", ".join(map(str, [-1, *sizes]))}}}> {{
            g = {"Gemm" if bias else "MatMul"}(item, w{bias})
            v = Reshape(g, apart)
            y = Add(v, {name})
        }}""",
    )
    assert outcome.times == 1
