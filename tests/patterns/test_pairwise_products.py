"""[u; i] [u; i]^T = [[u u^T, (i u^T)^T], [i u^T, i i^T]]."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, rule_named, sides_of

RULE = "pairwise-products"

TRIANGLE = [(row, column) for row in range(5) for column in range(row)]
WHOLE = [(row, column) for row in range(5) for column in range(5)]


def chosen(
    pairs: list[tuple[int, int]],
    *,
    parts: str = "user, item, item2, user2",
    how: str = "columns",
    opset: int = 17,
    more: str = "",
    outputs: str = "",
    rules: str = RULE,
) -> Outcome:
    """Some products of five rows: one of ``user``, one each of ``item`` and ``item2``, two of ``user2``."""
    flat = ", ".join(str(row * 5 + column) for row, column in pairs)
    select = {
        "columns": "f = Reshape(p, square) y = Gather<axis = 1>(f, flat)",
        "rows": "t = Transpose<perm = [1, 2, 0]>(p) f = Flatten<axis = 2>(t) "
        "g = Gather(f, flat) y = Transpose<perm = [1, 0]>(g)",
        "all": "y = Reshape(p, square)",
    }[how]
    return apply(
        rules,
        f"""score (float[B,1,3] user, float[B,1,3] item, float[B,1,3] item2, float[B,2,3] user2)
        => (float[B,{len(pairs)}] y{outputs}) <int64[{len(pairs)}] flat = {{{flat}}}, int64[2] square = {{-1, 25}}> {{
            x = Concat<axis = 1>({parts})
            xt = Transpose<perm = [0, 2, 1]>(x)
            p = MatMul(x, xt)
            {select}
            {more}
        }}""",
        opset=opset,
    )


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("how", ["columns", "rows"])
@pytest.mark.parametrize("parts", ["user, item, item2, user2", "item, user2, item2, user", "user2, user, item2, item"])
def test_the_triangle_below_the_diagonal(parts: str, how: str, opset: int) -> None:
    outcome = chosen(TRIANGLE, parts=parts, how=how, opset=opset)
    assert outcome.times == 1
    sizes = [str(outcome.size_of(node.output[0])) for node in outcome.of("MatMul")]
    assert sorted(sizes) == ["(1, 3, 3)", "(B, 2, 3)"]
    assert outcome.ops["ReduceSum"] == 1


@pytest.mark.parametrize(
    "pairs",
    [
        WHOLE,
        [(r, c) for r, c in WHOLE if r < c],
        [(4, 4), (0, 0), (4, 4), (1, 2)],
        [(0, 3)],  # the user's alone: everything is computed once
        [(1, 2)],  # items alone
        [(0, 1), (2, 0), (3, 1)],
    ],
)
def test_any_choice(pairs: list[tuple[int, int]]) -> None:
    assert chosen(pairs).times == 1


@pytest.mark.parametrize(("rows", "width", "times"), [(6, 40, 1), (6, 9, 0), (3, 64, 0)])
def test_many_rows_of_items_are_one_product_in_batches(rows: int, width: int, times: int) -> None:
    total = rows + 2
    flat = np.array([row * total + column for row in range(total) for column in range(row)], np.int64)
    text = f"""score (float[B,2,{width}] user, float[B,{rows},{width}] item) => (float[B,{len(flat)}] y)
    <int64[{len(flat)}] flat, int64[2] square = {{-1, {total * total}}}> {{
        x = Concat<axis = 1>(user, item)
        xt = Transpose<perm = [0, 2, 1]>(x)
        p = MatMul(x, xt)
        f = Reshape(p, square)
        y = Gather<axis = 1>(f, flat)
    }}"""
    outcome = apply(RULE, text, flat=flat)
    assert outcome.times == 1
    made = sorted(str(outcome.size_of(n.output[0])) for n in outcome.of("MatMul"))
    assert made == ["(1, 2, 2)", f"(B, {rows}, 2)", *[f"(B, {rows}, {rows})"] * times]


def test_the_matrix_is_read_elsewhere() -> None:
    assert chosen(TRIANGLE, more="z = Neg(p)", outputs=", float[B,5,5] z").times == 1


def test_the_columns_go_on_into_a_product() -> None:
    outcome = apply(
        [rule_named(RULE), rule_named("linear-split")],
        """score (float[B,3,3] user, float[B,1,3] item, float[B,3] item2) => (float[B,2] y)
        <int64[2] square = {-1, 16}, int64[6] flat = {4, 8, 9, 12, 13, 14}, float[9,2] w, float[2] b> {
            x = Concat<axis = 1>(item, user)
            xt = Transpose<perm = [0, 2, 1]>(x)
            p = MatMul(x, xt)
            f = Reshape(p, square)
            c = Gather<axis = 1>(f, flat)
            h = Concat<axis = 1>(item2, c)
            y = Gemm(h, w, b)
        }""",
    )
    assert [a.rule for a in outcome.applied] == [RULE, "linear-split"]
    rows = [outcome.size_of(node.output[0]) for node in outcome.of("Gemm")]
    assert [str(size) for size in rows] == ["(B, 2)"]
    assert not [n for n in outcome.of("Gather") if "B" in str(outcome.size_of(n.output[0]))]


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_where_nothing_is_chosen() -> None:
    assert chosen(WHOLE, how="all").times == 0


@pytest.mark.parametrize("parts", ["item, item2, item3", "item3, item"])
def test_not_without_rows_of_the_user(parts: str) -> None:
    rows = 3 if parts.count(",") == 1 else 4
    text = f"""score (float[B,1,3] item, float[B,1,3] item2, float[B,2,3] item3, float[B,1] user) => (float[B,2] y)
    <int64[2] flat = {{1, 2}}, int64[2] square = {{-1, {rows * rows}}}> {{
        x = Concat<axis = 1>({parts})
        xt = Transpose<perm = [0, 2, 1]>(x)
        p = MatMul(x, xt)
        f = Reshape(p, square)
        y = Gather<axis = 1>(f, flat)
    }}"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("other", ["Neg(x)", "Relu(x)"])
