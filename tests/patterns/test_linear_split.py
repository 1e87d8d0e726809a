"""(a + u) W = a W + u W."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.patterns._linear import Form
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from mari_onnx.rewrite.rule import Refusal
from tests.patterns.support import apply, at_work, model_of, rule_named, sides_of, typed

RULE = "linear-split"

OPSETS = pytest.mark.parametrize("opset", [11, 13, 17])


# -- fires -------------------------------------------------------------------------------------------------------------


@OPSETS
@pytest.mark.parametrize("inner", ["Add(item, user)", "Add(user, item)", "Sub(item, user)", "Sub(user, item)"])
def test_a_sum_of_user_and_item(inner: str, opset: int) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3] item, float[B,3] user) => (float[B,4] y) <float[3,4] w> {{
            s = {inner}
            y = MatMul(s, w)
        }}""",
        opset=opset,
    )
    assert outcome.times == 1
    assert outcome.ops == {"Gemm": 1, "MatMul": 1}
    assert outcome.size_of(outcome.of("MatMul")[0].output[0]) == (1, 4)


@pytest.mark.parametrize("inner", ["Expand(item, sizes)", "Tile(item, sizes)", "Concat<axis = 1>(item, item, item)"])
def test_an_item_beside_each_token(inner: str) -> None:
    """As target attention is written: [q, k, q-k, q*k] W."""
    outcome = apply(
        RULE,
        f"""score (float[B,1,2] item, float[B,3,2] user) => (float[B,3,4] y)
        <float[8,4] w, int64[3] sizes = {{1, 3, 1}}> {{
            q = {inner}
            d = Sub(q, user)
            p = Mul(q, user)
            c = Concat<axis = -1>(q, user, d, p)
            y = MatMul(c, w)
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 3
    sizes = sorted(str(outcome.size_of(node.output[0])) for node in outcome.of("MatMul"))
    assert sizes == ["(1, 3, 4)", "(B, 1, 4)", "(B, 3, 4)"]


@OPSETS
def test_rows_merged_before_the_product(opset: int) -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,2] item, float[B,3,2] user) => (float[M,4] y)
        <float[4,4] w, float[4] b, int64[2] flat = {-1, 4}> {
            q = Concat<axis = 1>(item, item, item)
            d = Sub(user, q)
            c = Concat<axis = 2>(q, d)
            f = Reshape(c, flat)
            y = Gemm(f, w, b)
        }""",
        opset=opset,
    )
    assert outcome.times == 1
    assert sorted(str(outcome.size_of(n.output[0])) for n in outcome.of("MatMul")) == ["(1, 3, 4)", "(B, 1, 4)"]


def test_a_repeated_item_is_multiplied_once_and_repeated_behind() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,2] item, float[B,1] user) => (float[B,3,4] y)
        <float[2,4] w, int64[3] sizes = {1, 3, 1}> {
            q = Expand(item, sizes)
            y = MatMul(q, w)
        }""",
    )
    assert outcome.times == 1
    assert [op for op in outcome.ops if op != "Concat"].count("Expand") == 1
    assert str(outcome.size_of(outcome.of("MatMul")[0].output[0])) == "(B, 1, 4)"


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("bias", ["", ", b", ", r", ", user2", ", item2"])
def test_a_gemm(bias: str, turned: int) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3] item, float[B,3] user, float[B,4] user2, float[B,4] item2) => (float[B,4] y)
        <float[{"4,3" if turned else "3,4"}] w, float[4] b, float[1,4] r> {{
            s = Sub(item, user)
            y = Gemm<alpha = 2.0, transB = {turned}>(s, w{bias})
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["Sub"] == 0


def test_signs_through_several_sums() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[B,3] user, float[B,3] user2) => (float[B,4] y) <float[3,4] w, float[1,3] c> {
            n = Neg(item)
            a = Sub(user, n)
            d = Sub(user2, a)
            s = Sum(d, c, user)
            y = MatMul(s, w)
        }""",
    )
    assert outcome.times == 1
    assert outcome.of("MatMul")
    assert set(outcome.ops) <= {"MatMul", "Gemm", "Add", "Concat", "Expand", "Shape"}


