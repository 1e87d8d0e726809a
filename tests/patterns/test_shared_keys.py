"""attention(q_b, K, V) for all b = attention([q_1; q_2; ..], K, V)."""

from __future__ import annotations

import numpy as np
import pytest

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of

RULE = "shared-keys"
MULTI_HEAD = "com.microsoft.MultiHeadAttention"
HEADS = {MULTI_HEAD: "num_heads = 2", "Attention": "q_num_heads = 2, kv_num_heads = 2"}


def attended(op: str, inputs: str, more: str = "", extra: str = "", queries: int = 2, **weights: np.ndarray) -> Outcome:
    """Queries of the item, keys and values of the user."""
    attrs = ", ".join(a for a in (HEADS[op], more) if a)
    text = f"""score (float[B,{queries},4] item, float[B,5,4] user_k, float[B,5,6] user_v{extra})
    => (float[B,{queries},6] y) {{
        y = {op}<{attrs}>({inputs})
    }}"""
    model = model_of(text, opset=24, **weights)
    return apply(RULE, model, exact=False)


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", HEADS)
@pytest.mark.parametrize("queries", [1, 2])
def test_one_sample(op: str, queries: int) -> None:
    outcome = attended(op, "item, user_k, user_v", queries=queries)
    assert outcome.times == 1
    (node,) = outcome.of(op.split(".")[-1])
    assert list(node.input[1:3]) == ["user_k", "user_v"]
    assert not outcome.of("Expand")


@pytest.mark.parametrize("op", HEADS)
@pytest.mark.parametrize("heads", [1, 2])
def test_what_is_added_to_the_scores(op: str, heads: int) -> None:
    extra, before = f", float[B,{heads},2,5] user_bias", ", , " if op == MULTI_HEAD else ""
    assert attended(op, f"item, user_k, user_v, {before}user_bias", extra=extra).times == 1


@pytest.mark.parametrize("shape", [(2, 5), (2, 2, 5), (1, 1, 2, 5)])
def test_a_mask_that_is_a_weight(shape: tuple[int, ...]) -> None:
    mask = np.ones(shape, np.bool_)
    mask[..., 0, 3:] = False
    assert attended("Attention", "item, user_k, user_v, m", m=mask).times == 1


def test_padding() -> None:
    extra = ", int32[B,5] user_mask"
    outcome = attended(MULTI_HEAD, "item, user_k, user_v, b, user_mask", extra=extra, b=np.arange(14, dtype=np.float32))
    assert outcome.times == 1


def test_padding_as_a_mask_of_scores() -> None:
    outcome = attended("Attention", "item, user_k, user_v, user_mask", extra=", bool[B,1,2,5] user_mask")
    assert outcome.times == 1


def test_other_scale_and_a_cap() -> None:
    assert attended("Attention", "item, user_k, user_v", "scale = 0.7, softcap = 1.5").times == 1


@pytest.mark.parametrize("count", [2, 4])
def test_heads_that_lie_apart(count: int) -> None:
    """Also where several heads of the queries share one of the keys."""
    outcome = apply(
        RULE,
        f"""score (float[B,{count},3,4] item, float[B,2,5,4] user_k, float[B,2,5,6] user_v)
        => (float[B,{count},3,6] y) {{
            y = Attention(item, user_k, user_v)
        }}""",
        opset=23,
        exact=False,
    )
    assert outcome.times == 1


def test_what_comes_behind_knows_its_candidates() -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,1,4] item, float[B,5,4] user) => (float[B,4] y) {{
            a = {MULTI_HEAD}<num_heads = 2>(item, user, user)
            f = Flatten(a)
            y = Softmax(f)
        }}""",
        exact=False,
    )
    assert outcome.times == 1
    fact = outcome.workspace.fact(outcome.result.graph.node[-1].input[0])
    assert not fact.opaque
    assert fact.axis is not None
    assert fact.axis.index == 0


@pytest.mark.parametrize("op", HEADS)
def test_it_pays(op: str) -> None:
    model = model_of(
        f"""score (float[B,1,32] item, float[B,50,32] user) => (float[B,1,32] y) {{
            k = Tanh(user)
            y = {op}<{HEADS[op]}>(item, k, user)
        }}""",
        opset=24,
    )
    applied = rewrite(at_work(model, sides_of(model)), RULES, CostModel()).applied
    assert RULE in {a.rule for a in applied}


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "inputs", "more", "extra"),
    [
        (MULTI_HEAD, "item, user_k, item_v", "", ", float[B,5,6] item_v"),
        (MULTI_HEAD, "item, user_k, user_v, , item_mask", "", ", int32[B,5] item_mask"),
        (MULTI_HEAD, "item, user_k, user_v, , user_mask", "", ", int32[B,2,5] user_mask"),
        (MULTI_HEAD, "item, user_k, user_v, , , item_bias", "", ", float[B,1,2,5] item_bias"),
        ("Attention", "item, user_k, user_v", "is_causal = 1", ""),
    ],
)
def test_not_where_queries_do_not_find_the_same(op: str, inputs: str, more: str, extra: str) -> None:
    assert attended(op, inputs, more, extra).times == 0


def test_not_where_all_is_the_users() -> None:
    text = f"""score (float[B,2,4] user, float[B,1,4] item) => (float[B,2,4] y) {{
        a = {MULTI_HEAD}<num_heads = 2>(user, user, user)
        y = Mul(a, item)
    }}"""
    assert apply(RULE, text, exact=False).times == 0


def test_not_where_queries_keys_and_values_are_one() -> None:
    """Packed: [B, tokens, heads, 3, width of a head]."""
    text = f"""score (float[B,3,2,3,4] item, float[B,1,1] user) => (float[B,3,8] y) {{
        a = {MULTI_HEAD}<num_heads = 2>(item)
        y = Add(a, user)
    }}"""
    outcome = apply(RULE, text, exact=False, batches=())  # not for CPUs
    assert outcome.times == 0
    assert not outcome.reasons


def test_not_where_more_is_asked_for() -> None:
    text = """score (float[B,2,2,4] item, float[B,2,5,4] user) => (float[B,2,2,4] y, float[B,2,5,4] k) {
        y, k, v = Attention(item, user, user)
    }"""
    outcome = apply(RULE, text, opset=24, exact=False)
    assert outcome.times == 0
    assert any("more than what was found" in reason for reason in outcome.reasons)
