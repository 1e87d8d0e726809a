"""If, Loop and Scan over values of the user run once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from mari_onnx import optimize
from mari_onnx.analysis import Side
from tests.analysis.support import analyze, assert_side

SCAN = """g (float[B,5,4] u, float[B,4] i) => (float[B,4] y) {
    seq = Transpose<perm = [1, 0, 2]>(u)
    first = Gather<axis = 0>(seq, zero)
    start = Mul(first, half)
    last, all = Scan<num_scan_inputs = 1, body = b (h, x) => (h2, o) {
        hx = MatMul(h, w) s = Add(hx, x) h2 = Tanh(s) o = Identity(h2)
    }>(start, seq)
    m = ReduceMean<axes = [0], keepdims = 0>(all)
    z = Add(m, last)
    y = Mul(z, i)
}"""
LOOP = """g (float[B,4] u, float[B,4] i) => (float[B,4] y) {
    last = Loop<body = b (int64 k, bool c, float[N,4] h) => (bool c2, float[N,4] h2) {
        c2 = Identity(c) %s h2 = Tanh(s)
    }>(trip, go, u)
    y = Mul(last, i)
}"""
IF = """g (float[B,4] u, bool flag, float[B,4] i) => (float[B,4] y) {
    last = If<then_branch = a () => (p) { p = MatMul(u, w) }, else_branch = b () => (q) { q = %s }>(flag)
    y = Mul(last, i)
}"""
WEIGHTS = {
    "w": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32),
    "zero": np.array(0),
    "half": np.array(0.5, np.float32),
    "trip": np.array(3),
    "go": np.array(True),
    "axis": np.array([0]),
    "rows": np.array([-1, 4]),
    "three": np.array([3, 4]),
    "one": np.array([1]),
    "wide": np.random.default_rng(1).normal(size=(304, 4)).astype(np.float32),
}


def model_of(text: str) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> {text}')
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in WEIGHTS.items() if n in text)
    return model


def test_a_scan_over_the_users_sequence() -> None:
    assert_side(model_of(SCAN), {"last": Side.USER, "all": Side.USER, "y": Side.CROSS})


@pytest.mark.parametrize(
    "body",
    [
        "hx = MatMul(h, w) s = Add(hx, u)",
        "f = Constant<value_float = 0.5>() s = Mul(h, f)",
        "r = Reshape(h, rows) s = Add(r, u)",
        "m = ReduceMax<axes = [0], keepdims = 1>(u) s = Add(h, m)",
    ],
)
def test_a_loop_that_carries_the_users_rows(body: str) -> None:
    assert_side(model_of(LOOP % body), {"last": Side.USER})


@pytest.mark.parametrize(
    "body",
    [
        "hx = ReduceSum<keepdims = 1>(h, axis) s = Add(hx, u)",  # over the candidates
        "n = Shape(h) z = Expand(half, n) s = Add(h, z)",
        "n = Shape(h) f = Cast<to = 1>(n) m = ReduceMax<keepdims = 0>(f) s = Add(h, m)",  # how many there are
        "n = Size(u) f = Cast<to = 1>(n) s = Add(h, f)",
        "t = CumSum(h, zero) s = Add(t, u)",
    ],
)
def test_a_loop_that_is_not_proven(body: str) -> None:
    assert_side(model_of(LOOP % body), {"last": Side.OPAQUE})


@pytest.mark.parametrize("other", ["Relu(u)", "MatMul(u, w)", "Add(u, half)"])
def test_a_branch_that_the_request_takes(other: str) -> None:
    assert_side(model_of(IF % other), {"last": Side.USER})


def test_a_branch_that_is_not_proven() -> None:
    assert_side(model_of(IF % "CumSum(u, zero)"), {"last": Side.OPAQUE})


def test_a_branch_that_reads_the_items() -> None:
    assert_side(model_of(IF % "Add(u, i)"), {"last": Side.CROSS})


@pytest.mark.parametrize(
    "body",
    [
        "hx = MatMul(h, w) s = Add(hx, i)",
        "m = ReduceMax<axes = [1], keepdims = 1>(i) s = Mul(h, m)",
        "a = Softmax<axis = 1>(i) t = Mul(h, a) s = Add(t, u)",
    ],
)
def test_a_loop_that_reads_the_items_goes_on_candidate_by_candidate(body: str) -> None:
    assert_side(model_of(LOOP % body), {"last": Side.CROSS})


@pytest.mark.parametrize(
    "body",
    [
        "m = ReduceSum<keepdims = 1>(i, axis) s = Add(h, m)",
        "t = CumSum(i, zero) s = Add(t, h)",
        "t = Softmax<axis = 0>(i) s = Add(t, h)",
        "t = Transpose(i) v = MatMul(i, t) s = MatMul(v, h)",
        "r = RandomNormalLike(i) s = Add(r, h)",
    ],
)
def test_a_loop_that_mixes_candidates_is_not_proven(body: str) -> None:
    assert_side(model_of(LOOP % body), {"last": Side.OPAQUE}, batches=())


def test_what_meets_the_items_in_one_step_has_them_in_the_next() -> None:
    """The second state is the user's after the first step."""
    text = """g (float[B,4] u, float[B,4] i) => (float[B,4] y) {
        a, b, all = Loop<body = l (int64 k, bool c, float[N,4] h, float[N,4] s) =>
            (bool c2, float[N,4] h2, float[N,4] s2, float[N,4] o) {
            c2 = Identity(c) h2 = Add(h, i) s2 = Identity(h) o = Tanh(s)
        }>(trip, go, u, u)
        m = ReduceMean<axes = [0], keepdims = 0>(all)
        z = Add(b, m)
        y = Add(z, a)
    }"""
    assert_side(model_of(text), {"a": Side.CROSS, "b": Side.CROSS, "all": Side.CROSS, "m": Side.CROSS})


