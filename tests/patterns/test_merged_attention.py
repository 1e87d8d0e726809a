"""softmax([s, t]) [V; W] = (e^s V + e^t W) / (sum e^s + sum e^t)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from tests.patterns import support
from tests.patterns.support import Outcome, apply

RULE = "merged-attention"


def attended(text: str, *, dtype: str = "float", **more: Any) -> Outcome:
    return apply(RULE, text.replace("float[", f"{dtype}["), exact=False, **more)


SELF = """score (float[B,4,3] user, float[B,2,3] item) => (float[B,6,3] y) {
    x = Concat<axis = 1>(user, item)
    t = Transpose<perm = [0, 2, 1]>(x)
    s = MatMul(x, t)
    p = Softmax<axis = -1>(s)
    y = MatMul(p, x)
}"""


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("dtype", ["float", "double"])
def test_tokens_of_user_and_item_that_attend_to_each_other(opset: int, dtype: str) -> None:
    outcome = attended(SELF, dtype=dtype, opset=opset)
    assert outcome.times == 1
    # what the user's queries find among the user's tokens, and nothing else, is there for one candidate
    once = [n for n in outcome.of("MatMul") if outcome.size_of(n.output[0])[0] == 1]
    assert sorted(outcome.size_of(n.output[0])[1:] for n in once) == [(4, 3), (4, 4)]


def test_queries_of_the_user_alone() -> None:
    outcome = attended(
        """score (float[B,2,3] user_q, float[B,4,3] user, float[B,1,3] item) => (float[B,2,3] y) {
            x = Concat<axis = 1>(user, item)
            t = Transpose<perm = [0, 2, 1]>(x)
            s = MatMul(user_q, t)
            p = Softmax<axis = -1>(s)
            y = MatMul(p, x)
        }"""
    )
    assert outcome.times == 1
    assert "ReduceMax" in outcome.ops
    assert outcome.ops["Softmax"] == 0


def test_scattered_tokens_come_back_in_order() -> None:
    outcome = attended(
        """score (float[B,2,3] user1, float[B,1,3] item1, float[B,3,3] user2, float[B,2,3] item2) => (float[B,8,3] y) {
            x = Concat<axis = 1>(user1, item1, user2, item2)
            t = Transpose<perm = [0, 2, 1]>(x)
            s = MatMul(x, t)
            p = Softmax<axis = -1>(s)
            y = MatMul(p, x)
        }"""
    )
    assert outcome.times == 1
    assert outcome.ops["ReduceMax"] == 2


def test_heads_and_projections_and_a_scale_in_between() -> None:
    outcome = attended(
        """score (float[B,4,6] user, float[B,1,6] item) => (float[B,5,6] y)
        <float[6,6] wq, float[6,6] wk, float[6,6] wv> {
            x = Concat<axis = 1>(user, item)
            q2 = MatMul(x, wq) k2 = MatMul(x, wk) v2 = MatMul(x, wv)
            q3 = Reshape(q2, heads) k3 = Reshape(k2, heads) v3 = Reshape(v2, heads)
            q = Transpose<perm = [0, 2, 1, 3]>(q3)
            k = Transpose<perm = [0, 2, 3, 1]>(k3)
            v = Transpose<perm = [0, 2, 1, 3]>(v3)
            s = MatMul(q, k)
            d = Div(s, root)
            p = Softmax<axis = -1>(d)
            o = MatMul(p, v)
            o3 = Transpose<perm = [0, 2, 1, 3]>(o)
            y = Reshape(o3, back)
        }""",
        heads=np.array([0, 5, 2, 3]),
        back=np.array([0, 5, 6]),
        root=np.array(8, np.float32),
    )
    assert outcome.times == 1
    assert {outcome.size_of(n.output[0])[0] for n in outcome.of("Exp")} >= {1}


@pytest.mark.parametrize("hidden", [np.float32(-np.inf), np.float32(-1e9), np.finfo(np.float32).min])
@pytest.mark.parametrize("seen", [(0, 0, 0, 0, 1), (1, 0, 1, 0, 1), (1, 1, 1, 1, 0)])
def test_masks_of_the_user(hidden: np.float32, seen: tuple[int, ...]) -> None:
    outcome = attended(
        """score (float[B,4,3] user, float[B,1,3] item) => (float[B,5,3] y) <float[5] mask> {
            x = Concat<axis = 1>(user, item)
            t = Transpose<perm = [0, 2, 1]>(x)
            s = MatMul(x, t)
            m = Add(s, mask)
            p = Softmax<axis = -1>(m)
            y = MatMul(p, x)
        }""",
        mask=np.where(np.array(seen) == 1, np.float32(0), hidden).astype(np.float32),
    )
    assert outcome.times == 1


def test_in_half_precision() -> None:
    assert attended(SELF, dtype="float16", opset=18).times == 1


def test_sums_over_a_long_history_stay_in_the_range_of_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime computes half precision with more digits on a CPU; elsewhere each value is rounded."""
    monkeypatch.setattr(support, "judge", lambda *_, **__: None)
    text = SELF.replace("B,4,3", "B,1000,3").replace("B,6,3", "B,1002,3").replace("Softmax<axis = -1>(s)", "Softmax(z)")
    text = text.replace("p =", "z = Mul(s, small) p =")
    outcome = attended(text, dtype="float16", opset=18, small=np.array(1e-4, np.float16))
    assert outcome.times == 1
    random = np.random.default_rng(0)
    user, item = (random.uniform(100, 120, (1, rows, 3)) * [1, -1, 0.001] for rows in (1000, 2))
    feeds = {"user": user.astype(np.float16), "item": item.astype(np.float16)}
    (expected,), (found,) = (ReferenceEvaluator(m).run(None, feeds) for m in (outcome.original, outcome.result))
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("hidden", [-np.inf, -65504])
def test_a_history_that_is_masked_throughout_in_half_precision(hidden: float) -> None:
    mask = np.array([hidden] * 4 + [0, 0], np.float16)
    text = SELF.replace("p = Softmax<axis = -1>(s)", "h = Add(s, m) p = Softmax<axis = -1>(h)")
    assert attended(text, dtype="float16", opset=18, m=mask).times == 1


