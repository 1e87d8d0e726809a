"""(x V + c) W = x (V W) + c W."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import apply, at_work, model_of, rule_named, sides_of

RULE = "chained-products"

FIRST = ["MatMul(item, v)", "Gemm(item, v)", "Gemm(item, v, r)", "Gemm(item, v, s)", "Gemm(item, v, user)"]
SECOND = [
    "MatMul(h, w)",
    "Gemm(h, w)",
    "Gemm(h, w, c)",
    "Gemm(h, w, user2)",
    "Gemm(h, w, item2)",
    "Gemm<alpha = 2.0, transB = 1>(h, wt, c)",
]


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("first", FIRST)
def test_every_pair(first: str, second: str, opset: int) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,2] item, float[B,6] user, float[B,4] user2, float[B,4] item2) => (float[B,4] y)
        <float[2,6] v, float[6,4] w, float[4,6] wt, float[4] c, float[6] r, float[1,6] s> {{
            h = {first}
            y = {second}
        }}""",
        opset=opset,
    )
    assert outcome.times == 1
    made = [outcome.size_of(n.output[0]) for n in outcome.result.graph.node if n.op_type in ("MatMul", "Gemm")]
    assert not [size for size in made if size and size[1] == 6]
    assert sum(str(size[0]) == "B" for size in made if size) == 1


def test_rows_of_tokens() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] item, float[B,1] user) => (float[B,3,4] y) <float[2,6] v, float[6,4] w> {
            h = MatMul(item, v)
            y = MatMul(h, w)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"MatMul": 1}


def test_the_first_one_is_computed_once_in_part() -> None:
    """A constant part of the matrix is multiplied when the model is optimized."""
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[1,5] own) => (float[B,4] y) <float[2,6] v, float[5,6] p, float[6,4] w> {
            r = MatMul(own, p)
            t = Concat<axis = 0>(v, r)
            h = MatMul(item, t)
            y = MatMul(h, w)
        }""",
    )
    assert outcome.times == 1
    assert sorted(str(outcome.size_of(n.output[0])) for n in outcome.of("MatMul")) == ["(1, 4)", "(B, 4)"]


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        "Gemm<alpha = 2.0>(item, v)",
        "Gemm<beta = 2.0>(item, v, r)",
        "Gemm(item, v, one)",
        "Gemm(item, v, item3)",
        "Gemm<transB = 1>(item, vt)",
    ],
)
def test_not_where_the_first_does_more(first: str) -> None:
    text = f"""score (float[B,2] item, float[B,6] item3, float[B,1] user) => (float[B,4] y)
    <float[2,6] v, float[6,2] vt, float[6] r, float[1] one, float[6,4] w> {{
        h = {first}
        y = MatMul(h, w)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_where_the_first_matrix_is_that_of_items() -> None:
    text = """score (float[B,3,2] item, float[B,2,6] item2, float[B,1] user) => (float[B,3,4] y) <float[6,4] w> {
        h = MatMul(item, item2)
        y = MatMul(h, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_through_what_is_not_linear() -> None:
    text = """score (float[B,2] item, float[B,1] user) => (float[B,4] y) <float[2,6] v, float[6,4] w> {
        h = MatMul(item, v)
        a = Relu(h)
        y = MatMul(a, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_sizes_are_unknown() -> None:
    """What a branch makes that is chosen when the model runs."""
    text = """score (float[B,2] item, float[B,2] user) => (float[B,4] y)
    <float zero, float[2,6] v, float[6,4] w> {
        x = Add(item, user)
        largest = ReduceMax<keepdims = 0>(x)
        positive = Greater(largest, zero)
        f = If(positive) <then_branch = t () => (float[] a) { a = Relu(x) },
                          else_branch = e () => (float[] b) { b = Neg(x) }>
        h = MatMul(f, v)
        y = MatMul(h, w)
    }"""
    outcome = apply(RULE, text)
    assert outcome.times == 0
    assert not any("internal error" in reason for reason in outcome.reasons)


def test_not_kept_where_the_value_in_between_is_narrow() -> None:
    """As in a cross network of low rank."""
    model = model_of(
        """score (float[B,64] item, float[B,1] user) => (float[B,64] y) <float[64,4] v, float[4,64] w> {
            h = MatMul(item, v)
            y = MatMul(h, w)
        }"""
    )
    workspace = at_work(model, sides_of(model))
    assert not rewrite(workspace, [r for r in RULES if r.name == RULE], CostModel()).applied


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    widths=st.lists(st.integers(1, 4), min_size=3, max_size=5),
    biased=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_any_chain(widths: list[int], biased: list[bool]) -> None:
    layers, weights, value = [], [], "item"
    for index, (rows, columns) in enumerate(itertools.pairwise(widths)):
        name = "y" if index == len(widths) - 2 else f"h{index}"
        bias = f", c{index}" if biased[index] else ""
        layers.append(f"{name} = {'Gemm' if bias else 'MatMul'}({value}, w{index}{bias})")
        weights += [f"float[{rows},{columns}] w{index}", f"float[{columns}] c{index}"]
        value = name
    outcome = apply(
        RULE,
        f"""score (float[B,{widths[0]}] item, float[B,1] user) => (float[B,{widths[-1]}] y) <{", ".join(weights)}> {{
            {" ".join(layers)}
        }}""",
    )
    assert outcome.times == len(widths) - 2


def test_weights_of_the_user_stay_two_where_their_product_has_more_entries() -> None:
    text = """score (float[B,40] user, float[B,3] item) => (float[B,30] y) <float[43,2] v, float[2,30] w> {
        x = Concat<axis = 1>(user, item)
        h = MatMul(x, v)
        y = MatMul(h, w)
    }"""
    outcome = apply([rule_named("split-product"), rule_named(RULE)], text)
    assert RULE in {a.rule for a in outcome.applied}
    shapes = [tuple(t.dims) for t in outcome.result.graph.initializer]
    assert (3, 30) in shapes, "the items' weights are multiplied"
    assert (40, 30) not in shapes


def test_what_may_be_infinite_stays_in_front_of_two_products() -> None:
    """With numbers of either sign it adds up to no number, with their sum it is infinite."""
    text = """score (float[B,2] item, float[B,2] user) => (float[B,4] y) <float[2,6] v, float[6,4] w> {{
        x = {value}
        h = MatMul(x, v)
        y = MatMul(h, w)
    }}"""
    assert apply(RULE, text.format(value="Div(item, user)")).times == 0
    assert apply(RULE, text.format(value="Mul(item, user)")).times == 1


@pytest.mark.parametrize(("number", "fires"), [(200.0, False), (20.0, True)])
def test_matrices_whose_product_leaves_the_range_of_their_type_stay(number: float, fires: bool) -> None:
    text = """score (float16[B,2] item) => (float16[B,4] y) {
        h = MatMul(item, v)
        y = MatMul(h, w)
    }"""
    weights = {"v": np.full((2, 6), number, np.float16), "w": np.full((6, 4), number, np.float16)}
    outcome = apply(RULE, model_of(text, **weights), exact=False, batches=())
    assert bool(outcome.times) == fires
    assert fires or any("leaves the range" in reason for reason in outcome.reasons)
