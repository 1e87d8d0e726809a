"""attention(q, k, v) = softmax(q k^T / sqrt(d) + mask) v."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import (
    Outcome,
    apply,
    at_work,
    judge,
    model_of,
    requests,
    session,
    sides_of,
    write_model,
)

RULE = "attention-steps"
MULTI_HEAD = "com.microsoft.MultiHeadAttention"
PROJECTED = "com.microsoft.Attention"
HEADS = {MULTI_HEAD: "num_heads = 2", "Attention": "q_num_heads = 2, kv_num_heads = 2", PROJECTED: "num_heads = 2"}
NEGATIVE = np.array([[0, -np.inf, 1, -np.inf, 2]] * 2, np.float32)


def attended(
    op: str, inputs: str, more: str = "", extra: str = "", opset: int = 24, queries: int = 2, **weights: Any
) -> Outcome:
    """Queries of the item, keys and values of the user."""
    attrs = ", ".join(a for a in (HEADS[op], more) if a)
    text = f"""score (float[B,{queries},4] item, float[B,5,4] user_k, float[B,5,6] user_v{extra})
    => (float[B,{queries},6] y) {{
        y = {op}<{attrs}>({inputs})
    }}"""
    return apply(RULE, model_of(text, opset=opset, **weights), exact=False)


def among_tokens(more: str = "", mask: str = "", extra: str = "", width: int = 6, **weights: Any) -> Outcome:
    """Tokens of user and item among each other."""
    text = f"""score (float[B,3,4] user, float[B,2,4] item{extra}) => (float[B,5,{width}] y) {{
        x = Concat<axis = 1>(user, item)
        y = {PROJECTED}<{", ".join(a for a in (HEADS[PROJECTED], more) if a)}>(x, w, b{mask})
    }}"""
    wide = weights.pop("wide", 18)
    random = np.random.default_rng(0)
    given = {"w": random.normal(size=(4, wide)), "b": random.normal(size=wide)}
    weights |= {name: array.astype(np.float32) for name, array in given.items()}
    return apply(RULE, model_of(text, opset=17, **weights), exact=False)


def written_out(outcome: Outcome) -> bool:
    return outcome.times == 1 and not any(n.domain or n.op_type == "Attention" for n in outcome.result.graph.node)


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [MULTI_HEAD, "Attention"])
@pytest.mark.parametrize("more", ["", "scale = 0.3"])
def test_plain(op: str, more: str) -> None:
    assert written_out(attended(op, "item, user_k, user_v", more))


@pytest.mark.parametrize("bias", ["", "b"])
@pytest.mark.parametrize("mask", ["int32[B,5] user_mask", "int32[B,5] item_mask", "int32[B,2,5] item_mask"])
@pytest.mark.parametrize("more", ["", "mask_filter_value = -3.0"])
def test_masked_keys(bias: str, mask: str, more: str) -> None:
    weights = {"b": np.arange(14, dtype=np.float32) / 8} if bias else {}
    inputs = f"item, user_k, user_v, {bias}, {mask.split()[1]}"
    assert written_out(attended(MULTI_HEAD, inputs, more, f", {mask}", **weights))


@pytest.mark.parametrize("opset", [11, 17, 24])
@pytest.mark.parametrize("shape", ["B,1,2,5", "B,2,2,5"])
def test_added_to_the_scores(opset: int, shape: str) -> None:
    extra = f", float[{shape}] item_scores"
    assert written_out(attended(MULTI_HEAD, "item, user_k, user_v, , , item_scores", extra=extra, opset=opset))


@pytest.mark.parametrize("mask", [NEGATIVE, NEGATIVE[None, None], NEGATIVE > 0, NEGATIVE[None] > 0])
def test_a_mask_that_leaves_a_key_to_each_query(mask: np.ndarray) -> None:
    assert written_out(attended("Attention", "item, user_k, user_v, m", m=mask))


@pytest.mark.parametrize(("op", "attr"), [(MULTI_HEAD, "unidirectional = 1"), ("Attention", "is_causal = 1")])
def test_causal(op: str, attr: str) -> None:
    assert written_out(attended(op, "item, user_k, user_v", attr, queries=5))


def test_causal_and_masked() -> None:
    inputs, extra = "item, user_k, user_v, , user_mask", ", int32[B,5] user_mask"
    assert written_out(attended(MULTI_HEAD, inputs, "unidirectional = 1", extra, queries=5))
    mask = np.tile(NEGATIVE[:1], (5, 1))
    assert written_out(attended("Attention", "item, user_k, user_v, m", "is_causal = 1", queries=5, m=mask))


@pytest.mark.parametrize("more", ["", "unidirectional = 1", "scale = 0.2"])
@pytest.mark.parametrize(
    ("mask", "extra"),
    [
        ("", ""),
        (", user_mask", ", int32[B,5] user_mask"),
        (", item_mask", ", int32[B,5,5] item_mask"),
        (", , , user_scores", ", float[B,2,5,5] user_scores"),
    ],
)
def test_projected(more: str, mask: str, extra: str) -> None:
    """What is added to causal scores may rule out all that a query sees, which the operator answers in its own way."""
    unknown = "unidirectional" in more and "scores" in mask
    assert written_out(among_tokens(more, mask, extra)) != unknown


def test_projected_to_other_widths() -> None:
    assert written_out(among_tokens("qkv_hidden_sizes = [8, 8, 4]", width=4, wide=20))


def test_heads_that_lie_apart() -> None:
    outcome = apply(
        RULE,
        "score (float[B,2,3,4] item, float[B,2,5,4] user) => (float[B,2,3,4] y) { y = Attention(item, user, user) }",
        opset=23,
        exact=False,
    )
    assert written_out(outcome)


@pytest.mark.parametrize("keys", [1, 2, 4])
@pytest.mark.parametrize("more", ["", ", is_causal = 1"])
def test_heads_that_share_keys(keys: int, more: str) -> None:
    """Grouped queries: the first heads read the first keys."""
    text = f"""score (float[B,5,8] item, float[B,5,{2 * keys}] user_k, float[B,5,{3 * keys}] user_v)
    => (float[B,5,12] y) {{
        y = Attention<q_num_heads = 4, kv_num_heads = {keys}{more}>(item, user_k, user_v)
    }}"""
    assert written_out(apply(RULE, model_of(text, opset=23), exact=False))


@pytest.mark.parametrize("mask", ["float[B,4,3,5] user_m", "bool[B,1,3,5] user_m", "bool[B,4,3,5] item_m"])
def test_heads_that_lie_apart_and_share_keys(mask: str) -> None:
    text = f"""score (float[B,4,3,2] item, float[B,2,5,2] user_k, float[B,2,5,3] user_v, {mask})
    => (float[B,4,3,3] y) {{
        y = Attention(item, user_k, user_v, {mask.split()[1]})
    }}"""
    assert written_out(apply(RULE, model_of(text, opset=23), exact=False))


def large(tokens: int) -> str:
    return f"""score (float[B,{tokens},32] user, float[B,1,32] item) => (float[B,1,32] y)
    <float[96] b, int64[1] last = {{-1}}, int64[1] end = {{1000}}, int64[1] one = {{1}}> {{
        x = Concat<axis = 1>(user, item)
        a = {PROJECTED}<num_heads = 4>(x, w, b)
        y = Slice(a, last, end, one)
    }}"""


def test_the_users_tokens_are_projected_once() -> None:
    """All the rules at work: of the user's tokens, only what the item's finds in them is left for each candidate."""
    weight = np.random.default_rng(0).normal(size=(32, 96)) / 32
    model = model_of(large(40), w=weight.astype(np.float32))
    inputs = sides_of(model)
    workspace = at_work(model, inputs)
    applied = {a.rule for a in rewrite(workspace, RULES, CostModel()).applied}
    assert RULE in applied
    result = write_model(workspace.graph)
    judge(model, result, inputs, exact=False)
    wide = [
        n for n in workspace.graph.nodes if n.op == "MatMul" and (workspace.fact(n.output).shape or ())[-2:] == (40, 32)
    ]
    assert not [n for n in wide if workspace.fact(n.output).varies]


@pytest.mark.parametrize("mask", ["B,1,2,5", "B,2,2,5", "1,2,2,5", "2,5"])
@pytest.mark.parametrize("opset", [23, 24])
def test_truths_that_may_leave_a_query_no_key(mask: str, opset: int) -> None:
    name = "user_m" if mask.startswith("B") else "m"
    outcome = attended("Attention", f"item, user_k, user_v, {name}", "", f", bool[{mask}] {name}", opset)
    assert written_out(outcome)
    judge(outcome.original, outcome.result, sides_of(outcome.original), exact=False, seeds=range(20))
    for truth in (False, True):
        assert_alike(outcome, np.full([2 if size == "B" else int(size) for size in mask.split(",")], truth), name)


def test_constant_truths_that_leave_a_query_no_key() -> None:
    mask = np.ones((2, 5), np.bool_)
    mask[1] = False
    assert written_out(attended("Attention", "item, user_k, user_v, m", m=mask))


LOWEST = float(np.finfo(np.float32).min)
ABOVE = float(np.nextafter(np.float32(LOWEST), np.float32(0)))


@pytest.mark.parametrize("opset", [23, 24])
@pytest.mark.parametrize("size", ["B,1,2,5", "B,2,2,5", "1,2,2,5", "2,5"])
def test_numbers_that_may_leave_a_query_no_key(size: str, opset: int) -> None:
    """Keys that get the lowest number there is are not seen; those that get a little more are, where no other is."""
    name = "user_m" if size.startswith("B") else "m"
    outcome = attended("Attention", f"item, user_k, user_v, {name}", "", f", float[{size}] {name}", opset)
    assert written_out(outcome)
    sizes = [2 if each == "B" else int(each) for each in size.split(",")]
    for row in (
        [0, -1, 2, 0, 1],
        [LOWEST] * 5,
        [-np.inf] * 5,
        [LOWEST, -np.inf, LOWEST, LOWEST, LOWEST],
        [ABOVE] * 5,
        [ABOVE, LOWEST, ABOVE, -np.inf, LOWEST],
        [-1e38, LOWEST, -np.inf, 0, LOWEST],
    ):
        mask = np.zeros(sizes, np.float32)
        mask[..., 0, :] = row
        assert_alike(outcome, mask, name)


@pytest.mark.parametrize("row", [[LOWEST] * 5, [-np.inf, LOWEST, LOWEST, LOWEST, LOWEST], [ABOVE] * 5])
def test_constant_numbers_that_leave_a_query_no_key(row: list[float]) -> None:
    mask = np.zeros((2, 5), np.float32)
    mask[1] = row
    assert written_out(attended("Attention", "item, user_k, user_v, m", m=mask))


def test_numbers_in_half_precision() -> None:
    text = f"""score (float16[B,2,4] item, float16[B,5,4] user_k, float16[B,5,6] user_v, float16[B,1,2,5] user_m)
    => (float16[B,2,6] y) {{
        y = Attention<{HEADS["Attention"]}>(item, user_k, user_v, user_m)
    }}"""
    outcome = apply(RULE, model_of(text, opset=24), exact=False, batches=())  # in other steps, rounded otherwise
    assert written_out(outcome)
    for number in (-65504.0, -np.inf):
        mask = np.zeros((2, 1, 2, 5), np.float16)
        mask[..., 1, :] = number
        assert_alike(outcome, mask, tolerance=1e-2)


def test_numbers_of_places_seen() -> None:
    """In front of a triangle, too."""
    outcome = attended(
        "Attention", "item, user_k, user_v, user_m", "is_causal = 1", ", float[B,1,5,5] user_m", queries=5
    )
    assert written_out(outcome)
    for number in (LOWEST, -np.inf, ABOVE):
        assert_alike(outcome, np.tile(np.float32([number, number, 0, number, 0]), (2, 1, 5, 1)))


def test_truths_of_places_seen() -> None:
    """A padding mask in front of a triangle leaves nothing to rows of padding."""
    outcome = attended(
        "Attention", "item, user_k, user_v, user_m", "is_causal = 1", ", bool[B,1,5,5] user_m", queries=5
    )
    assert written_out(outcome)
    assert_alike(outcome, np.tile([False, False, True, False, True], (2, 1, 5, 1)))


def assert_alike(outcome: Outcome, seen: np.ndarray, name: str = "user_m", tolerance: float = 1e-6) -> None:
    """Both models answer the same to a mask, of equal rows where it is the user's, and zeros to one of no truths."""
    full, single = requests(outcome.original, sides_of(outcome.original), 2)
    full[name], single[name] = seen, seen[: len(single[name])]
    expected, found = (
        session(model).run(None, feeds) for model, feeds in ((outcome.original, full), (outcome.result, single))
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=10 * tolerance, atol=tolerance)
    assert seen.any() or not found[0].any()


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "inputs", "more", "extra", "reason"),
    [
        ("Attention", "item, user_k, user_v, user_m", "", ", float[2,2,5] user_m", "answers with zeros"),
        ("Attention", "item, user_k, user_v, user_m", "", ", bool[2,2,5] user_m", "answers with zeros"),
        ("Attention", "item, user_k, user_v", "softcap = 1.0", "", "bounded"),
        ("Attention", "item, user_k, user_v", "is_causal = 1", "", "places of queries and keys"),
        (MULTI_HEAD, "item, user_k, user_v, , user_m", "", ", int32[B] user_m", "lengths"),
    ],
)
def test_not_what_is_not_written_out(op: str, inputs: str, more: str, extra: str, reason: str) -> None:
    outcome = attended(op, inputs, more, extra)
    assert outcome.times == 0
    assert any(reason in told for told in outcome.reasons)


