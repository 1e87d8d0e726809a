from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest

from tests import rankers

SHORT = ("--seconds", "0.01", "--candidates", "1,3")
USER = ("--user", "user_*")


@pytest.fixture
def result(cli, model, out):
    assert cli("optimize", model, out, *USER, "--no-benchmark", "--no-verify").status == 0
    return out


def test_the_table(cli, model):
    done = cli("bench", model, *USER, *SHORT, "--threads", "1,2")
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("cpu on ")
    assert [line for line in lines if "thread" in line] == ["1 thread", "2 threads"]
    head = next(line for line in lines if line.startswith("candidates"))
    for column in ("side", "median", "quartiles", "candidates/s", "over vanilla", "of the floor's speed"):
        assert column in head
    rows = [line.split()[:2] for line in lines if line[:10].strip().isdigit()]
    sides = ("vanilla", "one-shot", "full", "floor")
    assert rows == [[size, side] for _ in range(2) for size in ("1", "3") for side in sides]
    assert "floor: the one before with the user's inputs frozen" in done.out
    assert "measuring the time of all sides" in done.err


def test_two_models_as_json_in_a_file(cli, model, result, tmp_path):
    target = tmp_path / "times.json"
    done = cli("bench", model, result, *SHORT, "--json", target, "-q")
    assert (done.status, done.out, done.err) == (0, "", "")
    document = json.loads(target.read_text())
    assert (document["input"], document["result"]) == (str(model), str(result))
    assert [side["side"] for side in document["sides"]] == ["vanilla", "result", "floor"]
    assert [(one["candidates"], one["side"]) for one in document["measured"]] == [
        (size, side) for size in (1, 3) for side in ("vanilla", "result", "floor")
    ]
    for one in document["measured"]:
        assert one["quartiles"][0] <= one["milliseconds"] <= one["quartiles"][1]
        assert one["candidates_per_second"] == pytest.approx(1e3 * one["candidates"] / one["milliseconds"])


def test_a_glob_names_the_users_inputs_of_two_models(cli, model, result):
    assert cli("bench", model, result, *USER, *SHORT, "--json").json["user_inputs"] == ["user_x"]


def test_a_plot(cli, model, tmp_path):
    pytest.importorskip("matplotlib")
    done = cli("bench", model, *USER, *SHORT, "--plot", tmp_path / "times.svg")
    assert done.status == 0, done.err
    assert done.out.endswith(f"written: {tmp_path / 'times.svg'}\n")
    assert ">model<" in (tmp_path / "times.svg").read_text()


def test_samples(cli, model, tmp_path):
    np.savez(tmp_path / "s.npz", user_x=np.ones((2, 64), np.float32), item_x=np.ones((2, 4), np.float32))
    assert cli("bench", model, *USER, *SHORT, "--samples", tmp_path / "s.npz", "-q").status == 0


def test_a_model_of_a_fixed_batch(cli, tmp_path):
    fixed = rankers.ranker()
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 7
    path = rankers.save(fixed, tmp_path / "fixed.onnx")
    document = cli("bench", path, *USER, *SHORT, "--json").json
    assert {one["candidates"] for one in document["measured"]} == {7}


def test_models_that_differ_are_status_1(cli, model, result, tmp_path):
    other = onnx.load(model)
    other.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.full(32, 9, np.float32), "b"))
    done = cli("bench", rankers.save(other, tmp_path / "other.onnx"), result, *SHORT)
    assert done.status == 1
    assert "1 of 1 outputs differ" in done.err


def test_what_cannot_be_measured_is_status_2(refused, model, result, tmp_path):
    assert "no such file" in refused("bench", tmp_path / "no.onnx")
    assert "no such file" in refused("bench", model, tmp_path / "no.onnx")
    assert "no input 'nobody'" in refused("bench", model, "--user", "nobody")
    assert "no input 'nobody'" in refused("bench", model, result, "--user", "nobody")
    message = refused("bench", model, "--provider", "abacus")
    assert re.search(r"has no execution provider 'abacus'; it has: (\w+, )*cpu", message)  # some builds have others
    assert "there is no rule" in refused("bench", model, *USER, "--disable", "nothing")
    assert "there is B already" in refused("bench", model, result, "--disable", "broadcast")
    assert "there is B already" in refused("bench", model, result, "--optimize-for", "8")


def test_files_that_cannot_be_written_are_refused_before_any_work(refused, model, tmp_path, monkeypatch):
    monkeypatch.setattr("mari_onnx.benchmark.plot.find_spec", lambda name: object())
    nowhere = tmp_path / "nowhere" / "a.svg"
    assert "its folder does not exist" in refused("bench", model, "--plot", nowhere)
    assert "its folder does not exist" in refused("bench", model, f"--json={nowhere}")
    assert "a plot is a .png or .svg file" in refused("bench", model, "--plot", tmp_path / "a.txt")
    monkeypatch.setattr("mari_onnx.benchmark.plot.find_spec", lambda name: None)
    assert "pip install 'mari-onnx[plot]'" in refused("bench", model, "--plot", tmp_path / "a.svg")
