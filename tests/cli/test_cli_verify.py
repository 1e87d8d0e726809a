from __future__ import annotations

import onnx
import pytest

from tests import rankers


@pytest.fixture
def result(cli, model, out):
    assert cli("optimize", model, out, "--user", "user_x", "--no-benchmark", "--seeds", "1").status == 0
    return out


def test_equal_models(cli, model, result):
    done = cli("verify", model, result)
    assert done.status == 0
    assert "score" in done.out
    assert "verified: 1 output, 9 runs at batch 1, 2, 7, 64" in done.out


def test_batches_and_seeds(cli, model, result):
    done = cli("verify", model, result, "--batch", "3,5", "--seeds", "4", "--json", "-")
    assert done.json["verification"]["batches"] == [3, 5]
    assert done.json["verification"]["runs"] == 9


def test_models_that_differ_are_status_1(cli, model, tmp_path):
    other = rankers.ranker()
    other.graph.initializer[1].CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(other.graph.initializer[1]) + 1, "b")
    )
    path = rankers.save(other, tmp_path / "other.onnx")
    done = cli("verify", model, path)
    assert done.status == 1
    assert "FAILED: 1 of 1 outputs differ; score:" in done.out
    quiet = cli("verify", model, path, "-q")
    assert (quiet.status, quiet.err) == (1, "")
    assert "FAILED" in quiet.out
    assert cli("verify", model, path, "--json").json["status"] == "verification failed"


def test_a_tolerance_can_be_given(cli, model, tmp_path):
    other = rankers.ranker()
    array = onnx.numpy_helper.to_array(other.graph.initializer[2])
    other.graph.initializer[2].CopyFrom(onnx.numpy_helper.from_array(array * 1.01, "v"))
    path = rankers.save(other, tmp_path / "other.onnx")
    assert cli("verify", model, path).status == 1
    assert cli("verify", model, path, "--rtol", "0.1", "--atol", "1").status == 0


def test_external_data_is_found_beside_each_model(cli, tmp_path, out):
    source = rankers.with_tables(tmp_path / "in")
    assert cli("optimize", source, out, "--user", "user_id", "--no-benchmark", "-q").status == 0
    assert cli("verify", source, out).status == 0


def test_what_cannot_be_read_is_status_2(refused, model, tmp_path):
    assert "no such file" in refused("verify", model, tmp_path / "no.onnx")
    assert "no such file" in refused("verify", tmp_path / "no.onnx", model)


def test_more_candidates_than_memory_takes_are_refused_and_not_timed(cli, refused, model, result, out):
    assert "more than 1 GiB" in refused("verify", model, result, "--batch", 10**9)
    done = cli("optimize", model, out, "--user", "user_*", "--candidates", 10**9)
    assert done.status == 0
    assert any("more than 1 GiB" in line for line in done.messages)


def test_an_unknown_user_input(refused, model, result):
    assert "'nobody'" in refused("verify", model, result, "--user", "nobody")


def test_models_the_other_way_round(refused, model, result):
    for verb in (["verify"], ["bench", "--candidates", "2"]):
        message = refused(*verb, result, model)
        assert "the models are the other way round" in message
        assert "as its input 'user_x' shows" in message
        assert message.endswith("name the original first")


def test_a_stacked_input_tells_the_other_way_round_as_well(cli, refused, tmp_path, out):
    body = "g (float[B,8] X) => (float[B,4] score) { h = Gemm(X, w) score = Relu(h) }"
    source = rankers.save(rankers.text(body, w=(8, 4)), tmp_path / "stacked.onnx")
    assert cli("optimize", source, out, "--user", "X[:, 0:6]", "--no-benchmark", "-q").status == 0
    assert cli("verify", source, out).status == 0
    assert "as its input 'X_user' shows" in refused("verify", out, source)


def test_the_other_way_round_is_told_where_inputs_keep_their_rows(cli, model, out):
    assert cli("optimize", model, out, "--user", "user_x", "--keep-signature", "--no-benchmark", "-q").status == 0
    done = cli("verify", out, model)
    assert done.status == 1
    assert any("the original has to be named first" in line for line in done.messages)
    assert cli("verify", model, out).messages == []


def test_what_a_tool_made_of_a_result_may_be_compared_with_it(cli, result, tmp_path):
    other = onnx.load(result)
    del other.metadata_props[:]
    assert cli("verify", result, rankers.save(other, tmp_path / "other.onnx")).status == 0