def test_not_for_the_product_of_two_different_values(other: str) -> None:
    text = f"""score (float[B,1,3] item, float[B,2,3] user) => (float[B,2] y)
    <int64[2] flat = {{1, 2}}, int64[2] square = {{-1, 9}}> {{
        x = Concat<axis = 1>(item, user)
        x2 = {other}
        xt = Transpose<perm = [0, 2, 1]>(x2)
        p = MatMul(x, xt)
        f = Reshape(p, square)
        y = Gather<axis = 1>(f, flat)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_where_columns_are_multiplied() -> None:
    text = """score (float[B,3,1] item, float[B,3,2] user) => (float[B,2] y)
    <int64[2] flat = {1, 2}, int64[2] square = {-1, 9}> {
        x = Concat<axis = 2>(item, user)
        xt = Transpose<perm = [0, 2, 1]>(x)
        p = MatMul(x, xt)
        f = Reshape(p, square)
        y = Gather<axis = 1>(f, flat)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_the_choice_is_an_input() -> None:
    text = """score (float[B,1,3] item, float[B,2,3] user, int64[2] flat) => (float[B,2] y)
    <int64[2] square = {-1, 9}> {
        x = Concat<axis = 1>(item, user)
        xt = Transpose<perm = [0, 2, 1]>(x)
        p = MatMul(x, xt)
        f = Reshape(p, square)
        y = Gather<axis = 1>(f, flat)
    }"""
    outcome = apply(RULE, text)
    assert outcome.times == 0
    assert outcome.reasons == {"what is chosen of the products is not known"}


def test_not_where_something_happens_in_between() -> None:
    text = """score (float[B,1,3] item, float[B,2,3] user) => (float[B,2] y)
    <int64[2] flat = {1, 2}, int64[2] square = {-1, 9}> {
        x = Concat<axis = 1>(item, user)
        xt = Transpose<perm = [0, 2, 1]>(x)
        p = MatMul(x, xt)
        s = Softmax(p)
        f = Reshape(s, square)
        y = Gather<axis = 1>(f, flat)
    }"""
    assert apply(RULE, text).times == 0


def test_kept_where_it_pays() -> None:
    flat = ", ".join(str(row * 12 + column) for row in range(12) for column in range(row))
    model = model_of(
        f"""score (float[B,10,16] user, float[B,2,16] item) => (float[B,66] y)
        <int64[66] flat = {{{flat}}}, int64[2] square = {{-1, 144}}> {{
            x = Concat<axis = 1>(user, item)
            xt = Transpose<perm = [0, 2, 1]>(x)
            p = MatMul(x, xt)
            f = Reshape(p, square)
            y = Gather<axis = 1>(f, flat)
        }}"""
    )
    workspace = at_work(model, sides_of(model))
    assert RULE in {a.rule for a in rewrite(workspace, RULES, CostModel()).applied}


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12),
    order=st.permutations(["user", "item", "item2", "user2"]),
    how=st.sampled_from(["columns", "rows"]),
)
def test_any_pairs(pairs: list[tuple[int, int]], order: list[str], how: str) -> None:
    assert chosen(pairs, parts=", ".join(order), how=how).times == 1