def test_large_scores_do_not_overflow() -> None:
    outcome = attended(
        """score (float[B,4,3] user, float[B,2,3] item) => (float[B,6,3] y) {
            x = Concat<axis = 1>(user, item)
            t = Transpose<perm = [0, 2, 1]>(x)
            s = MatMul(x, t)
            wide = Mul(s, large)
            p = Softmax<axis = -1>(wide)
            y = MatMul(p, x)
        }""",
        large=np.array(1e4, np.float32),
    )
    assert outcome.times == 1


def test_not_where_queries_are_the_items() -> None:
    outcome = attended(
        """score (float[B,2,3] item_q, float[B,4,3] user, float[B,1,3] item) => (float[B,2,3] y) {
            x = Concat<axis = 1>(user, item)
            t = Transpose<perm = [0, 2, 1]>(x)
            s = MatMul(item_q, t)
            p = Softmax<axis = -1>(s)
            y = MatMul(p, x)
        }"""
    )
    assert outcome.times == 0
    assert outcome.reasons == {"what should be computed once differs from candidate to candidate"}


@pytest.mark.parametrize(
    "softmax",
    [
        "p = Softmax<axis = 1>(s)",  # over the queries
        "p = Sigmoid(s)",
    ],
)
def test_not_without_a_softmax_over_the_tokens(softmax: str) -> None:
    assert attended(SELF.replace("p = Softmax<axis = -1>(s)", softmax)).times == 0


def test_not_where_nothing_is_the_items() -> None:
    outcome = attended(
        """score (float[B,4,3] user, float[B,2,3] user2, float[B,1,3] item) => (float[B,6,3] y) {
            x = Concat<axis = 1>(user, user2)
            t = Transpose<perm = [0, 2, 1]>(x)
            s = MatMul(x, t)
            p = Softmax<axis = -1>(s)
            z = MatMul(p, x)
            y = Add(z, item)
        }"""
    )
    assert outcome.times == 0


MASKED = """score (float[B,4,3] user, float[B,2,3] item) => (float[B,6,3] y) <float[6,6] mask> {
    x = Concat<axis = 1>(user, item)
    t = Transpose<perm = [0, 2, 1]>(x)
    s = MatMul(x, t)
    m = Add(s, mask)
    p = Softmax<axis = -1>(m)
    v = Relu(x)
    y = MatMul(p, v)
}"""


def mask_of(hidden: np.ndarray, number: float = -np.inf) -> np.ndarray:
    return np.where(hidden, np.float32(number), np.float32(0))


ITEMS_HIDDEN = np.pad(np.ones((4, 2), bool), ((0, 2), (4, 0)))
"""From the user's queries; the items see all."""


@pytest.mark.parametrize("number", [-np.inf, -1e9, np.finfo(np.float32).min])
@pytest.mark.parametrize("causal", [True, False])
def test_nothing_is_merged_where_a_mask_cuts_the_users_queries_off(number: float, causal: bool) -> None:
    hidden = np.triu(np.ones((6, 6), bool), 1) if causal else ITEMS_HIDDEN
    outcome = attended(MASKED, mask=mask_of(hidden, number))
    assert outcome.times == 1
    assert outcome.ops["ReduceMax"] == 0
    once = [n for n in outcome.of("MatMul") if outcome.size_of(n.output[0])[0] == 1]
    assert sorted(outcome.size_of(n.output[0])[1:] for n in once) == [(4, 3), (4, 4)]


@pytest.mark.parametrize("row", range(4))
def test_merged_where_one_of_the_users_queries_sees_an_item(row: int) -> None:
    hidden = ITEMS_HIDDEN.copy()
    hidden[row, 5] = False
    outcome = attended(MASKED, mask=mask_of(hidden))
    assert outcome.times == 1
    assert outcome.ops["ReduceMax"] == 2


def test_scattered_tokens_that_a_mask_cuts_off() -> None:
    sides = np.array([True, False, True, True, True, False])
    text = MASKED.replace("(user, item)", "(user1, item1, user2, item2)").replace(
        "float[B,4,3] user, float[B,2,3] item",
        "float[B,1,3] user1, float[B,1,3] item1, float[B,3,3] user2, float[B,1,3] item2",
    )
    outcome = attended(text, mask=mask_of(sides[:, None] & ~sides))
    assert outcome.times == 1
    assert outcome.ops["ReduceMax"] == 0