def test_differences_of_what_is_there_already() -> None:
    """a - b adds nothing to multiply where a and b are parts as well."""
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[B,3] item2) => (float[B,4] y) <float[9,4] w> {
            d = Sub(item, item2)
            c = Concat<axis = 1>(item, d, item2)
            y = MatMul(c, w)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"Concat": 1, "MatMul": 1}


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_where_both_summands_are_those_of_items() -> None:
    text = """score (float[B,3] item, float[B,3] item2, float[B,3] user) => (float[B,4] y) <float[3,4] w> {
        s = Add(item, item2)
        y = MatMul(s, w)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("op", ["Mul", "Div", "Max"])
def test_not_for_what_is_not_linear(op: str) -> None:
    text = f"""score (float[B,3] item, float[B,3] user) => (float[B,4] y) <float[3,4] w> {{
        s = {op}(user, item)
        s2 = Abs(s)
        y = MatMul(s2, w)
    }}"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("narrow", ["float[B,1] user", "float[1] other", "float other"])
def test_not_where_a_summand_is_stretched_over_the_columns(narrow: str) -> None:
    text = f"""score (float[B,3] item, {narrow}) => (float[B,4] y) <float[3,4] w> {{
        s = Add(item, {narrow.split()[1]})
        y = MatMul(s, w)
    }}"""
    assert apply(RULE, text).times == 0