def test_a_scan_over_steps_of_both() -> None:
    text = SCAN.replace(
        "seq = Transpose<perm = [1, 0, 2]>(u)",
        "e = Unsqueeze(i, one) p = Mul(u, e) seq = Transpose<perm = [1, 0, 2]>(p)",
    )
    assert_side(model_of(text), {"last": Side.CROSS, "all": Side.CROSS, "m": Side.CROSS})


def test_columns_of_the_user_beside_what_a_loop_makes_of_the_items_are_apart() -> None:
    text = LOOP.replace("i) =>", "i, float[B,300] v) =>").replace(
        "y = Mul(last, i)", "x = Concat<axis = 1>(last, v) y = MatMul(x, wide)"
    )
    model = model_of(text % "hx = MatMul(h, w) s = Add(hx, i)")
    applied = optimize(model, user_inputs=["u", "v"]).applied
    assert "split-product" in {one.rule for one in applied}


def test_what_is_drawn_in_a_body_is_not_proven() -> None:
    body = "r = RandomNormalLike(h) s = Add(h, r)"
    assert analyze(model_of(LOOP % body)).facts["last"].side is Side.OPAQUE


HEADS = """g (float[B,4] u, bool flag, float[B,2] i) => (float[B,2] y) {
    h1, h2 = Split <axis: int = 1> (u)
    h = Concat <axis: int = 0> (h1, h2)
    n = Shape(h)
    same = Expand(one_float, n)
    last = %s
    beside = Reshape(u, pairs)
    z = Add(last, beside)
    p1, p2 = Split <axis: int = 0> (z)
    y = Add(p1, i)
}"""


@pytest.mark.parametrize(
    "last",
    [
        "If<then_branch = a () => (p) { p = Identity(same) }, else_branch = b () => (q) { q = Exp(h) }>(flag)",
        "If<then_branch = a () => (p) { p = Exp(h) }, else_branch = b () => (q) { q = Identity(same) }>(flag)",
        """Loop<body = b (int64 k, bool c, float[N,2] s) => (bool c2, float[N,2] t) {
            c2 = Identity(c) t = Add(s, h)
        }>(trip, go, same)""",
    ],
)
def test_rows_that_are_alike_at_first_only(last: str) -> None:
    """Behind the body they lie as the heads do, and not as the rows that are added."""
    model = model_of(HEADS % last)
    arrays = {"one_float": np.ones((1, 1), np.float32), "pairs": np.array([-1, 2])}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    assert_side(model, {"same": Side.USER, "last": Side.USER, "z": Side.OPAQUE})
    assert not analyze(model).facts["last"].axis.alike


def test_a_loop_within_a_loop() -> None:
    inner = """s = Loop<body = d (int64 k2, bool e, float[N,4] g) => (bool e2, float[N,4] g2) {
        e2 = Identity(e) gx = MatMul(g, w) g2 = Add(gx, u)
    }>(trip, go, h)"""
    assert_side(model_of(LOOP % inner), {"last": Side.USER})


def test_what_is_carried_keeps_its_layout() -> None:
    body = "t = Transpose<perm = [1, 0]>(h) r = Transpose<perm = [1, 0]>(t) s = Add(r, u)"
    assert_side(model_of(LOOP % body), {"last": Side.USER})
