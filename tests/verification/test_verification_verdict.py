"""What `verify` accepts and what it catches."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mari_onnx import optimize
from mari_onnx.errors import ModelError, UsageError, VerificationError
from mari_onnx.verification import Tolerance, ranking_kept, require, verifier, verify
from mari_onnx.verification.nudged import run_nudged
from mari_onnx.verification.sessions import runtime_message
from mari_onnx.verification.source import open_source

USER = ["user"]


def changed(model: onnx.ModelProto, name: str, delta: float) -> onnx.ModelProto:
    """A copy with one element of a weight changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensor = next(one for one in copy.graph.initializer if one.name == name)
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.ravel()[0] += delta
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    return copy


def test_a_right_result_passes(original, optimized):
    lines: list[str] = []
    report = verify(original, optimized, progress=lines.append)
    assert report.passed
    assert report.ranking_unchanged
    assert report.runs == 9
    assert report.batches == (1, 2, 7, 64)
    assert report.seeds == 2
    assert report.notes == ()
    (score,) = report.outputs
    assert score.mismatch is None
    assert 0 <= score.max_abs < 1e-6
    assert score.scale > 0.1
    assert score.error_vs_float64.original < 1e-6
    assert score.error_vs_float64.optimized < 1e-6
    assert "verified" in report.summary()
    assert "\n" not in report.summary()
    assert lines[0] == "batch 1, seed 0"
    assert len(lines) == 8
    require(report)


def test_batches_at_which_the_original_would_run_very_long_are_left_out(original, optimized, monkeypatch):
    monkeypatch.setattr(verifier, "LONGEST_RUN", 0.0)
    report = verify(original, optimized)
    assert report.passed
    assert report.batches == (1,)
    assert [note.split(", where")[0] for note in report.notes] == [f"batch {b} was left out" for b in (2, 7, 64)]


def test_batches_that_were_asked_for_are_not_left_out(original, optimized, monkeypatch):
    monkeypatch.setattr(verifier, "LONGEST_RUN", 0.0)
    report = verify(original, optimized, batches=[1, 5])
    assert report.batches == (1, 5)
    assert report.notes == ()


def test_the_original_passes_against_itself(original):
    report = verify(original, original, user_inputs=USER)
    assert report.passed
    assert report.outputs[0].max_abs == 0


def test_files_work_like_models_in_memory(tmp_path, original, optimized):
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    onnx.save(original, paths[0])
    onnx.save(optimized, str(paths[1]))
    assert verify(paths[0], str(paths[1])).passed


def test_external_weights(tmp_path, original, optimized):
    for name, model in (("a", original), ("b", optimized)):
        (tmp_path / name).mkdir()
        onnx.save(model, tmp_path / name / "m.onnx", save_as_external_data=True, size_threshold=0)
    report = verify(tmp_path / "a" / "m.onnx", tmp_path / "b" / "m.onnx")
    assert report.passed
    assert report.outputs[0].error_vs_float64 is not None


@pytest.mark.parametrize("delta", [1e-2, 1e-3])
def test_a_wrong_weight_is_caught(original, optimized, delta):
    report = verify(original, changed(optimized, "w_user", delta))
    assert not report.passed
    assert "batch 1, seed 0" in report.outputs[0].mismatch
    assert report.summary().startswith("FAILED")
    with pytest.raises(VerificationError):
        require(report)


def test_the_report_is_json(original, optimized):
    for model in (optimized, changed(optimized, "w_user", 1.0), changed(optimized, "w_user", np.nan)):
        value = json.loads(json.dumps(verify(original, model).to_json(), allow_nan=False))
        assert set(value["outputs"][0]) == {"name", "max_abs", "max_rel", "scale", "error_vs_float64", "mismatch"}
        assert value["runs"] == 9


