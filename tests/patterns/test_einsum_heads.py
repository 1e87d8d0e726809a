"""sum_k q[b, h, i, k] k[b, j, k] = q_bh k_b^T."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.pipeline import optimize
from tests.patterns import support
from tests.patterns.support import Outcome, apply, session

RULE = "einsum-heads"
SIZES = {"b": "B", "h": "2", "i": "3", "j": "4", "k": "5", "t": "T"}


def shape(letters: str) -> str:
    return ",".join(SIZES[letter] for letter in letters)


def einsum(left: str, right: str, result: str, *, kind: str = "float", opset: int = 17) -> Outcome:
    return apply(
        RULE,
        f"""score ({kind}[{shape(left)}] user, {kind}[{shape(right)}] item) => ({kind}[{shape(result)}] y) {{
            y = Einsum<equation = "{left},{right}->{result}">(user, item)
        }}""",
        exact=False,
        opset=opset,
    )


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "result", "transposed"),
    [
        ("bhik", "bjk", "bhij", 1),  # scores with one set of keys
        ("bhij", "bjk", "bhik", 0),  # and what is attended to
        ("bjk", "bhik", "bhij", 1),
        ("bik", "bhjk", "bhij", 1),  # one query for several sets of keys
        ("bihk", "bjk", "bhij", 2),
        ("bhtk", "bjk", "bhtj", 1),
        ("bhit", "btk", "bhik", 0),
    ],
)
@pytest.mark.parametrize("opset", [12, 17])
def test_heads(left: str, right: str, result: str, transposed: int, opset: int) -> None:
    outcome = einsum(left, right, result, opset=opset)
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == outcome.ops["Unsqueeze"] == 1
    assert outcome.ops.get("Transpose", 0) == transposed
    assert "Einsum" not in outcome.ops


@given(st.data())
def test_any_order_of_letters(data: st.DataObject) -> None:
    left, right, result = (
        data.draw(st.sampled_from(["".join(p) for p in itertools.permutations(term)]))
        for term in ("bhik", "bjk", "bhij")
    )
    assert einsum(left, right, result).times == 1


TOKENS = """score (float[B,9,8] user, float[B,1,8] item) => (float[B,8] y)
    <float[8,32] q, float[8,8] k, float[8,8] v, float[32,8] o, bool[10,10] causal, float low, int64[4] heads,
     int64[3] rows> {
        x = Concat<axis = 1>(user, item)
        ql = MatMul(x, q) qh = Reshape(ql, heads) qt = Transpose<perm = [0, 2, 1, 3]>(qh)
        keys = MatMul(x, k) values = MatMul(x, v)
        s = Einsum<equation = "bhid,bjd->bhij">(qt, keys) m = Where(causal, s, low) p = Softmax(m)
        z = Einsum<equation = "bhij,bjd->bhid">(p, values)
        zt = Transpose<perm = [0, 2, 1, 3]>(z) zr = Reshape(zt, rows) zo = MatMul(zr, o) t = Add(x, zo)
        y = ReduceMean<axes = [1], keepdims = 0>(t)
    }"""


def attention() -> onnx.ModelProto:
    random, causal = np.random.default_rng(0), np.tril(np.ones((10, 10), np.bool_))
    layers = {"q": (8, 32), "k": (8, 8), "v": (8, 8), "o": (32, 8)}
    weights = {name: random.normal(size=size).astype(np.float32) for name, size in layers.items()}
    integers = {"heads": np.array([0, 10, 4, 8]), "rows": np.array([0, 10, 32])}
    low = np.array(-np.inf, np.float32)
    return apply(RULE, TOKENS, **weights, **integers, causal=causal, low=low, exact=False).original


def test_heads_of_the_user_that_share_keys_run_once() -> None:
    model = attention()
    user = ["user"]
    result = optimize(model, user_inputs=user, verify=False, candidates=512)
    without = optimize(model, user_inputs=user, verify=False, candidates=512, disable=[RULE])
    assert result.report.after.flops < 0.7 * without.report.after.flops
    random = np.random.default_rng(1)
    one, items = (random.normal(size=s).astype(np.float32) for s in ((1, 9, 8), (7, 1, 8)))
    expected = session(model).run(None, {"user": one.repeat(7, 0), "item": items})[0]
    found = session(result.model).run(None, {"user": one, "item": items})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ("bhik", "bhjk", "bhij"),  # that is a plain product
        ("bhk", "bjk", "bjh"),
        ("bhik", "jk", "bhij"),  # nothing that both have is kept
        ("bhik", "bjk", "bij"),
        ("bhikt", "bjkt", "bhij"),
        ("bhi", "bj", "bhij"),
    ],
)
def test_other_equations(left: str, right: str, result: str) -> None:
    assert einsum(left, right, result).times == 0


def test_not_where_there_may_be_no_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product repeats nothing no times: ONNX Runtime stops."""
    monkeypatch.setattr(support, "OTHER_SIZE", 0)
    assert einsum("bthk", "bjk", "bthj").times == 0
    assert einsum("bhtk", "bjk", "bhtj").times == 1


def test_not_of_whole_numbers() -> None:
    assert einsum("bhik", "bjk", "bhij", kind="int64").times == 0


def test_a_size_of_one_that_is_repeated() -> None:
    text = """score (float[B,2,3,1] user, float[B,4,5] item) => (float[B,2,3,4] y) {
        y = Einsum<equation = "bhik,bjk->bhij">(user, item)
    }"""
    assert apply(RULE, text).times == 0


def test_what_gains_nothing_stays() -> None:
    """A product for each head is more than one for all: results are compared, and the original keeps its Einsum."""
    text = """score (float[B,5] user, float[B,8,30,5] item, float[B,30,5] item_k) => (float[B,8,30,30] y)
        <float[5,1] w, int64[4] shape> {
        s = Einsum<equation = "bhik,bjk->bhij">(item, item_k)
        m = MatMul(user, w) n = Reshape(m, shape) y = Add(s, n)
    }"""
    model = apply(RULE, text, w=np.ones((5, 1), np.float32), shape=np.array([0, 1, 1, 1]), exact=False).original
    result = optimize(model, user_inputs=["user"], verify=False, candidates=512)
    assert "Einsum" in {node.op_type for node in result.model.graph.node}
    assert RULE not in {a.rule for a in result.applied}
