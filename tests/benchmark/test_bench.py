"""What a benchmark reports. Nothing is said of how long anything takes."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import mari_onnx
from mari_onnx import ModelError, UsageError, VerificationError, turns
from mari_onnx.benchmark.job import Store, read_arrays
from mari_onnx.benchmark.report import summarise
from mari_onnx.runtime import session
from models import catalog
from tests import rankers

SHORT = {"seconds": 0.01, "verify": False}
SIDES = ("vanilla", "one-shot", "full", "floor")


def test_all_sides_at_all_sizes():
    report = mari_onnx.bench(rankers.ranker(), None, ["user_x"], candidates=(3, 1, 3), threads=(2, 1), seconds=0.01)
    found = [(one.threads, one.candidates, one.side) for one in report.measured]
    assert found == list(itertools.product((2, 1), (3, 1), SIDES))
    assert (report.sides, report.provider, report.user_inputs, report.notes) == (SIDES, "cpu", ("user_x",), ())
    assert report.machine.onnxruntime
    assert report.machine.cores >= 1
    for one in report.measured:
        assert 0 < one.quartiles[0] <= one.milliseconds <= one.quartiles[1]
        assert one.runs >= turns.FEWEST_TURNS * turns.ROUNDS_OF_HEAVY
        assert one.candidates_per_second == pytest.approx(1e3 * one.candidates / one.milliseconds)
    assert report.of("vanilla", 3).over_vanilla == 1
    assert report.of("floor", 3, threads=2).of_floor == 1
    there = "sides are vanilla, one-shot, full, floor, the candidates and threads 1 and 1, 1 and 2, 3 and 1, 3 and 2"
    for side, candidates in (("full", 2), ("ful", 3)):
        with pytest.raises(UsageError, match=f"'{side}' was not measured at {candidates} candidates .*{there}"):
            report.of(side, candidates)


def test_two_models(tmp_path):
    model = rankers.save(rankers.ranker(), tmp_path / "a.onnx")
    mari_onnx.optimize(model, ["user_x"], verify=False).save(tmp_path / "b.onnx")
    report = mari_onnx.bench(model, tmp_path / "b.onnx", candidates=(2,), seconds=0.01, seeds=1)
    assert [one.side for one in report.measured] == ["vanilla", "result", "floor"]
    assert report.user_inputs == ("user_x",)


def test_two_models_that_differ():
    other = rankers.ranker()
    other.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.full(32, 9, np.float32), "b"))
    result = mari_onnx.optimize(other, ["user_x"], verify=False).model
    with pytest.raises(VerificationError, match="score"):
        mari_onnx.bench(rankers.ranker(), result, candidates=(2,), seconds=0.01)


def test_a_result_that_keeps_its_rows_has_a_floor():
    result = mari_onnx.optimize(rankers.ranker(), ["user_x"], verify=False, keep_signature=True).model
    report = mari_onnx.bench(rankers.ranker(), result, candidates=(3,), **SHORT)
    assert report.sides == ("vanilla", "result", "floor")


def test_an_input_with_columns_of_both_sides_cannot_be_frozen():
    original = rankers.text(
        "r (float[B,6] X) => (float[B,1] y) { h = MatMul(X, w) \n y = MatMul(h, v) }", w=(6, 4), v=(4, 1)
    )
    result = mari_onnx.optimize(original, ["X[:, 0:4]"], verify=False, keep_signature=True).model
    report = mari_onnx.bench(original, result, candidates=(3,), **SHORT)
    assert report.sides == ("vanilla", "result")
    assert report.notes == ("no floor: there are columns of user and items in X",)
    assert all(one.of_floor is None for one in report.measured)


def test_columns_of_one_input():
    original = rankers.text(
        "r (float[B,6] X) => (float[B,1] y) { h = MatMul(X, w) \n y = MatMul(h, v) }", w=(6, 4), v=(4, 1)
    )
    result = mari_onnx.optimize(original, ["X[:, 0:4]"], verify=False).model
    for report in (
        mari_onnx.bench(original, None, ["X[:, 0:4]"], candidates=(3,), **SHORT),
        mari_onnx.bench(original, result, candidates=(3,), **SHORT),
    ):
        assert report.sides[-1] == "floor"
        assert report.notes == ()


def test_a_fixed_batch():
    meta = next(m for m in catalog.exported() if m.name == "fixed_batch_dnn_dyn")
    report = mari_onnx.bench(meta.path, None, list(meta.user_inputs), **SHORT)
    assert {one.candidates for one in report.measured} == {meta.fixed_batch}
    assert f"the original has a fixed batch of {meta.fixed_batch}, so only that one was run" in report.notes


def test_weights_in_files(tmp_path):
    path = rankers.with_tables(tmp_path)
    assert mari_onnx.bench(path, None, ["user_id"], candidates=(2,), **SHORT).sides == SIDES


def test_text_cannot_be_bound():
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
        r (string[B,1] user_s, float[B,4] item_x) => (float[B,5] y) {
            u = ai.onnx.ml.LabelEncoder<keys_strings = ["a", "b"], values_floats = [1.0, 2.0]>(user_s)
            x = Concat<axis = 1>(u, item_x)
            y = Relu(x)
        }""")
    assert mari_onnx.bench(model, None, ["user_s"], candidates=(2,), **SHORT).sides == SIDES