@pytest.mark.parametrize(("number", "fires"), [("-1.0e30", True), ("-3.4028235e38", False)])
def test_not_where_a_masked_key_is_no_more_than_one_that_lies_ahead(number: str, fires: bool) -> None:
    """The operator adds the lowest number there is to keys ahead: it answers the first query with a mean of all."""
    inputs, extra = "item, user_k, user_v, , user_mask", ", int32[B,5] user_mask"
    outcome = attended(MULTI_HEAD, inputs, f"unidirectional = 1, mask_filter_value = {number}", extra, queries=5)
    assert written_out(outcome) == fires
    assert written_out(attended(MULTI_HEAD, inputs, f"mask_filter_value = {number}", extra))
    more = f"unidirectional = 1, mask_filter_value = {number}"
    assert written_out(among_tokens(more, ", user_mask", ", int32[B,5] user_mask")) == fires


@pytest.mark.parametrize(("kind", "fires"), [("float", True), ("double", False)])
def test_not_where_a_query_without_a_key_is_answered_with_no_number(kind: str, fires: bool) -> None:
    """ONNX Runtime has a kernel for floats, which answers with zeros; for doubles it takes those of the standard."""
    text = f"""score ({kind}[B,2,4] item, {kind}[B,5,4] user_k, {kind}[B,5,6] user_v) => ({kind}[B,2,6] y) {{
        y = Attention<{HEADS["Attention"]}>(item, user_k, user_v, m)
    }}"""
    outcome = apply(RULE, model_of(text, opset=24, m=np.array([[True] * 5, [False] * 5])), exact=False)
    assert outcome.times == int(fires)


