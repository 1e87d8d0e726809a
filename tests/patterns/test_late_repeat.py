"""f(repeat(x)) = repeat(f(x))."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from mari_onnx.rewrite.workspace import Workspace
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of

RULE = "late-repeat"

QUERY = "score (float[B,4,3] user, float[B,1,3] item) => (float[B,4,3] y)"
REPEATS = ["Expand(item, five)", "Tile(item, five)", "Concat<axis = 1>(item, item, item, item)"]
"""The item's row for each of four steps of the user's history."""


def asked(body: str, *, repeat: str = REPEATS[0], weights: str = "", opset: int = 17) -> Outcome:
    given = f"<int64[3] five = {{1, 4, 1}}{weights}>"
    return apply(RULE, f"{QUERY} {given} {{ q = {repeat} {body} }}", opset=opset)


def wide(outcome: Outcome, op: str) -> list[bool]:
    """For each node of an operator whether it works on all steps."""
    return [outcome.workspace.fact(n.output).shape[1] == 4 for n in graph(outcome).nodes if n.op == op]  # type: ignore[index]


def graph(outcome: Outcome) -> object:
    return outcome.workspace.graph


@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize("op", ["Tanh", "Relu", "Neg", "Erf", "Exp"])
def test_elementwise(op: str, repeat: str) -> None:
    outcome = asked(f"y = {op}(q)", repeat=repeat)
    assert outcome.times == 1
    assert wide(outcome, op) == [False]


@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize("weight", ["float[3] w", "float[1,1,3] w", "float w"])
def test_with_a_weight_for_each_column(repeat: str, weight: str) -> None:
    outcome = asked("y = Mul(q, w)", repeat=repeat, weights=f", {weight}")
    assert outcome.times == 1
    assert wide(outcome, "Mul") == [False]


def test_with_another_value_of_the_item() -> None:
    text = """score (float[B,4,3] user, float[B,1,3] item, float[B,1,1] item2) => (float[B,4,3] y)
        <int64[3] four = {1, 4, 1}> { q = Expand(item, four) s = Add(q, item2) y = Add(s, user) }"""
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert wide(outcome, "Add") == [False, True]


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_softmax_along_the_last_axis(opset: int) -> None:
    outcome = asked("y = Softmax<axis = 2>(q)", opset=opset)
    assert wide(outcome, "Softmax") == [False]


def test_normalisation_along_the_last_axis() -> None:
    outcome = asked("y = LayerNormalization<axis = -1>(q, w, w)", weights=", float[3] w")
    assert wide(outcome, "LayerNormalization") == [False]


def test_repeated_along_the_last_axis() -> None:
    text = """score (float[B,4] user, float[B,1] item) => (float[B,4] y) <int64[2] four = {1, 4}> {
        q = Expand(item, four) t = Tanh(q) y = Mul(t, user)
    }"""
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert wide(outcome, "Tanh") == [False]


def test_as_far_as_it_pays() -> None:
    """The repetition vanishes where the query meets the history, and the products before it run once per item."""
    model = model_of(
        """score (float[B,50,64] user, float[B,1,64] item) => (float[B,50,64] y)
        <int64[3] steps = {1, 50, 1}, float[64,64] w, float[64,64] v> {
            q = Expand(item, steps) h = MatMul(q, w) r = Relu(h) g = MatMul(r, v) t = Tanh(g) y = Mul(t, user)
        }"""
    )
    workspace = at_work(model, sides_of(model))
    assert RULE in {a.rule for a in rewrite(workspace, RULES, CostModel()).applied}
    assert "Expand" not in {n.op for n in workspace.graph.nodes}
    assert rows_of_products(workspace) == [1, 1]


def rows_of_products(at: Workspace) -> list[object]:
    shapes = [at.fact(n.output).shape for n in at.graph.nodes if n.op == "MatMul"]
    return [shape[1] for shape in shapes if shape is not None]


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("y = Softmax<axis = 1>(q)", ""),
        ("y = LayerNormalization<axis = 1>(q, w, w)", ", float[4,3] w"),
        ("y = Mul(q, w)", ", float[4,1] w"),
        ("y = PRelu(q, w)", ", float[4,1] w"),
        ("y = Mul(q, user)", ""),
        ("y = Transpose<perm = [0, 1, 2]>(q)", ""),
    ],
)
def test_not_where_the_steps_differ_or_count_for_one_another(body: str, weights: str) -> None:
    assert asked(body, weights=weights).times == 0


@pytest.mark.parametrize("repeat", ["Tile(user, ones)", "Concat<axis = 1>(item2, item2)"])
def test_not_for_rows_that_take_turns(repeat: str) -> None:
    """Two rows repeated as a whole: no broadcast makes that."""
    text = f"""score (float[B,4,3] user, float[B,2,3] item2) => (float[B,4,3] y) <int64[3] ones = {{1, 1, 1}}> {{
        q = {repeat} t = Tanh(q) y = Add(t, item2)
    }}"""
    text = text.replace("y = Add(t, item2)", "d = Concat<axis = 1>(item2, item2) y = Add(t, d)")
    assert apply(RULE, text).times == 0


def test_users_values_too_once_they_are_there_once() -> None:
    text = """score (float[B,1,3] user, float[B,4,3] item) => (float[B,4,3] y) <int64[3] four = {1, 4, 1}> {
        q = Expand(user, four) t = Tanh(q) y = Add(t, item)
    }"""
    outcome = apply(RULE, text)
    assert [outcome.workspace.fact(n.output[0]).shape for n in outcome.of("Tanh")] == [(1, 1, 3)]


@given(rows=st.integers(1, 4), columns=st.integers(1, 3), axis=st.integers(1, 2), seed=st.integers(0, 3))
def test_any_sizes(rows: int, columns: int, axis: int, seed: int) -> None:
    """Exact on small integers, whatever the sizes: sizes of one and repetitions along either axis among them."""
    own = [1 if k == axis else size for k, size in ((1, rows), (2, columns))]
    scale = np.random.default_rng(seed).integers(-3, 4)
    text = f"""score (float[B,{rows},{columns}] user, float[B,{own[0]},{own[1]}] item) => (float[B,{rows},{columns}] y)
        <int64[3] shape = {{1, {rows}, {columns}}}, float s = {{{scale}}}> {{
        q = Expand(item, shape) m = Mul(q, s) t = Relu(m) y = Add(t, user)
    }}"""
    apply(RULE, text)
