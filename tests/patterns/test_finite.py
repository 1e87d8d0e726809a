"""What is never 0 or infinite, and may be moved through a sum."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mari_onnx.patterns import _finite
from mari_onnx.patterns._finite import infinite_by_masks_alone, never_infinite, never_zero
from mari_onnx.rewrite.workspace import Workspace
from tests.patterns.support import at_work, model_of, sides_of

NEVER_ZERO = {
    "a constant": "y = Neg(half)",
    "a count and a fraction": "f = Cast<to = 1>(item_n) y = Add(f, half)",
    "less a fraction": "y = Sub(item, half)",
    "a fraction less a number": "y = Sub(half, item)",
    "a product of such": "a = Abs(item) b = Add(a, half) c = Sub(item, half) y = Mul(b, c)",
    "at least one": "m = Max(item_n, one) y = Cast<to = 1>(m)",
    "the negative, laid out": "a = Abs(item) b = Add(a, half) c = Neg(b) d = Unsqueeze(c, axis) y = Squeeze(d, axis)",
    "squares added up": "a = Mul(item, item) b = Add(a, half) y = ReduceSum<keepdims = 1>(b, axis)",
    "weighted squares and a bias": "a = Mul(item, item) b = Abs(w) y = Gemm(a, b, half)",
    "truths counted": "a = Not(item_b) b = Cast<to = 1>(a) c = ReduceSum<keepdims = 1>(b, axis) y = Add(c, half)",
}
MAY_BE_ZERO = {
    "an input": "y = Identity(item)",
    "a count": "y = Cast<to = 1>(item_n)",
    "a whole number added": "y = Add(item, whole)",
    "an exponential": "y = Exp(item)",
    "a length": "y = ReduceL2<axes = [1], keepdims = 1>(item)",
    "a product of one such": "a = Sub(item, half) y = Mul(a, item)",
    "a fraction cut off": "a = Abs(item) b = Add(a, half) c = Cast<to = 7>(b) y = Cast<to = 1>(c)",
    "weighted squares": "a = Mul(item, item) b = Abs(w) y = MatMul(a, b)",
    "squares with weights of either sign": "a = Mul(item, item) y = Gemm(a, w, half)",
    "squares taken off a bias": "a = Mul(item, item) b = Abs(w) y = Gemm<alpha = -1.0>(a, b, half)",
    "a bias that is nothing": "a = Mul(item, item) b = Abs(w) y = Gemm<beta = 0.0>(a, b, half)",
    "a sum of what may be nothing": "a = Abs(item_open) b = Add(a, half) y = ReduceSum<keepdims = 1>(b, axis)",
}
FINITE = {
    "an input": "y = Identity(item)",
    "a layer": "a = MatMul(item, w) y = Neg(a)",
    "a norm of anything": "a = Log(item) y = LayerNormalization(a, half)",
    "divided by its own sum": "e = Exp(item) a = ReduceSum<keepdims = 1>(e, axis) y = Div(e, a)",
    "divided by its own length": "a = ReduceL2<axes = [1], keepdims = 1>(item) y = Div(item, a)",
    "divided by its own sum and another": """e = Exp(item) a = ReduceSum<keepdims = 1>(e, axis)
        b = Exp(user) c = ReduceSum<keepdims = 1>(b, axis) d = Add(c, a) y = Div(e, d)""",
    "divided by itself and another": "a = Exp(item) b = Abs(user) c = Add(a, b) y = Div(a, c)",
    "a root": "y = Pow(item, half)",
    "a mean": "a = ReduceSum<keepdims = 1>(item_open, axis) b = Cast<to = 1>(item_n) y = Div(a, b)",
    "a gate of anything": "a = Log(item) b = Reciprocal(a) y = Sigmoid(b)",
    "a number between bounds": "a = Log(item) y = Clip(a, zero, half)",
    "divided by what is never zero": "a = Abs(item) b = Add(a, half) y = Div(item, b)",
    "the logarithm of what is above zero": "a = Abs(item) b = Add(a, half) y = Log(b)",
    "the root of a weighted sum": "a = Abs(item) b = Abs(w) c = MatMul(a, b) y = Pow(c, half)",
    "the logarithm of a weighted sum": "a = Abs(item) b = Abs(w) c = MatMul(a, b) d = Add(c, half) y = Log(d)",
    "a whole power": "y = Pow(item, whole)",
    "a comparison of anything": "a = Log(item) b = Greater(a, half) y = Cast<to = 1>(b)",
}
MAY_BE_INFINITE = {
    "divided": "y = Div(item, item)",
    "one over a count": "a = Cast<to = 1>(item_n) b = Reciprocal(a) y = Neg(b)",
    "a logarithm": "a = Log(item) b = MatMul(a, w) y = Neg(b)",
    "divided by the sum of something else": "e = Exp(item) a = ReduceSum<keepdims = 1>(item, axis) y = Div(e, a)",
    "divided by its own sum and any number": """e = Exp(item) a = ReduceSum<keepdims = 1>(e, axis)
        b = Add(a, user) y = Div(e, b)""",
    "a negative power": "a = Neg(half) y = Pow(item, a)",
    "one bound alone": "a = Log(item) y = Clip(a, , half)",
    "a constant": "a = Greater(item, half) y = Where(a, item, infinite)",
    "a constant that is filled in": "a = Shape(item) b = ConstantOfShape<value = float[1] {inf}>(a) y = Add(b, item)",
}


def at(body: str) -> Workspace:
    model = model_of(
        f"""score (float[B,3] user, float[B,3] item, float[B,S] item_open, int64[B,3] item_n, bool[B,3] item_b)
        => (float[B,3] z)
        <float[3,3] w, float half = {{0.5}}, float zero = {{0}}, float whole = {{2}}, float infinite,
         int64 one = {{1}}, int64[1] axis = {{1}}> {{ {body} z = Add(y, user) }}""",
        infinite=np.array(np.inf, np.float32),
    )
    return at_work(model, sides_of(model))


@pytest.mark.parametrize("body", NEVER_ZERO.values(), ids=NEVER_ZERO)
def test_never_zero(body: str) -> None:
    assert never_zero("y", at(body))


@pytest.mark.parametrize("body", MAY_BE_ZERO.values(), ids=MAY_BE_ZERO)
def test_may_be_zero(body: str) -> None:
    assert not never_zero("y", at(body))


@pytest.mark.parametrize("body", FINITE.values(), ids=FINITE)
def test_never_infinite(body: str) -> None:
    assert never_infinite("y", at(body))


@pytest.mark.parametrize("body", MAY_BE_INFINITE.values(), ids=MAY_BE_INFINITE)
def test_may_be_infinite(body: str) -> None:
    assert not never_infinite("y", at(body))


def test_a_deep_graph_is_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found of one layer holds for the next, as long as nothing is made in another way."""
    layers = " ".join(f"x{k + 1} = MatMul(x{k}, w)" for k in range(200))
    workspace = at(f"x0 = Div(item, half) {layers} y = Identity(x200)")
    asked: list[str] = []
    made_of = _finite._made_of
    monkeypatch.setattr(_finite, "_made_of", lambda value, *rest: asked.append(value) or made_of(value, *rest))
    assert all(never_infinite(f"x{k}", workspace) for k in range(201))
    assert max(Counter(asked).values()) <= 2
    assert len(asked) < 500


