"""q (G W + c)^T = (q W^T) G^T + q c^T."""

from __future__ import annotations

import numpy as np
import pytest

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of

RULE = "late-keys"
HEADS = "r = Reshape(k, laid) t = Transpose<perm = [0, 2, 3, 1]>(r)"
PLAIN = "t = Transpose<perm = [0, 2, 1]>(k)"
BIAS = "m = MatMul(item, w) k = Add(m, c)"


def scores(
    nodes: str,
    query: str = "B,2,1,3",
    result: str = "B,2,1,5",
    *,
    kind: str = "float",
    rows: str = "B,5,8",
    weight: str = "8,6",
    opset: int = 17,
    **weights: np.ndarray,
) -> Outcome:
    """Scores of a query for each head among five rows of each candidate."""
    text = f"""score ({kind}[{rows}] item, {kind}[{query}] item_q) => ({kind}[{result}] y)
        <int64[4] laid = {{0, 5, 2, 3}}, {kind}[{weight}] w, {kind}[6] c> {{ {nodes} y = MatMul(item_q, t) }}"""
    return apply(RULE, text, opset=opset, **weights)


@pytest.mark.parametrize("kind", ["float", "double"])
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("keys", [BIAS, "m = MatMul(item, w) k = Add(c, m)", "k = MatMul(item, w)"])
def test_the_weight_meets_the_query_of_each_head(keys: str, opset: int, kind: str) -> None:
    outcome = scores(f"{keys} {HEADS}", opset=opset, kind=kind)
    assert outcome.times == 1
    sizes = [outcome.size_of(n.output[0])[1:] for n in outcome.of("MatMul")]
    assert (5, 6) not in sizes, "keys of all rows are still made"
    assert (2, 1, 8) in sizes
    assert outcome.ops["Add"] == ("Add" in keys)


def test_keys_turned_in_two_steps() -> None:
    turned = "r = Reshape(k, laid) h = Transpose<perm = [0, 2, 1, 3]>(r) t = Transpose<perm = [0, 1, 3, 2]>(h)"
    assert scores(f"{BIAS} {turned}").times == 1


def test_without_heads() -> None:
    assert scores(f"{BIAS} {PLAIN}", query="B,2,6", result="B,2,5").times == 1


def test_several_queries_for_each_head() -> None:
    assert scores(f"{BIAS} {HEADS}", query="B,2,2,3", result="B,2,2,5").times == 1


def test_a_bias_that_is_written_for_each_row() -> None:
    row = np.arange(6, dtype=np.float32)
    text = """score (float[B,5,8] item, float[B,2,1,3] item_q) => (float[B,2,1,5] y)
        <int64[4] laid = {0, 5, 2, 3}, float[8,6] w, float[5,6] c>
        { m = MatMul(item, w) k = Add(m, c) r = Reshape(k, laid) t = Transpose<perm = [0, 2, 3, 1]>(r)
          y = MatMul(item_q, t) }"""
    assert apply(RULE, text, c=np.tile(row, (5, 1))).times == 1
    assert apply(RULE, text).times == 0, "each row has numbers of its own"


def test_rows_of_an_open_number() -> None:
    text = """score (float[B,T,8] item, float[B,1,6] item_q) => (float[B,1,T] y) <float[8,6] w, float[6] c>
        { m = MatMul(item, w) k = Add(m, c) t = Transpose<perm = [0, 2, 1]>(k) y = MatMul(item_q, t) }"""
    assert apply(RULE, text).times == 1


@pytest.mark.parametrize(
    ("nodes", "more"),
    [
        (f"{BIAS} {HEADS}", {"query": "B,2,3,3", "result": "B,2,3,5"}),
        (f"{BIAS} r = Reshape(k, laid) t = Transpose<perm = [0, 2, 3, 1]>(r)", {"query": "2,1,3"}),
        (f"m = MatMul(item, w) n = Relu(m) k = Add(n, c) {HEADS}", {}),
        (f"m = MatMul(item, w) k = Mul(m, c) {HEADS}", {}),
        (f"{BIAS} {HEADS}", {"kind": "float16"}),
        (f"k = MatMul(item, w) {PLAIN}", {"query": "B,1,6", "result": "B,1,5", "weight": "1,8,6"}),
    ],
    ids=["many queries", "one query for all", "an activation", "a scale", "half precision", "a weight of rank 3"],
)
def test_not_of_anything_else(nodes: str, more: dict[str, str]) -> None:
    assert scores(nodes, **more).times == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(("query", "times"), [("Log(item_q)", 0), ("Tanh(item_q)", 1)])
def test_not_of_queries_that_may_be_infinite(query: str, times: int) -> None:
    """A score of minus infinity, which a Softmax makes zero, would be no number."""
    text = f"""score (float[B,5,8] item, float[B,1,6] item_q) => (float[B,1,5] y) <float[8,6] w>
        {{ k = MatMul(item, w) t = Transpose<perm = [0, 2, 1]>(k) q = {query} y = MatMul(q, t) }}"""
    assert apply(RULE, text, exact=False).times == times


def test_not_where_rows_are_laid_out_over_heads() -> None:
    """Each head has the columns of other rows: ``[B, T h, d]`` is read as ``[B, h, T, d]``."""
    across = "a = Constant<value_ints = [0, 2, 5, 3]>() r = Reshape(k, a) t = Transpose<perm = [0, 1, 3, 2]>(r)"
    assert scores(f"{BIAS} {across}").times == 0


