"""How inputs of the two models correspond, and what is fed to each."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx import optimize
from mari_onnx.errors import ModelError, UsageError
from mari_onnx.timing import measure
from mari_onnx.verification import (
    draw_feeds,
    match_signatures,
    open_source,
    original_inputs,
    parse_user_inputs,
    verify,
)

STACKED = "g (float[B,5] X) => (float[B,1] y) { y = MatMul(X, w) }"
SPLIT = """g (float[1,3] X_user, float[B,2] X_item) => (float[B,1] y) {
  u = MatMul(X_user, w_user) i = MatMul(X_item, w_item) y = Add(u, i) }"""
COLUMNS = ([0, 3, 4], [1, 2])


@pytest.fixture
def stacked(make, weight):
    return make(STACKED, w=weight)


@pytest.fixture
def split(make, weight):
    return make(SPLIT, w_user=weight[COLUMNS[0]], w_item=weight[COLUMNS[1]])


def props(user=COLUMNS[0], item=COLUMNS[1]):
    return {"X": {"user": "X_user", "item": "X_item", "user_columns": user, "item_columns": item}}


def test_stacked_inputs_by_metadata(stacked, split, with_metadata):
    marked = with_metadata(split, user_inputs=["X[:, 0,3:5]"], stacked_inputs=props())
    assert verify(stacked, marked).passed
    assert verify(stacked, with_metadata(split, stacked_inputs=props())).passed
    swapped = with_metadata(split, user_inputs=["X[:, 0,3:5]"], stacked_inputs=props([3, 0, 4]))
    assert not verify(stacked, swapped).passed


def test_stacked_inputs_of_an_original_with_other_columns(make, weight, split, with_metadata):
    """A result of today beside the model of last week."""
    older = make("g (float[B,4] X) => (float[B,1] y) { y = MatMul(X, w) }", w=weight[:4])
    report = verify(older, with_metadata(split, stacked_inputs=props()), user_inputs=["X[:, 0,3]"])
    assert "the optimized model was made for 5 columns of 'X', the original has 4" in report.summary()


@pytest.mark.parametrize("wrong", [{"user": 3}, {"item": ["X_item"]}, {"user_columns": "034"}, {"item_columns": [0.5]}])
def test_stacked_inputs_that_are_not_understood(stacked, split, with_metadata, wrong):
    marked = with_metadata(split, stacked_inputs={"X": {**props()["X"], **wrong}})
    with pytest.raises(ModelError, match=r"'mari.stacked_inputs' is not understood"):
        verify(stacked, marked)


def test_stacked_inputs_by_name(stacked, split):
    assert verify(stacked, split, user_inputs=["X[:, 0,3:5]"]).passed
    assert not verify(stacked, split, user_inputs=["X[:, 1,3:5]"]).passed


def test_a_stacked_input_that_was_kept_gets_the_users_columns_on_each_row(stacked, make, weight):
    kept = make(
        """g (float[B,5] X) => (float[B,1] y) {
      one = Constant<value_ints=[0]>() two = Constant<value_ints=[1]>() axis = Constant<value_ints=[0]>()
      first = Slice(X, one, two, axis) u = MatMul(first, w_user) i = MatMul(X, w_item) y = Add(u, i) }""",
        w_user=np.where(np.isin(np.arange(5), COLUMNS[0])[:, None], weight, 0),
        w_item=np.where(np.isin(np.arange(5), COLUMNS[1])[:, None], weight, 0),
    )
    assert verify(stacked, kept, user_inputs=["X[:, 0,3,4]"]).passed
    assert not verify(stacked, kept, user_inputs=["X[:, 0,3]"], batches=[7]).passed


def test_metadata_names_the_user_inputs(original, with_metadata):
    marked = with_metadata(original, user_inputs=["user"])
    report = verify(original, marked)
    assert report.passed
    assert report.notes == ()


def test_a_kept_signature_gets_repeated_rows(make, weight, original):
    kept = make(
        """score (float[B,3] user, float[B,2] item) => (float[B,1] score) {
      one = Constant<value_ints=[0]>() two = Constant<value_ints=[1]>()
      first = Slice(user, one, two, one) u = MatMul(first, w_user) i = MatMul(item, w_item) score = Add(u, i) }""",
        w_user=weight[:3],
        w_item=weight[3:],
    )
    assert verify(original, kept, user_inputs=["user"]).passed
    report = verify(original, kept, batches=[7])
    assert not report.passed, "without repeated rows, slicing row 0 is wrong"
    assert any("no user inputs" in note for note in report.notes)


def test_another_candidate_axis(make, with_metadata):
    original = make("g (float[4,B] u, float[4,B] i) => (float[4,B] y) { y = Mul(u, i) }")
    optimized = make("g (float[4,1] u, float[4,B] i) => (float[4,B] y) { y = Mul(u, i) }")
    marked = with_metadata(optimized, user_inputs=["u"], candidate_axis={"u": 1, "i": 1})
    report = verify(original, marked)
    assert report.passed
    assert report.batches == (1, 2, 7, 64)


def test_a_fixed_batch_runs_at_that_one_only(make, weight):
    fixed = make(
        "g (float[8,3] user, float[8,2] item, float[1,2] bias) => (float[8,1] score) "
        "{ b = Add(item, bias) x = Concat<axis=1>(user, b) score = MatMul(x, w) }",
        w=weight,
    )
    once = make(
        "g (float[1,3] user, float[8,2] item, float[1,2] bias) => (float[8,1] score) "
        "{ b = Add(item, bias) u = MatMul(user, w_user) i = MatMul(b, w_item) score = Add(u, i) }",
        w_user=weight[:3],
        w_item=weight[3:],
    )
    report = verify(fixed, once)
    assert report.passed
    assert report.batches == (8,)
    assert report.runs == 3
    assert any("fixed batch of 8" in note for note in report.notes)
    with pytest.raises(UsageError, match="has batch 8"):
        draw_feeds(fixed, ["user"], 4)


def test_batches_that_the_original_cannot_run_are_skipped(make):
    squeezing = make(
        """g (float[B,3] x) => (float[N] y) {
      axes = Constant<value_ints=[0]>() s = Shape(x) z = Constant<value_ints=[0]>() one = Constant<value_ints=[1]>()
      b = Gather(s, z) r = Div(b, one) m = Equal(r, one) k = Cast<to=7>(m) two = Constant<value_ints=[-5]>()
      t = Mul(k, two) q = Sub(t, one) y = Reshape(x, q) }"""
    )
    report = verify(squeezing, squeezing, user_inputs=[])
    assert report.passed
    assert report.batches == (2, 7, 64)
    assert any(note.startswith("batch 1 was skipped") for note in report.notes)


def test_a_graph_that_tiles_inside_gets_one_row(make, weight):
    text = """g (float[U,3] user, float[B,2] item) => (float[B,1] score) {
      s = Shape<start=0, end=1>(item) one = Constant<value_ints=[1]>() three = Constant<value_ints=[3]>()
      flat = Reshape(user, onethree) t = Concat<axis=0>(s, three) wide = Expand(flat, t)
      x = Concat<axis=1>(wide, item) score = MatMul(x, w) }"""
    model = make(text, w=weight, onethree=np.array([1, 3], np.int64))
    report = verify(model, model, user_inputs=["user"])
    assert report.passed
    assert report.batches == (1, 2, 7, 64)
    assert any("one row of the user inputs" in note for note in report.notes)


def test_open_dimensions_of_one_name_have_one_size(make):
    text = "g (float[B,T] a, float[B,T] b) => (float[B,T] y) { y = Add(a, b) }"
    report = verify(make(text), make(text), user_inputs=[])
    assert report.passed
    assert "dimension T was set to 4" in report.notes


def test_open_dimensions_try_other_sizes(make):
    text = "g (float[B,T] a) => (float[B,16] y) { y = Add(a, w) }"
    model = make(text, w=np.ones((1, 16), np.float32))
    report = verify(model, model, user_inputs=[])
    assert report.passed
    assert "dimension T was set to 1" in report.notes


def test_a_rejected_input_is_drawn_smaller(make):
    """The size of what is looked into depends on the batch, which the walk does not see."""
    text = """g (float[B,2] x, int64[B] k) => (float[B,2] y) { y = Gather(x, k) }"""
    report = verify(make(text), make(text), user_inputs=[], batches=[1, 2])
    assert report.passed
    assert report.batches == (1, 2)
    assert any("rejected larger" in note or "were 0" in note for note in report.notes)


def test_samples_are_used(original, optimized):
    rng = np.random.default_rng(1)
    samples = {"user": rng.random((5, 3)).astype(np.float32), "item": rng.random((9, 2)).astype(np.float32)}
    report = verify(original, optimized, samples=samples)
    assert report.passed
    assert report.outputs[0].scale < 10
    huge = {"item": np.full((1, 2), 1e20, np.float32)}
    assert verify(original, optimized, samples=huge, batches=[2]).outputs[0].scale > 1e18


@pytest.mark.parametrize(
    "samples",
    [
        {"nobody": np.zeros((2, 3))},
        {"user": np.zeros((2, 4), np.float32)},
        {"user": np.zeros(3, np.float32)},
        {"user": np.zeros((0, 3), np.float32)},
        {"user": np.array([["a", "b", "c"]])},
    ],
)
def test_samples_that_do_not_fit(original, optimized, samples):
    with pytest.raises(UsageError, match="sample"):
        verify(original, optimized, samples=samples)


@pytest.mark.parametrize(
    ("spec", "columns"),
    [
        ("X[:, 0:2]", (0, 1)),
        ("X[:,0:2,4]", (0, 1, 4)),
        ("X[:, 3:]", (3, 4)),
        ("X[:, :2]", (0, 1)),
        ("X[:, -1]", (4,)),
        ("X[:, -2:]", (3, 4)),
        ("X[:, 0:5:2]", (0, 2, 4)),
        ("X [ : , 1, 1, 0 ]", (1, 0)),
        ("X", None),
    ],
)
def test_specs(stacked, spec, columns):
    (user,) = parse_user_inputs([spec], original_inputs(open_source(stacked), {}))
    assert (user.name, user.columns) == ("X", columns)


@pytest.mark.parametrize(
    "spec", ["Y", "X[0:3]", "X[:, 7]", "X[:, 1:2:3:4]", "X[:, a]", "X[:]", "X[:, 3:2]", "Y[:, 0]", ""]
)
def test_specs_that_make_no_sense(stacked, spec):
    with pytest.raises(UsageError):
        parse_user_inputs([spec], original_inputs(open_source(stacked), {}))


def test_an_input_whose_name_looks_like_a_spec(make):
    model = make("g (float[B,2] x) => (float[B,2] y) { y = Identity(x) }")
    model.graph.input[0].name = model.graph.node[0].input[0] = "x[0]"
    (user,) = parse_user_inputs(["x[0]"], original_inputs(open_source(model), {}))
    assert user.name == "x[0]"
    assert user.columns is None


@pytest.mark.parametrize(
    ("specs", "names"),
    [
        (["user_*"], ["user_a", "user_b"]),
        (["user_b,item"], ["user_b", "item"]),
        (["us*a", "user_?"], ["user_a", "user_b"]),
    ],
)
def test_specs_are_what_optimize_takes(make, specs, names):
    model = make(
        "g (float[B,2] user_a, float[B,2] user_b, float[B,2] item) => (float[B,2] y) { y = Sum(user_a, user_b, item) }"
    )
    assert [user.name for user in parse_user_inputs(specs, original_inputs(open_source(model), {}))] == names


@pytest.mark.parametrize("name", [" x ", "x,z", "x[:, 0]", "x*"])
def test_any_name_is_a_spec(make, name):
    model = make("g (float[B,2] x) => (float[B,2] y) { y = Identity(x) }")
    model.graph.input[0].name = model.graph.node[0].input[0] = name
    (user,) = parse_user_inputs([name], original_inputs(open_source(model), {}))
    assert (user.name, user.columns) == (name, None)


def test_unreadable_metadata(original, optimized):
    copy = onnx.ModelProto()
    copy.CopyFrom(optimized)
    onnx.helper.set_model_props(copy, {"mari.user_inputs": "{"})
    with pytest.raises(ModelError, match="not valid JSON"):
        verify(original, copy)


@pytest.mark.parametrize("axes", ['{"item": {}}', '{"item": "a"}', '{"item": 1.5}'])
def test_candidate_axes_that_are_no_numbers(make, axes):
    model = make("g (float[B,2] user, float[B,2] item) => (float[B,2] y) { y = Add(user, item) }")
    optimized = optimize(model, user_inputs=["user"]).model
    onnx.helper.set_model_props(optimized, {"mari.user_inputs": '["user"]', "mari.candidate_axis": axes})
    with pytest.raises(ModelError, match=r"'mari.candidate_axis' is not understood"):
        verify(model, optimized)


@given(st.integers(1, 9), st.integers(0, 5))
def test_the_users_row_is_the_same_on_each_row(batch, seed):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[B,5] X, int64[B] user, float[B] item) => (float[B,5] y) { y = Identity(X) }"""
    )
    feeds = draw_feeds(model, ["user", "X[:, 1:3]"], batch, seed)
    assert feeds.full["X"].shape == (batch, 5)
    assert feeds.single["X"].shape == (1, 2)
    assert (feeds.full["X"][:, 1:3] == feeds.single["X"]).all()
    assert (feeds.full["user"] == feeds.single["user"]).all()
    assert feeds.single["user"].shape == (1,)
    again = draw_feeds(model, ["user", "X[:, 1:3]"], batch, seed)
    assert all((feeds.full[name] == again.full[name]).all() for name in feeds.full)