def test_a_size_that_the_original_does_not_take():
    original = rankers.text(
        """r (float[B,4] user_x, float[B,4] item_x) => (float[C,4] y) {
            h = Add(user_x, item_x)
            y = Reshape(h, s)
        }"""
    )
    original.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 8], np.int64), "s"))
    report = mari_onnx.bench(original, None, ["user_x"], candidates=(1, 2), **SHORT)
    assert {one.candidates for one in report.measured} == {2}
    assert report.notes[-1].startswith("1 candidates were left out: the original fails at 1 candidates")
    with pytest.raises(ModelError, match="nothing could be measured: 1 candidates were left out"):
        mari_onnx.bench(original, None, ["user_x"], candidates=(1,), **SHORT)


def test_a_side_that_the_runtime_does_not_take_is_left_out(monkeypatch):
    def broken(contest, request):
        return helper.make_model(helper.make_graph([], "g", [], [helper.make_tensor_value_info("y", 1, [1])]))

    monkeypatch.setattr("mari_onnx.benchmark.run.floor_of", broken)
    report = mari_onnx.bench(rankers.ranker(), None, ["user_x"], candidates=(2,), **SHORT)
    assert report.sides == SIDES[:3]
    assert report.notes[-1].startswith("floor was left out at 2 candidates: ")


@pytest.mark.parametrize("wrong", [{"candidates": ()}, {"candidates": (0,)}, {"threads": (0,)}, {"seconds": 0}])
def test_wrong_arguments(wrong):
    with pytest.raises(UsageError):
        mari_onnx.bench(rankers.ranker(), None, ["user_x"], **wrong)


def test_an_execution_provider_that_is_not_there():
    with pytest.raises(UsageError, match=r"no execution provider 'nothing'; it has: .*cpu"):
        mari_onnx.bench(rankers.ranker(), None, ["user_x"], provider="nothing")
    assert (
        mari_onnx.bench(
            rankers.ranker(), None, ["user_x"], provider="CPUExecutionProvider", candidates=(1,), **SHORT
        ).provider
        == "cpu"
    )


def test_a_measuring_process_that_dies(monkeypatch):
    def run(command, stdout, **options):
        assert command[0] == sys.executable
        stdout.write("before\n\x1b[0;93m2026-01-01 10:00:00.1 [W:onnxruntime:Default, a.cc:1 f] the reason\x1b[m\n")
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr("mari_onnx.benchmark.process.subprocess.run", run)
    with pytest.raises(ModelError, match=r"^the process that measures ended with status 7: the reason$"):
        mari_onnx.bench(rankers.ranker(), None, ["user_x"], candidates=(1,), **SHORT)


def test_figures_of_turns():
    turns = {"vanilla": [2.0, 4.0, 6.0], "full": [1.0, 1.0, 2.0], "floor": [0.5, 1.0, 1.0]}
    vanilla, full, floor = summarise(turns, candidates=10, threads=1)
    assert (full.milliseconds, full.quartiles, full.runs) == (1000.0, (1000.0, 1500.0), 3)
    assert full.over_vanilla == 3.0  # of 2, 4 and 3, each in a turn of its own
    assert (vanilla.of_floor, full.of_floor, floor.of_floor) == (0.25, 0.5, 1.0)
    assert full.candidates_per_second == 10.0
    assert summarise({"vanilla": [1.0]}, 1, 1)[0].of_floor is None


def test_arrays_of_all_types_are_handed_over(tmp_path):
    half = helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)
    given = [
        np.arange(6, dtype=np.int64).reshape(2, 3).T,
        np.array(1.5, np.float16),
        np.array([["a", "\u00e4b"]], dtype=object),
        np.array([1, 2], half),
    ]
    store = Store()
    keys = [store.put(array) for array in given]
    assert store.put(given[0]) == keys[0]
    store.write(tmp_path)
    read = [read_arrays(tmp_path)[key] for key in keys]
    for before, after in zip(given[:3], read[:3], strict=True):
        np.testing.assert_array_equal(before, after)
        assert before.dtype == after.dtype
        assert after.flags.c_contiguous
    assert store.types == {keys[3]: TensorProto.BFLOAT16}
    np.testing.assert_array_equal(read[3].view(half), given[3])


def test_the_processes_leave_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mari_onnx.bench(rankers.ranker(), None, ["user_x"], candidates=(2,), **SHORT)
    assert list(tmp_path.iterdir()) == []


def test_samples_are_what_is_fed(monkeypatch):
    seen = []

    def measure(job, folder):
        seen.append({e.side: {n: read_arrays(folder)[k] for n, k in e.feeds.items()} for e in job.entrants})
        (floor,) = (e for e in job.entrants if e.side == "floor")
        seen.append(
            session(floor.model, threads=1).run(None, {n: read_arrays(folder)[k] for n, k in floor.feeds.items()})
        )
        return {e.side: [1.0] for e in job.entrants}, {}

    monkeypatch.setattr("mari_onnx.benchmark.run.measure", measure)
    model, rng = rankers.ranker(), np.random.default_rng(0)
    samples = {
        "user_x": rng.normal(size=(9, 64)).astype(np.float32),
        "item_x": rng.normal(size=(9, 4)).astype(np.float32),
    }
    mari_onnx.bench(model, None, ["user_x"], candidates=(4,), verify=False, samples=samples)
    feeds, (scores,) = seen
    assert any((feeds["vanilla"]["user_x"] == row).all() for row in samples["user_x"])
    assert feeds["full"]["user_x"].shape == (1, 64)
    assert set(feeds["floor"]) == {"item_x"}
    (wanted,) = session(model, threads=1).run(None, feeds["vanilla"])
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5)