def test_what_was_in_the_way_and_is_gone() -> None:
    workspace = at("a = Div(item, item) b = MatMul(a, w) c = Neg(b) y = Add(c, half)")
    assert not never_infinite("y", workspace)
    (ratio,) = (n for n in workspace.graph.nodes if n.op == "Div")
    workspace.working_for(ratio, "test")
    workspace.replace(ratio, [workspace.emit("Sigmoid", ["item"])])
    assert workspace.settle()
    assert never_infinite("y", workspace)


def test_a_table_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_finite, "LARGEST", 8)
    workspace = at("y = MatMul(item, w)")
    monkeypatch.setattr(workspace, "constant", lambda value: pytest.fail(f"reads {value}"))
    assert never_infinite("y", workspace)


@pytest.mark.parametrize(
    ("body", "masks"),
    [
        ("a = Greater(item, half) b = Where(a, item, infinite) y = Softmax(b)", True),
        ("a = Log(item) b = LayerNormalization(a, half) y = Softmax(b)", True),
        ("a = Log(item) y = Softmax(a)", False),
        ("a = Div(item, item) b = Softmax(a) y = Neg(b)", False),
    ],
)
def test_infinite_by_masks_alone(body: str, masks: bool) -> None:
    assert infinite_by_masks_alone("y", at(body)) == masks