# The user's half stays the same; the item half of `score` is computed by each of these.
WRONG = {
    "shape": ("s = Add(u, i) axes = Constant<value_ints=[1]>() score = Squeeze(s, axes)", "shape"),
    "type": ("s = Add(u, i) score = Cast<to=11>(s)", "type"),
    "permuted rows": (
        "s = Add(u, i) a = Constant<value_ints=[-1]>() e = Constant<value_ints=[-1000]>() "
        "z = Constant<value_ints=[0]>() score = Slice(s, a, e, z, a)",
        "instead of",
    ),
    "NaN": ("s = Add(u, i) r = Sqrt(s) d = Sub(r, r) score = Add(s, d)", "nan instead of"),
    "infinity": ("z = Sub(u, u) d = Div(u, z) s = Add(i, u) score = Add(s, d)", "inf instead of"),
    "one row": ("s = Add(u, i) z = Constant<value_ints=[0]>() score = Gather(s, z)", "shape"),
}


@pytest.mark.parametrize(("body", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_graph_is_caught(make, weight, original, body, words):
    text = f"""score (float[1,3] user, float[B,2] item) => (float[B,1] score) {{
      u = MatMul(user, w_user) i = MatMul(item, w_item) {body} }}"""
    wrong = make(text, w_user=weight[:3], w_item=weight[3:])
    output = wrong.graph.output[0].type.tensor_type
    output.ClearField("shape")
    if words == "type":
        output.elem_type = onnx.TensorProto.DOUBLE
    report = verify(original, wrong)
    assert not report.passed
    assert words in report.outputs[0].mismatch


def test_a_failing_result_is_a_mismatch_with_the_runtimes_words(make, original):
    text = """score (float[1,3] user, float[B,2] item) => (float[B,1] score) {
      s = Constant<value_ints=[7, 1]>() r = Reshape(item, s) score = Identity(r) }"""
    report = verify(original, make(text))
    assert not report.passed
    assert "does not run" in report.outputs[0].mismatch
    assert "\n" not in report.outputs[0].mismatch


@pytest.mark.parametrize(
    ("extra", "words"), [("float[1,2] other", "'other'"), ("int64[B] more", "'more'")], ids=["float", "integer"]
)
def test_an_unknown_input_is_a_mismatch(make, weight, original, extra, words):
    text = f"""score (float[1,3] user, float[B,2] item, {extra}) => (float[B,1] score) {{
      u = MatMul(user, w_user) i = MatMul(item, w_item) score = Add(u, i) }}"""
    report = verify(original, make(text, w_user=weight[:3], w_item=weight[3:]))
    assert not report.passed
    assert words in report.outputs[0].mismatch


def test_missing_and_additional_outputs(make, weight, original):
    text = """score (float[1,3] user, float[B,2] item) => (float[B,1] other) {
      u = MatMul(user, w_user) i = MatMul(item, w_item) other = Add(u, i) }"""
    report = verify(original, make(text, w_user=weight[:3], w_item=weight[3:]))
    assert "lacks this output" in report.outputs[0].mismatch
    assert any("other" in note for note in report.notes)


def test_nan_at_the_same_place_passes_with_a_note(make):
    text = "g (float[B,4] x) => (float[B,4] y) { y = Sqrt(x) }"
    report = verify(make(text), make(text), user_inputs=[])
    assert report.passed
    assert any("NaN compared as equal" in note for note in report.notes)


def test_outputs_of_nothing_but_nan_are_drawn_again_with_positive_floats(make):
    text = """g (float[B,40] x) => (float[B,1] y) {
      axes = Constant<value_ints=[1]>() l = Log(x) y = ReduceSum(l, axes) }"""
    report = verify(make(text), make(text), user_inputs=[])
    assert report.passed
    assert report.outputs[0].max_abs == 0
    assert report.outputs[0].scale > 1
    assert any("[0, 1)" in note for note in report.notes)


def test_nothing_but_nan_is_said(make):
    text = "g (float[B,1] x) => (float[B,1] y) { z = Sub(x, x) y = Div(z, z) }"
    report = verify(make(text), make(text), user_inputs=[])
    assert any("nothing was compared" in note for note in report.notes)


@pytest.mark.parametrize(("kind", "op"), [("int64", "Cast<to=7>"), ("bool", "Cast<to=9>"), ("string", "Cast<to=8>")])
def test_outputs_that_are_no_floats_must_be_equal(make, kind, op):
    right = make(f"g (float[B,3] x) => ({kind}[B,3] y) {{ y = {op}(x) }}")
    wrong = make(
        f"g (float[B,3] x) => ({kind}[B,3] y) {{ two = Constant<value_float=2.0>() a = Abs(x) "
        f"b = Floor(x) c = Mul(a, two) d = Mul(b, c) y = {op}(d) }}"
    )
    assert verify(right, right, user_inputs=[]).passed
    report = verify(right, wrong, user_inputs=[], batches=[16])
    assert not report.passed
    assert "elements differ" in report.outputs[0].mismatch


@pytest.mark.parametrize(("kind", "slack"), [("float16", 2e-3), ("bfloat16", 1e-2)])
def test_coarse_types_have_wider_tolerances(make, kind, slack):
    text = """g (%s[B,3] x) => (%s[B,3] y) {
      f = Cast<to=1>(x) s = Constant<value_float=%r>() m = Mul(f, s) y = Cast<to=%d>(m) }"""
    dtype = {"float16": 10, "bfloat16": 16}[kind]
    models = [make(text % (kind, kind, scale, dtype)) for scale in (1.0, 1.0 + slack, 1.2)]
    assert verify(models[0], models[1], user_inputs=[]).passed
    assert not verify(models[0], models[2], user_inputs=[]).passed


def test_rounding_noise_is_judged_against_float64(make):
    """Sums that cancel differ by more than the plain tolerance, but no more from the truth than the original does."""
    weights = (np.random.default_rng(3).standard_normal((2, 2000)) * 100).astype(np.float32)
    weights[1] = -weights[0] * np.float32(1.0001)
    text = "g (float[B,1] x) => (float[B,1] y) { wide = MatMul(x, w) axes = Constant<value_ints=[1]>() %s }"
    parts = ["y = ReduceSum(wide, axes)", "a, b = Split<axis=1>(wide) c = Add(a, b) y = ReduceSum(c, axes)"]
    one, two = (make(text % part, w=weights.reshape(1, -1)) for part in parts)
    report = verify(one, two, user_inputs=[])
    assert report.outputs[0].max_abs > 1e-5 + 1e-4 * report.outputs[0].scale
    assert report.passed
    errors = report.outputs[0].error_vs_float64
    assert 0 < errors.optimized <= 4 * errors.original


def test_a_float64_run_that_takes_another_path_forgives_nothing(make):
    """Rounding to a whole number may go the other way in double precision; then only the tolerance counts."""
    right = make("g (float[B,1] x) => (float[B,1] y) { b = Constant<value_float=1e8>() c = Add(x, b) y = Sub(c, b) }")
    wrong = make("g (float[B,1] x) => (float[B,1] y) { y = Identity(x) }")
    assert not verify(right, wrong, user_inputs=[], batches=[16]).passed


def test_operators_without_double_kernels_fall_back(make):
    text = """g (float[B,1,8] x) => (float[B,1,8] y) { y = Conv<kernel_shape=[3], pads=[1, 1]>(x, w) }"""
    model = make(text, w=np.ones((1, 1, 3), np.float32))
    report = verify(model, model, user_inputs=[], batches=[2])
    assert report.passed
    assert report.outputs[0].error_vs_float64 is not None or any("float64" in note for note in report.notes)


def test_a_small_fault_within_the_tolerance_is_noted(original, optimized):
    report = verify(original, changed(optimized, "w_user", 1e-5), batches=[7])
    assert report.passed
    assert any("within tolerance, but" in note for note in report.notes)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("low = Constant<value_float=-1e6>() h = Add(x, low) y = Relu(h)", "0 everywhere"),
        ("high = Constant<value_float=1e6>() h = Add(x, high) y = Sigmoid(h)", "1 everywhere"),
        ("y = Sigmoid(x)", ""),
    ],
)
def test_an_output_that_is_one_number_is_noted(make, end, said):
    model = make(f"g (float[B,2] x) => (float[B,2] y) {{ {end} }}")
    report = verify(model, model, user_inputs=[])
    assert report.passed
    assert any("everywhere" in note for note in report.notes) == bool(said)
    assert said in " ".join(report.notes)