def test_not_of_keys_that_the_user_has() -> None:
    text = """score (float[B,5,8] user, float[B,1,6] item_q) => (float[B,1,5] y) <float[8,6] w>
        { k = MatMul(user, w) t = Transpose<perm = [0, 2, 1]>(k) y = MatMul(item_q, t) }"""
    assert apply(RULE, text).times == 0


TIME_MAJOR = """score (float[B,5,8] item, float[B,2,1,3] item_q) => (float[B,2,1,5] y)
    <float[8,12] w, float[12] c, float[1] two = {2}, int64 which, int64[5] packed = {5, -1, 1, 2, 6},
     int64[3] beside = {5, -1, 3}, int64[4] laid = {-1, 2, 5, 3}, int64[4] turned = {-1, 2, 3, 5},
     int64[1] axis = {2}> {
    x = Transpose<perm = [1, 0, 2]>(item) m = MatMul(x, w) a = Add(m, c) p = Reshape(a, packed)
    o = Transpose<perm = [3, 0, 1, 2, 4]>(p) g = Gather<axis = 0>(o, which) z = Squeeze(g, axis)
    b = Reshape(z, beside) s = Transpose<perm = [1, 0, 2]>(b) KEYS y = MatMul(item_q, t)
}"""
"""Keys and values of one layer, in heads beside the candidates, as nn.MultiheadAttention is exported."""
IN_FOUR = "h = Reshape(s, laid) n = Transpose<perm = [0, 1, 3, 2]>(h) t = Mul(n, two)"
IN_THREE = "n = Transpose<perm = [0, 2, 1]>(s) f = Mul(two, n) t = Reshape(f, turned)"


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("keys", [IN_FOUR, IN_THREE])
def test_keys_of_heads_beside_the_candidates(keys: str, which: int) -> None:
    text = TIME_MAJOR.replace("KEYS", keys)
    outcome = apply(RULE, text, which=np.array(which))
    assert outcome.times == 1
    assert (5, 12) not in [outcome.size_of(n.output[0])[::2] for n in outcome.of("MatMul")]


@pytest.mark.parametrize("query", ["B,1,6", "2,1,6"])
def test_heads_that_are_merged_with_the_candidates(query: str) -> None:
    """As ``torch.bmm`` reads them, with the query laid out likewise."""
    text = f"""score (float[B,5,8] item, float[{query}] item_q) => (float[C,1,5] y)
        <float[8,6] w, float[6] c, int64[3] beside = {{5, -1, 3}}, int64[3] heads = {{-1, 1, 3}}> {{
        x = Transpose<perm = [1, 0, 2]>(item) m = MatMul(x, w) k = Add(m, c) b = Reshape(k, beside)
        t = Transpose<perm = [1, 2, 0]>(b) q = Reshape(item_q, heads) y = MatMul(q, t)
    }}"""
    if query[0] == "B":
        assert apply(RULE, text).times == 1
    else:
        assert apply(RULE, text.replace("item_q", "shared_q"), batches=(2,)).times == 0


@pytest.mark.parametrize(
    "step",
    ["Reshape(k, across)", "Mul(k, far)", "Gather<axis = 1>(k, which)"],
    ids=["columns of several rows", "a number that is none", "some of the rows"],
)
def test_not_where_entries_are_more_than_moved(step: str) -> None:
    text = f"""score (float[B,6,6] item, float[B,2,1,3] item_q) => (float[B,2,1,6] y)
        <float[6,6] w, int64[4] laid = {{0, 6, 2, 3}}, int64[3] across = {{0, 4, 9}}, int64[6] which, float far> {{
        k = MatMul(item, w) j = {step} r = Reshape(j, laid) t = Transpose<perm = [0, 2, 3, 1]>(r) y = MatMul(item_q, t)
    }}"""
    assert apply(RULE, text, far=np.array(np.inf, np.float32)).times == 0


RETRIEVED = """score (float[B,1000,64] user, int64[B,50] item_i, float[B,64] item_q, float[B,64] item)
    => (float[B,64] y)
    <int64[2] flat = {-1, 64}, int64[4] laid = {0, 50, 4, 16}, int64[4] one = {0, 1, 4, 16}, int64[3] wide = {1, 1, 64},
     float[64,64] w, float[64] c, float[64,64] v, float[64] b, int64[1] last = {2}> {
    e = Unsqueeze(item_i, last) i = Expand(e, wide) g = GatherElements<axis = 1>(user, i)
    m = MatMul(g, w) k = Add(m, c) r = Reshape(k, laid) t = Transpose<perm = [0, 2, 3, 1]>(r)
    q = Reshape(item_q, one) h = Transpose<perm = [0, 2, 1, 3]>(q) s = MatMul(h, t) p = Softmax<axis = 3>(s)
    n = MatMul(g, v) a = Add(n, b) z = Reshape(a, laid) x = Transpose<perm = [0, 2, 1, 3]>(z)
    o = MatMul(p, x) f = Reshape(o, flat) y = Add(f, item)
}"""


@pytest.mark.parametrize("candidates", [1, 8, 512])
def test_pays_where_few_of_many_steps_are_read(candidates: int) -> None:
    """No keys are made of all steps, nor of those that a candidate has chosen."""
    model = model_of(RETRIEVED)
    workspace = at_work(model, sides_of(model))
    rules = [r for r in RULES if r.name != "late-lookup"]
    applied = {a.rule for a in rewrite(workspace, rules, CostModel(candidates=candidates)).applied}
    assert {"late-keys", "late-values"} <= applied
