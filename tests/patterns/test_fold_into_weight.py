"""(q * k) W = q (diag(k) W)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of, typed

RULE = "fold-into-weight"

OPSETS = pytest.mark.parametrize("opset", [11, 13, 17])

REPEATS = ["Expand(item, sizes)", "Tile(item, sizes)", "Concat<axis = 1>(item, item, item)"]


def wide(outcome: Outcome) -> list[str]:
    """Operators that still work on something of each candidate."""
    return [
        node.op_type
        for node in outcome.result.graph.node
        if "B" in str(outcome.workspace.facts[node.output[0]].shape) and node.op_type not in ("Reshape", "Expand")
    ]


# -- fires -------------------------------------------------------------------------------------------------------------


@OPSETS
@pytest.mark.parametrize("repeat", REPEATS)
def test_target_attention(repeat: str, opset: int) -> None:
    """[q, k, q-k, q*k] W for all tokens is one product with one row for each candidate."""
    outcome = apply(
        RULE,
        f"""score (float[B,1,2] item, float[B,3,2] user) => (float[B,3,4] y)
        <float[8,4] w, int64[3] sizes = {{1, 3, 1}}> {{
            q = {repeat}
            d = Sub(q, user)
            p = Mul(q, user)
            c = Concat<axis = -1>(q, user, d, p)
            y = MatMul(c, w)
        }}""",
        opset=opset,
    )
    assert outcome.times == 1
    assert wide(outcome) == ["Gemm"]


def test_tokens_of_a_size_that_is_open() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,2] item, float[B,T,2] user) => (float[B,T,4] y) <float[4,4] w> {
            p = Mul(item, user)
            c = Concat<axis = -1>(p, user)
            y = MatMul(c, w)
        }""",
    )
    assert outcome.times == 1
    assert wide(outcome) == ["Gemm"]


@OPSETS
@pytest.mark.parametrize("bias", ["", ", b", ", user2"])
def test_rows_merged_before_the_product(bias: str, opset: int) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,1,2] item, float[B,3,2] user, float[B,3,4] user3) => (float[M,4] y)
        <float[4,4] w, float[4] b, int64[2] flat = {{-1, 4}}> {{
            p = Mul(user, item)
            d = Sub(user, item)
            c = Concat<axis = 2>(p, d)
            f = Reshape(c, flat)
            user2 = Reshape(user3, flat)
            y = Gemm<alpha = 2.0>(f, w{bias})
        }}""",
        opset=opset,
    )
    assert outcome.times == 1
    assert "Mul" not in wide(outcome)


def test_a_gate_of_the_user_on_features_of_the_item() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[B,3] user) => (float[B,4] y) <float[4,3] w, float[4] b> {
            p = Mul(item, user)
            y = Gemm<transB = 1>(p, w, b)
        }""",
    )
    assert outcome.times == 1
    assert wide(outcome) == ["Gemm"]


def test_one_factor_for_all_columns() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,2] item, float[B,3,1] user) => (float[B,3,4] y) <float[2,4] w> {
            p = Mul(user, item)
            y = MatMul(p, w)
        }""",
    )
    assert outcome.times == 1


def test_several_items_each_scaled() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,2] item, float[B,1,3] item2, float[B,3,2] user, float[B,3,3] user2, float[B,3,2] user3)
        => (float[B,3,4] y) <float[10,4] w> {
            p = Mul(item, user)
            q = Mul(user2, item2)
            r = Mul(item, user3)
            s = Sub(item2, user2)
            c = Concat<axis = 2>(p, q, r, s)
            y = MatMul(c, w)
        }""",
    )
    assert outcome.times == 1
    assert sorted(wide(outcome)) == ["Concat", "Gemm"]