def test_models_that_draw_numbers_in_another_way_have_no_float64_run(make):
    chosen = "r = Multinomial<sample_size=2>(x) s = Sub(r, r) z = Cast<to=1>(s)"
    model = make(f"g (float[B,2] x) => (float[B,2] y) {{ {chosen} y = Add(x, z) }}")
    report = verify(model, model, user_inputs=[], batches=[2])
    assert report.passed
    assert report.outputs[0].error_vs_float64 is None
    assert any("random numbers" in note for note in report.notes)


def test_large_models_have_no_float64_run(original, optimized, monkeypatch):
    monkeypatch.setattr("mari_onnx.verification.reference.LARGEST_WEIGHTS", 8)
    report = verify(original, optimized, batches=[2])
    assert report.passed
    assert report.outputs[0].error_vs_float64 is None
    assert any("MiB" in note for note in report.notes)


def test_errors_are_one_sentence(tmp_path, make, original, optimized, monkeypatch):
    (tmp_path / "no.onnx").write_bytes(b"this is no model at all")
    (tmp_path / "empty.onnx").write_bytes(b"")
    broken = make("g (float[B] x) => (float[B] y) { y = Sqrt(x, x) }")
    for model in (tmp_path / "absent.onnx", tmp_path / "no.onnx", tmp_path / "empty.onnx", broken):
        with pytest.raises(ModelError) as caught:
            verify(model, optimized)
        assert "\n" not in str(caught.value)
        assert "original model" in str(caught.value)
    with pytest.raises(ModelError, match="optimized model"):
        verify(original, broken)
    impossible = make("g (float[B,3] x) => (float[B,3] y) { s = Constant<value_ints=[5, 7]>() y = Reshape(x, s) }")
    with pytest.raises(ModelError, match="none of the drawn inputs"):
        verify(impossible, impossible, user_inputs=[])
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"pip install 'mari-onnx\[cpu\]'"):
        verify(original, optimized)