def test_not_where_queries_keys_and_values_are_one() -> None:
    """Packed: [B, tokens, heads, 3, width of a head]."""
    text = f"""score (float[B,3,2,3,4] item, float[B,1,1] user) => (float[B,3,8] y) {{
        a = {MULTI_HEAD}<num_heads = 2>(item)
        y = Add(a, user)
    }}"""
    outcome = apply(RULE, text, exact=False, batches=())  # not for CPUs
    assert outcome.times == 0
    assert not any("internal error" in reason for reason in outcome.reasons)


def test_not_where_nothing_is_the_users() -> None:
    text = f"score (float[B,2,4] item) => (float[B,2,4] y) {{ y = {MULTI_HEAD}<num_heads = 2>(item, item, item) }}"
    assert apply(RULE, text, exact=False).times == 0


def test_the_operator_stays_where_its_steps_gain_nothing() -> None:
    text = """score (float[B,1,32] user, float[B,20,32] item) => (float[B,21,32] y) <float[32,96] w, float[96] b> {
        x = Concat<axis = 1>(user, item)
        y = com.microsoft.Attention<num_heads = 4>(x, w, b)
    }"""
    model = model_of(text)
    workspace = at_work(model, sides_of(model))
    rewrite(workspace, RULES, CostModel())
    assert [n.kind for n in workspace.graph.nodes if n.op == "Attention"] == [PROJECTED]