def test_terms_that_are_the_same_for_all_tokens() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,2] item, float[B,3,2] user, float[B,1,2] user2) => (float[B,3,4] y) <float[2,4] w> {
            p = Mul(item, user)
            s = Add(p, user2)
            y = MatMul(s, w)
        }""",
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "times"), [(2, 1), (1, 0)])
def test_not_where_there_are_many_terms(most: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mari_onnx.patterns.fold_into_weight.MOST_TERMS", most)
    text = """score (float[B,3] item, float[B,2] item2, float[B,3] user, float[B,2] user2) => (float[B,4] y)
        <float[5,4] w> { p = Mul(item, user) q = Mul(item2, user2) c = Concat<axis = 1>(p, q) y = MatMul(c, w) }"""
    assert apply(RULE, text).times == times


def test_not_where_nothing_is_multiplied() -> None:
    text = """score (float[B,1,2] item, float[B,3,2] user) => (float[B,3,4] y) <float[2,4] w> {
        s = Sub(item, user)
        y = MatMul(s, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_an_item_stands_alone_beside_the_tokens() -> None:
    text = """score (float[B,1,2] item, float[B,1,2] item2, float[B,3,2] user) => (float[B,3,4] y) <float[2,4] w> {
        p = Mul(item, user)
        s = Add(p, item2)
        y = MatMul(s, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_both_factors_are_those_of_items() -> None:
    text = """score (float[B,3] item, float[B,3] item2, float[B,3] user) => (float[B,4] y) <float[3,4] w> {
        p = Mul(item, item2)
        y = MatMul(p, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_items_have_tokens_of_their_own() -> None:
    text = """score (float[B,3,2] item, float[B,3,2] user) => (float[B,3,4] y) <float[2,4] w> {
        p = Mul(item, user)
        y = MatMul(p, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_the_factor_has_an_axis_that_items_have() -> None:
    text = """score (float[B,2,1,3] item, float[B,2,5,3] user) => (float[B,2,5,4] y) <float[3,4] w> {
        p = Mul(item, user)
        y = MatMul(p, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_items_are_stretched_over_the_columns() -> None:
    text = """score (float[B,1] item, float[B,3] user) => (float[B,4] y) <float[3,4] w> {
        p = Mul(item, user)
        y = MatMul(p, w)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_not_with_another_operand_than_a_weight(axis: int) -> None:
    text = """score (float[B,3] item, float[B,3] user, float[3,4] w) => (float[B,4] y) {
        p = Mul(item, user)
        y = MatMul(p, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_kept_for_few_candidates() -> None:
    """The weight has more entries than the items have: scaling it does not pay."""
    model = model_of(
        """score (float[B,64] item, float[B,64] user) => (float[B,64] y) <float[64,64] w> {
            p = Mul(item, user)
            y = MatMul(p, w)
        }"""
    )
    for candidates, expected in ((4, 0), (512, 1)):
        workspace = at_work(model, sides_of(model))
        rules = [r for r in RULES if r.name == RULE]
        assert len(rewrite(workspace, rules, CostModel(candidates=candidates)).applied) == expected


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    parts=st.lists(st.sampled_from(["q", "user", "s", "a", "m", "n", "g"]), min_size=1, max_size=5),
    repeat=st.sampled_from(REPEATS),
    user=st.sampled_from([["B", 3, 2], ["B", 1, 2], [3, 2], [1, 3, 2], [2], ["B", 3, 1]]),
    merged=st.booleans(),
)
def test_any_attention(parts: list[str], repeat: str, user: list[object], merged: bool) -> None:
    shapes = {"user": user[-1]}
    joined = [p for p in parts if p != "user" or (len(user) == 3 and user[:2] == ["B", 3])]
    if not joined:
        return
    width = sum(shapes.get(p, 2) for p in joined)  # type: ignore[misc]
    last = "f = Reshape(c, flat) y = MatMul(f, w)" if merged else "y = MatMul(c, w)"
    outcome = apply(
        RULE,
        f"""score (float[B,1,2] item, {typed("float", user)} user) => ({"float[M,4]" if merged else "float[B,3,4]"} y)
        <float[{width},4] w, int64[3] sizes = {{1, 3, 1}}, int64[2] flat = {{-1, {width}}}, float[2] v> {{
            q = {repeat}
            s = Sub(q, user)
            a = Add(user, q)
            m = Mul(q, user)
            n = Mul(user, m)
            g = Mul(q, v)
            c = Concat<axis = 2>({", ".join(joined)})
            {last}
        }}""".replace("user", "user" if "B" in user else "other"),
    )
    assert outcome.times <= 1
    if set(joined) <= {"q", "user", "s", "a", "m"} and "m" in joined and user == ["B", 3, 2]:
        assert outcome.times == 1


@pytest.mark.parametrize(("number", "fires"), [(40000.0, False), (300.0, True)])
def test_weights_whose_sum_leaves_the_range_of_their_type_stay(number: float, fires: bool) -> None:
    """`[q, k, q - k, q k] W` adds rows of the weight, which in half precision may be infinite then."""
    text = """score (float16[B,1,2] item, float16[B,3,2] user) => (float16[B,3,4] y) <int64[3] sizes = {1, 3, 1}> {
        q = Expand(item, sizes)
        d = Sub(q, user)
        p = Mul(q, user)
        c = Concat<axis = -1>(q, user, d, p)
        y = MatMul(c, w)
    }"""
    outcome = apply(RULE, model_of(text, w=np.full((8, 4), number, np.float16)), exact=False, batches=())
    assert bool(outcome.times) == fires
    assert fires or any("leaves the range" in reason for reason in outcome.reasons)