def test_external_weights_of_a_model_in_memory_are_refused(tmp_path, original, optimized):
    onnx.save(original, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    loose = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    with pytest.raises(ModelError, match="external file"):
        verify(loose, optimized)


@pytest.mark.parametrize("options", [{"batches": []}, {"batches": [0]}, {"seeds": 0}])
def test_impossible_options(original, optimized, options):
    with pytest.raises(UsageError):
        verify(original, optimized, **options)


@pytest.mark.parametrize("batch", ["B", "6"])
def test_scores_with_the_candidates_behind(make, batch):
    """Scores that are lost beside a row of large numbers, and of which the order is lost."""
    text = f"""g (float[{batch},4] user, float[{batch},4] item) => (float[2,{batch}] y)
        <int64[1] one = {{1}}, float big = {{100000000}}> {{
        s = Mul(user, item) t = ReduceSum(s, one) score = Sigmoid(t)
        large = ReduceSum(item, one) larger = Mul(large, big)
        both = Concat<axis = 1>(larger, score) y = Transpose<perm = [1, 0]>(both)
    }}"""
    original = make(text)
    assert verify(original, original, user_inputs=USER).passed
    wrong = verify(original, make(text.replace("Sigmoid(t)", "Neg(t)")), user_inputs=USER)
    assert not wrong.passed
    assert not wrong.ranking_unchanged


def test_near_ties_may_swap(make, original):
    score = np.array([0.5, 0.50001, 0.1, 0.9])
    swapped = np.array([0.50001, 0.5, 0.1, 0.9])
    assert ranking_kept(score, swapped, Tolerance(1e-4, 1e-5)) is True
    assert ranking_kept(score, swapped, Tolerance(1e-7, 1e-7)) is False
    assert ranking_kept(score[:, None], swapped[:, None], Tolerance(1e-4, 1e-5)) is True


def test_rankings_by_column():
    one = np.array([[1.0, 3.0], [2.0, 1.0]])
    assert ranking_kept(one, one * 2 + 1, Tolerance(1e-4, 1e-5)) is True
    assert ranking_kept(one, one[::-1].copy(), Tolerance(1e-4, 1e-5)) is False
    mixed = one.copy()
    mixed[:, 1] = mixed[::-1, 1]
    assert ranking_kept(one, mixed, Tolerance(1e-4, 1e-5)) is False


def test_no_ranking():
    tolerance = Tolerance(1e-4, 1e-5)
    for array in (np.zeros((3, 2, 2)), np.zeros(3, np.int64), np.zeros(1), np.float64(1.0)):
        assert ranking_kept(array, array, tolerance) is None
    assert ranking_kept(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), tolerance) is True