def test_feeds_of_the_optimized_model(stacked, split, with_metadata):
    marked = open_source(with_metadata(split, stacked_inputs=props()))
    inputs = original_inputs(open_source(stacked), {})
    signature = match_signatures(inputs, marked)
    feeds = draw_feeds(stacked, ["X[:, 0,3:5]"], 6)
    made = signature.feeds(feeds.full, feeds.single)
    assert {name: array.shape for name, array in made.items()} == {"X_user": (1, 3), "X_item": (6, 2)}


def test_weights_that_are_also_inputs_are_not_fed(make):
    model = make("g (float[B,2] x, float[2,1] w) => (float[B,1] y) { y = MatMul(x, w) }", w=np.ones((2, 1), np.float32))
    assert set(draw_feeds(model, [], 3).full) == {"x"}
    assert verify(model, model, user_inputs=[]).passed


def two_towers(make):
    """Scores of all users for all items: an item's symbol is not a user's."""
    return make(
        """towers (float[U,4] user, float[B,4] item) => (float[U,B] score) {
            turned = Transpose(item)
            score = MatMul(user, turned)
        }"""
    )


def test_users_with_rows_of_their_own_are_fed_one(make):
    original = two_towers(make)
    result = optimize(original, user_inputs=["user"])
    report = verify(original, result.model)
    assert report.passed
    assert report.runs == 9
    assert measure(original, result.model, ["user"], 3, 0.0).candidates == 3


def test_rows_that_may_be_one_or_all_are_fed_both(make):
    original = make(
        """g (float[U,4] user, float[B,4] item, float[B,4] other) => (float[B,4] score) {
            size = Shape(item) repeated = Expand(user, size) both = Mul(repeated, item) score = Add(both, other)
        }"""
    )
    report = verify(original, optimize(original, user_inputs=["user"]).model)
    assert report.passed
    assert report.runs == 10


def test_one_row_that_is_repeated_inside_can_be_timed(make):
    original = make(
        """g (float[U,4] user, float[B,4] item) => (float[B,8] score) {
            size = Shape(item) repeated = Expand(user, size) score = Concat<axis = 1>(repeated, item)
        }"""
    )
    assert measure(original, optimize(original, user_inputs=["user"]).model, ["user"], 3, 0.0).runs >= 1
