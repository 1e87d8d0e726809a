"""Stacked inputs taken apart, and inputs kept as they were for callers that cannot change."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx import optimize
from tests.patterns.support import assert_same, assert_valid, model_of, session

STACKED = """score (float[B,6] X) => (float[B,4] y) <float[6,4] w, float[6] b> {
    r = Add(X, b)
    y = MatMul(r, w)
}"""
PLAIN = """score (float[B,3] user_x, int64[B,1] item_id, float[B,2] item_x) => (float[B,1,4] e, float[B,4] y)
<float[5,4] w, float[9,4] table> {
    e = Gather(table, item_id)
    x = Concat<axis = 1>(user_x, item_x)
    y = MatMul(x, w)
}"""

F32 = np.float32


def inputs_of(model: onnx.ModelProto) -> dict[str, list[object]]:
    return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input}


def metadata_of(model: onnx.ModelProto) -> dict[str, Any]:
    return {p.key: json.loads(p.value) for p in model.metadata_props}


def matrix(batch: int, width: int, user: list[int]) -> np.ndarray:
    """A stacked matrix whose user columns are the same in each row."""
    values = np.random.default_rng(batch).integers(-4, 5, (batch, width)).astype(F32)
    values[:, user] = values[:1, user]
    return values


# -- stacked inputs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "user"),
    [("0:2", [0, 1]), ("4:", [4, 5]), ("1:3", [1, 2]), ("0,2,4", [0, 2, 4]), ("5,0", [0, 5]), ("3", [3])],
)
@pytest.mark.parametrize("keep", [False, True])
def test_columns(spec: str, user: list[int], keep: bool) -> None:
    model = model_of(STACKED)
    result = optimize(model, [f"X[:, {spec}]"], keep_signature=keep).model
    item = [c for c in range(6) if c not in user]
    assert_valid(result)
    if keep:
        assert inputs_of(result) == {"X": ["B", 6]}
        assert "mari.stacked_inputs" not in metadata_of(result)
    else:
        assert inputs_of(result) == {"X_user": [1, len(user)], "X_item": ["B", len(item)]}
        assert metadata_of(result)["mari.stacked_inputs"] == {
            "X": {"user": "X_user", "item": "X_item", "user_columns": user, "item_columns": item}
        }
    for batch in (1, 2, 7):
        full = matrix(batch, 6, user)
        feeds = {"X": full} if keep else {"X_user": full[:1, user], "X_item": full[:, item]}
        assert_same(session(model).run(None, {"X": full}), session(result).run(None, feeds))


def test_the_new_inputs_stand_where_the_old_one_stood() -> None:
    model = model_of("""score (float[B,1] item_a, float[B,4] X, float[B,1] item_b) => (float[B,6] y) {
        y = Concat<axis = 1>(item_a, X, item_b)
    }""")
    result = optimize(model, ["X[:, 0:2]"]).model
    assert list(inputs_of(result)) == ["item_a", "X_user", "X_item", "item_b"]


def test_names_that_are_taken() -> None:
    model = model_of("""score (float[B,4] X, float[B,4] X_user) => (float[B,4] y, float[B,4] X_item) {
        y = Add(X, X_user)
        X_item = Neg(X)
    }""")
    result = optimize(model, ["X[:, 0:2]"]).model
    names = list(inputs_of(result))
    assert len(set(names)) == 3
    assert "X_user" in names
    (taken,) = metadata_of(result)["mari.stacked_inputs"].values()
    assert {taken["user"], taken["item"]} < set(names)


@pytest.mark.parametrize("keep", [False, True])
def test_a_stacked_input_that_is_an_output(keep: bool) -> None:
    model = model_of("""score (float[B,4] X) => (float[B,4] X, float[B,2] y) <float[4,2] w> { y = MatMul(X, w) }""")
    result = optimize(model, ["X[:, 0:2]"], keep_signature=keep).model
    assert_valid(result)
    full = matrix(5, 4, [0, 1])
    feeds = {"X": full} if keep else {"X_user": full[:1, :2], "X_item": full[:, 2:]}
    assert_same(session(model).run(None, {"X": full}), session(result).run(None, feeds))


def test_a_stacked_input_beside_others() -> None:
    model = model_of("""score (float[B,4] X, float[B,2] user, float[B,3] item) => (float[B,5] y) <float[9,5] w> {
        x = Concat<axis = 1>(user, X, item)
        y = MatMul(x, w)
    }""")
    result = optimize(model, ["X[:, 1:3]", "user"]).model
    assert inputs_of(result) == {"X_user": [1, 2], "X_item": ["B", 2], "user": [1, 2], "item": ["B", 3]}
    full, user, item = matrix(4, 4, [1, 2]), np.ones((1, 2), F32), np.arange(12, dtype=F32).reshape(4, 3)
    before = session(model).run(None, {"X": full, "user": user.repeat(4, 0), "item": item})
    after = session(result).run(None, {"X_user": full[:1, 1:3], "X_item": full[:, [0, 3]], "user": user, "item": item})
    assert_same(before, after)


def test_a_stacked_input_that_a_subgraph_reads() -> None:
    model = model_of("""score (bool given, float[B,4] X) => (float[B,4] y) {
        y = If(given) <
            then_branch = t () => (float[B,4] p) { p = Neg(X) },
            else_branch = e () => (float[B,4] q) { q = Abs(X) }
        >
    }""")
    result = optimize(model, ["X[:, 1:3]"], verify=False).model
    assert_valid(result)
    full = matrix(4, 4, [1, 2])
    for given_ in (True, False):
        before = session(model).run(None, {"given": np.array(given_), "X": full})
        feeds = {"given": np.array(given_), "X_user": full[:1, 1:3], "X_item": full[:, [0, 3]]}
        assert_same(before, session(result).run(None, feeds))


@given(user=st.sets(st.integers(0, 5), min_size=1, max_size=5), keep=st.booleans())
def test_any_columns(user: set[int], keep: bool) -> None:
    model = model_of(STACKED)
    columns = sorted(user)
    result = optimize(model, [f"X[:, {','.join(map(str, columns))}]"], keep_signature=keep, verify=False).model
    full = matrix(3, 6, columns)
    item = [c for c in range(6) if c not in user]
    feeds = {"X": full} if keep else {"X_user": full[:1, columns], "X_item": full[:, item]}
    assert_same(session(model).run(None, {"X": full}), session(result).run(None, feeds))


# -- the signature as it was -------------------------------------------------------------------------------------------


def plain_feeds(batch: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(batch)
    return {
        "user_x": random.integers(-4, 5, (1, 3)).astype(F32).repeat(batch, 0),
        "item_id": random.integers(0, 9, (batch, 1)),
        "item_x": random.integers(-4, 5, (batch, 2)).astype(F32),
    }


def test_inputs_that_keep_all_their_rows() -> None:
    model = model_of(PLAIN)
    result = optimize(model, ["user_*"], keep_signature=True).model
    assert list(result.graph.input) == list(model.graph.input)
    assert list(result.graph.output) == list(model.graph.output)
    for batch in (1, 2, 7):
        feeds = plain_feeds(batch)
        assert_same(session(model).run(None, feeds), session(result).run(None, feeds))


def test_only_row_0_is_looked_at() -> None:
    model = model_of(PLAIN)
    result = optimize(model, ["user_*"], keep_signature=True).model
    feeds = plain_feeds(5)
    wanted = session(model).run(None, feeds)
    feeds["user_x"][1:] = 99
    assert_same(wanted, session(result).run(None, feeds))


def test_only_user_inputs_change() -> None:
    model = model_of(PLAIN)
    result = optimize(model, ["user_*"]).model
    assert inputs_of(result) == {"user_x": [1, 3], "item_id": ["B", 1], "item_x": ["B", 2]}
    kinds = [v.type.tensor_type.elem_type for v in model.graph.input]
    assert [v.type.tensor_type.elem_type for v in result.graph.input] == kinds
    assert list(result.graph.output) == list(model.graph.output)


@pytest.mark.parametrize("keep", [False, True])
def test_a_user_input_that_is_an_output(keep: bool) -> None:
    model = model_of("""score (float[B,3] user, float[B,3] item) => (float[B,3] user, float[B,3] y) {
        y = Add(user, item)
    }""")
    result = optimize(model, ["user"], keep_signature=keep).model
    assert inputs_of(result) == {"user": ["B", 3], "item": ["B", 3]}
    row, item = np.ones((1, 3), F32).repeat(4, 0), np.arange(12, dtype=F32).reshape(4, 3)
    feeds = {"user": row, "item": item}
    assert_same(session(model).run(None, feeds), session(result).run(None, feeds))


# -- once more ---------------------------------------------------------------------------------------------------------

AGAIN = {
    "plain": (PLAIN, ["user_*"]),
    "stacked": (STACKED, ["X[:, 0:3]"]),
    "scattered": (STACKED, ["X[:, 0,2,4]"]),
}


@pytest.mark.parametrize("name", AGAIN)
@pytest.mark.parametrize("keep", [False, True])
def test_what_was_optimized_can_be_optimized_again(name: str, keep: bool) -> None:
    """The model itself says which inputs are the user's, and nothing is left to gain.

    With the signature kept, the row is taken once more from the row that the first run takes.
    """
    text, user = AGAIN[name]
    once = optimize(model_of(text), user, keep_signature=keep)
    twice = optimize(once.model, keep_signature=keep)
    assert inputs_of(twice.model) == inputs_of(once.model)
    assert twice.verification is not None
    assert twice.verification.passed
    if not keep:
        assert len(twice.model.graph.node) <= len(once.model.graph.node)
        assert twice.report.after.microseconds <= once.report.after.microseconds * 1.001


@pytest.mark.parametrize("name", AGAIN)
def test_the_model_says_which_inputs_are_the_users(name: str) -> None:
    text, user = AGAIN[name]
    once = optimize(model_of(text), user)
    assert metadata_of(once.model)["mari.user_inputs"] == list(once.report.user_inputs)
    again = optimize(once.model)
    assert any("as in the model's metadata" in note for note in again.notes)


def test_other_metadata_stays() -> None:
    model = model_of(PLAIN)
    onnx.helper.set_model_props(model, {"author": "us"})
    result = optimize(model, ["user_*"]).model
    entries = {p.key: p.value for p in result.metadata_props}
    assert entries["author"] == "us"
    assert json.loads(entries["mari.candidate_axis"]) == {"user_x": 0, "item_id": 0, "item_x": 0}