@settings(max_examples=200)
@given(
    st.lists(st.integers(-30, 30), min_size=2, max_size=12),
    st.randoms(use_true_random=False),
    st.integers(0, 3),
)
def test_ranking_agrees_with_all_pairs(scores, random, noise):
    """The sorted scan and the definition (no clearly ordered pair is reversed, or becomes a tie) agree."""
    one = np.array(scores, float)
    two = one + np.array([random.randint(-noise, noise) for _ in scores])
    tolerance = Tolerance(0.0, 1.0)
    reversed_pair = any(
        (one[i] - one[j] > 1.0 and two[i] < two[j]) or (one[i] - one[j] > 2.0 and two[i] == two[j])
        for i in range(len(scores))
        for j in range(len(scores))
    )
    assert ranking_kept(one, two, tolerance) is not reversed_pair


def cancelling(make, last):
    """What is left of a large number after rounding."""
    return make(
        f"""g (float[B,1] user, float[B,1] item) => (float[B,1] score) {{
            big = Constant<value = float[1] {{30000}}>() bigger = Constant<value = float[1] {{300000}}>()
            {last} score = Identity(left)
        }}"""
    )


def test_what_rounding_does_is_said(make):
    one = cancelling(make, "x = Add(user, big) y = Add(x, item) left = Sub(y, big)")
    other = cancelling(make, "x = Add(user, bigger) y = Add(x, item) left = Sub(y, bigger)")
    report = verify(one, other, user_inputs=USER)
    assert not report.passed
    assert "amplifies rounding" in report.sensitivity
    assert "--atol" in report.sensitivity


def test_what_is_wrong_is_not_put_down_to_rounding(original, optimized):
    assert verify(original, changed(optimized, "w_user", 1e-2)).sensitivity == ""
    assert verify(original, optimized).sensitivity == ""


def ties(make, order):
    """Pairs of columns that are equal but for rounding, of which the larger one is chosen."""
    rng = np.random.default_rng(0)
    w, shuffled = rng.standard_normal((64, 20)).astype(np.float32), rng.permutation(64)
    text = f"""g (float[B,32] user, float[B,32] item) => (int64[B] best, float[B] value) {{
        x = Concat<axis = 1>(user, item) one = MatMul(x, w) y = Gather<axis = 1>(x, shuffled) two = MatMul(y, v)
        all = Concat<axis = 1>({order}) best = ArgMax<axis = 1, keepdims = 0>(all) value = Gather(values, best)
    }}"""
    values = np.arange(40, dtype=np.float32)
    return make(text, w=w, v=w[shuffled], shuffled=shuffled, values=values)