def test_not_where_the_repetition_is_along_the_columns() -> None:
    text = """score (float[B,1] item, float[B,3] user) => (float[B,4] y) <float[3,4] w, int64[2] sizes = {1, 3}> {
        q = Expand(item, sizes)
        y = MatMul(q, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_with_another_operand_than_a_weight() -> None:
    text = """score (float[B,3] item, float[B,3] user, float[3,4] w) => (float[B,4] y) {
        s = Add(item, user)
        y = MatMul(s, w)
    }"""
    outcome = apply(RULE, text)
    assert outcome.times == 0
    assert outcome.reasons == {"the other operand is not a plain weight matrix of floats"}


@pytest.mark.parametrize("attrs", ["beta = 2.0", "transA = 1"])
def test_not_for_a_gemm_that_does_more(attrs: str) -> None:
    rows = "B" if "beta" in attrs else 3
    size = 4 if "beta" in attrs else "4"
    text = f"""score (float[B,3] item, float[B,3] user) => (float[{rows},{size}] y)
    <float[{"3" if rows == "B" else "7"},4] w, float[4] b> {{
        s = Add(item, user)
        y = Gemm<{attrs}>(s, w, b)
    }}"""
    assert apply(RULE, text, batches=(7,)).times == 0


def test_not_for_whole_numbers() -> None:
    text = """score (int64[B,3] item, int64[B,3] user) => (int64[B,4] y) <int64[3,4] w> {
        s = Add(item, user)
        y = MatMul(s, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_kept_where_it_does_not_pay() -> None:
    """The sum is needed anyway, and a second small product costs more than it saves."""
    model = model_of(
        """score (float[B,3] item, float[B,3] user) => (float[B,4] y, float[B,3] z) <float[3,4] w> {
            s = Add(item, user)
            y = MatMul(s, w)
            z = Relu(s)
        }"""
    )
    workspace = at_work(model, sides_of(model))
    rules = [r for r in RULES if r.name == RULE]
    assert not rewrite(workspace, rules, CostModel(candidates=2)).applied


def test_sizes_that_only_a_run_tells() -> None:
    """As of rows that are chosen twice by a mask: each choice has a size of its own."""
    outcome = apply(
        RULE,
        """score (float[B,2] item, float[B,3,2] user, bool[B] item2) => (float[N,3,4] y)
        <float[2,4] w, int64[3] sizes = {1, 3, 1}, int64[1] middle = {1}> {
            c = Compress<axis = 0>(item, item2)
            u = Unsqueeze(c, middle)
            q = Expand(u, sizes)
            k = Compress<axis = 0>(user, item2)
            s = Sub(q, k)
            y = MatMul(s, w)
        }""",
    )
    assert outcome.times == 0
    assert any("cannot be computed from the inputs" in reason for reason in outcome.reasons)


# -- any model ---------------------------------------------------------------------------------------------------------

PARTS = {"q": "item", "k": "user", "s": "Sub", "a": "Add", "m": "Mul"}


@given(
    chosen=st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=5),
    repeat=st.sampled_from(["Expand(item, sizes)", "Concat<axis = 1>(item, item, item)"]),
    merged=st.booleans(),
    user=st.sampled_from([["B", 3, 2], ["B", 1, 2], [3, 2], [1, 3, 2]]),
)
def test_any_attention(chosen: list[str], repeat: str, merged: bool, user: list[object]) -> None:
    width = 2 * len(chosen)
    last = "f = Reshape(c, flat) y = MatMul(f, w)" if merged else "y = MatMul(c, w)"
    outcome = apply(
        RULE,
        f"""score (float[B,1,2] item, {typed("float", user)} user) => ({"float[M,4]" if merged else "float[B,3,4]"} y)
        <float[{width},4] w, int64[3] sizes = {{1, 3, 1}}, int64[2] flat = {{-1, {width}}}> {{
            q = {repeat}
            z = Sub(q, q)
            k = Add(z, user)
            s = Sub(q, user)
            a = Add(user, q)
            m = Mul(q, user)
            c = Concat<axis = 2>({", ".join(chosen)})
            {last}
        }}""",
    )
    assert outcome.times <= 1


@given(
    indices=st.lists(st.integers(-6, 5), min_size=1, max_size=8),
    first=st.booleans(),
)
def test_any_choice_of_columns(indices: list[int], first: bool) -> None:
    """Columns put in another order, parts left out, columns taken twice."""
    parts = "user, item" if first else "item, user"
    outcome = apply(
        RULE,
        f"""score (float[B,4] user, float[B,2] item, float[B,2] item2) => (float[B,3] y)
        <int64[{len(indices)}] chosen = {{{", ".join(map(str, indices))}}}, float[{len(indices) + 2},3] w> {{
            c = Concat<axis = 1>({parts})
            g = Gather<axis = 1>(c, chosen)
            x = Concat<axis = 1>(item2, g)
            y = MatMul(x, w)
        }}""",
    )
    taken = {i % 6 for i in indices}
    sizes = (4, 2) if first else (2, 4)
    whole = [set(range(sizes[0])), set(range(sizes[0], 6))]
    assert outcome.times == all(part <= taken or not part & taken for part in whole)
    assert len(outcome.of("Gather")) == 1 - outcome.times


@pytest.mark.parametrize(("chosen", "times"), [((4, 0, 1, 2, 3), 1), ((4, 4, 0, 1, 2, 3), 1), ((4, 0, 2, 3), 0)])
def test_columns_that_are_left_out_are_not_multiplied_with_zeros(chosen: tuple[int, ...], times: int) -> None:
    """They may be no numbers, which they would make of the sum."""
    weights = f"float[{len(chosen)},4] w, int64[{len(chosen)}] c"
    text = f"""score (float[B,3] item, float[B,2] user) => (float[B,4] y) <{weights}> {{
        x = Concat<axis = 1>(item, user) g = Gather<axis = 1>(x, c) y = MatMul(g, w)
    }}"""
    assert apply(RULE, text, c=np.array(chosen)).times == times


@pytest.mark.parametrize(
    ("difference", "times"),
    [("Sub(item, user)", 1), ("Sub(item_t, user_t)", 0), ("Sub(item, near)", 1), ("Sub(item, far)", 0)],
)
def test_differences_of_large_numbers_stay_what_they_are(difference: str, times: int) -> None:
    """Two times, or prices and their mean: a product with each would lose what is left of them."""
    columns = 1 if "_t" in difference else 3
    text = f"""score (float[B,3] item, float[B,3] user, float[B,1] item_t, float[B,1] user_t) => (float[B,4] y)
        <float[{columns + 3},4] w, float[3] near, float[3] far> {{
            d = {difference} x = Concat<axis = 1>(d, user) y = MatMul(x, w)
        }}"""
    outcome = apply(RULE, text, near=np.float32([1, 2, 3]), far=np.float32([1, 20000, 3]), exact=False)
    assert outcome.times == times


def test_a_term_of_unknown_width_is_refused() -> None:
    """Values behind a branch may have none where they are computed once, though the sum of all widths is known."""
    model = model_of(
        """score (float[B,2] user, float[B,3] item) => (float[B,4] y) <float[5,4] w> {
            n = Neg(item)
            x = Concat<axis = 1>(user, n)
            y = MatMul(x, w)
        }"""
    )
    at = at_work(model, sides_of(model))
    rule, product = rule_named(RULE), at.graph.producer("y")
    assert product is not None
    form = rule.match(product, at)
    assert isinstance(form, Form)
    term = next(v for v in form.terms if v != "item")
    at.facts[term] = replace(at.fact(term), shape=None)
    assert isinstance(rule.match(product, at), Refusal)