def test_ties_of_the_model_are_said(make):
    """Which of two equal columns comes first decides, in the original as well."""
    report = verify(ties(make, "one, two"), ties(make, "two, one"), user_inputs=USER)
    best, value = report.outputs
    assert best.choices.original
    assert best.choices.optimized
    assert best.choices.entries == 64
    assert "rounding decides what the model chooses: against float64" in report.sensitivity
    only_value = replace(report, outputs=(value,))
    assert "rounding decides what the model chooses: against float64 the original is" in only_value.sensitivity
    assert "--atol" not in only_value.sensitivity


def test_other_choices_are_not_put_down_to_rounding(make):
    text = """g (float[B,3] user, float[B,2] item) => (int64[B] best) {
        x = Concat<axis = 1>(user, item) best = ArgM<axis = 1, keepdims = 0>(x) }"""
    wrong = verify(make(text.replace("ArgM", "ArgMax")), make(text.replace("ArgM", "ArgMin")), user_inputs=USER)
    assert not wrong.passed
    assert wrong.sensitivity == ""


def rounded(make, *, shuffle: bool):
    """Sums of large columns that cancel out, in one order or another, rounded to integers of a scale of their own."""
    rng = np.random.default_rng(0)
    w, order = rng.standard_normal((64, 400)).astype(np.float32), rng.permutation(64) if shuffle else np.arange(64)
    w -= w.mean(axis=0)
    text = """g (float[B,32] user, float[B,32] item) => (float[B,400] score) {
        x = Concat<axis = 1>(user, item) y = Gather<axis = 1>(x, order)
        large = Constant<value = float[1] {300}>() shifted = Add(y, large) sums = MatMul(shifted, w)
        q, s, z = DynamicQuantizeLinear(sums) score = DequantizeLinear(q, s, z)
    }"""
    return make(text, w=w[order], order=order)


def test_what_rounding_to_integers_does_is_said(make):
    report = verify(rounded(make, shuffle=False), rounded(make, shuffle=True), user_inputs=USER)
    (score,) = report.outputs
    assert not report.passed
    assert score.nudged == pytest.approx(score.max_abs, rel=0.5)  # one step of the scale
    assert "as it rounds to integers while it runs" in report.sensitivity
    assert "--atol" in report.sensitivity


def test_what_is_wrong_is_not_put_down_to_rounding_to_integers(make):
    right = rounded(make, shuffle=False)
    assert verify(right, changed(right, "w", 1e3), user_inputs=USER).sensitivity == ""


def test_rounding_to_integers_is_not_said_of_other_models(original):
    assert run_nudged(open_source(original), {}) == {}


BURNT = """
score (float[B,3] user, float[B,2] item) => (float[B,1] score) {
  x = Concat<axis=1>(user, item)
  r = Reshape(x, to)
  score = MatMul(r, w)
}
"""


def test_a_number_of_rows_that_the_exporter_wrote_into_the_graph(make, weight):
    model = make(BURNT, to=np.array([24, 5]), w=weight)
    with pytest.raises(ModelError, match=r"it runs with 24 candidates, and with none .* or say --batch 24") as caught:
        verify(model, model, user_inputs=USER)
    assert "samples" not in str(caught.value)
    assert "Input shape:{1,5}, requested shape:{24,5}" in str(caught.value)
    assert verify(model, model, user_inputs=USER, batches=[24]).passed


TRACED = """
score (float[B,3] user, int64[B,3] places, float[B,3] item) => (float[B] score) {
  moved = Add(user, rows)
  read = GatherElements<axis=1>(moved, places)
  both = Mul(read, item)
  score = ReduceSum<keepdims=0>(both, axes)
}
"""
"""What a trace made of numpy code leaves: a constant with a row for each of five candidates."""
TRACED_OPTIMIZED = """
score (float[1,3] user, int64[1,3] places, float[B,3] item) => (float[B] score) {
  one = Constant<value_ints=[1]>() b = Shape<start=0, end=1>(item) to = Concat<axis=0>(b, one)
  every = Expand(user, to) all = Expand(places, to)
  moved = Add(every, rows)
  read = GatherElements<axis=1>(moved, all)
  both = Mul(read, item)
  score = ReduceSum<keepdims=0>(both, axes)
}
"""


def test_one_row_that_is_taken_by_chance_is_not_what_the_exporter_meant(make):
    """With one row of the user's, the original broadcasts it against the rows of the trace, and reads the first."""
    parts = {"rows": np.arange(15, dtype=np.float32).reshape(5, 3), "axes": np.array([1])}
    model, result = make(TRACED, **parts), make(TRACED_OPTIMIZED, **parts)
    at_five = verify(model, result, user_inputs=["user", "places"], batches=[5])
    assert at_five.passed
    assert not any("one row of the user inputs" in note for note in at_five.notes)
    asked = verify(model, result, user_inputs=["user", "places"], batches=[1, 2, 7])
    assert asked.batches == (1,)
    assert any("runs with 5 candidates, and not with 2, 7, though" in note for note in asked.notes)


def test_a_number_that_is_no_number_of_rows(make):
    """An item without a name for its rows is tried with four, and the graph has a weight with as many: it takes any."""
    text = """
        score (float[B,3] user, float[B,3] item, float[more,3] item_more) => (float[B,1] score) {
          both = Add(item, item_more) wide = MatMul(both, w) mixed = Mul(wide, wide) own = MatMul(mixed, v)
          sums = ReduceSum<keepdims=1>(user, axes) score = Add(own, sums)
        }"""
    weights = {"w": np.ones((3, 4), np.float32), "v": np.ones((4, 1), np.float32), "axes": np.array([1])}
    model = make(text, **weights)
    model.graph.input[2].type.tensor_type.shape.dim[0].Clear()
    report = optimize(model, ["user"]).verification
    assert report.passed
    assert not any("written" in note for note in report.notes)


def test_what_the_runtime_does_not_run_whatever_it_is_given(make):
    """A mask for all queries alike, which the standard allows: samples do not help."""
    model = make(
        """score (float[B,2,3,4] item, float[B,2,5,4] user, bool[B,1,1,5] seen) => (float[B,2,3,4] score) {
            score = Attention(item, user, user, seen)
        }"""
    )
    model.opset_import[0].version, model.ir_version = 23, 11
    with pytest.raises(ModelError, match=r"fails in the same way .* another opset may help; .*Attention"):
        verify(model, model, user_inputs=["user", "seen"])


def test_what_runs_with_no_number_of_rows_that_is_worth_a_try(make, weight):
    model = make(BURNT, to=np.array([5000, 5]), w=weight)
    with pytest.raises(ModelError, match="it runs on none of the drawn inputs; give samples"):
        verify(model, model, user_inputs=USER)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'r' Status"
            " Message: /src/core/reshape_helper.h:91 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::"
            "TensorShape&, bool) input_shape_size == size was false. Input shape:{2,3}",
            "Non-zero status code returned while running Reshape node. Name:'r' Status Message: input_shape_size =="
            " size was false. Input shape:{2,3}",
        ),
        (
            "/src/math/element_wise_ops.h:583 void onnxruntime::BroadcastIterator::Init(ptrdiff_t, ptrdiff_t) axis == 1"
            " || axis == largest was false. 10 by 13",
            "axis == 1 || axis == largest was false. 10 by 13",
        ),
        ("matmul_helper.h:144 Compute right operand (of two)", "Compute right operand (of two)"),
        ("a message of its own (without a place)", "a message of its own (without a place)"),
    ],
)
def test_messages_of_the_runtime_say_what_and_not_where(said, wanted):
    assert runtime_message(RuntimeError(said)) == wanted
