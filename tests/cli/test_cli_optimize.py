from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

import mari_onnx
from mari_onnx.cli.progress import STAGES, Stages
from tests import rankers

QUICK = ("--no-benchmark", "--seeds", "1")


def test_a_model_is_rewritten_verified_and_written(cli, model, out):
    done = cli("optimize", model, out, "--user", "user_*", *QUICK)
    assert done.status == 0, done.err
    result = onnx.load(out)
    onnx.checker.check_model(result, full_check=True)
    assert result.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    assert mari_onnx.verify(model, out).passed
    assert "split-product 1" in done.out
    assert "verified: 1 output" in done.out
    assert "ranking unchanged" in done.out
    assert f"written: {out}" in done.out
    assert all(line.startswith("mari-onnx: ") for line in done.err.splitlines())


def test_output_may_be_an_option(cli, model, out):
    assert cli("optimize", model, "-o", out, "--user", "user_x", *QUICK).status == 0
    assert out.exists()


def test_output_has_to_be_named_once(refused, model, out):
    assert "IN OUT" in refused("optimize", model)
    assert "-o OUT" in refused("optimize", model, out, "-o", out)


def test_the_same_command_gives_the_same_bytes(cli, model, out):
    other = out.with_name("other.onnx")
    for path in (out, other):
        assert cli("optimize", model, path, "--user", "user_x", *QUICK).status == 0
    assert out.read_bytes() == other.read_bytes()


def test_keep_signature(cli, model, out):
    assert cli("optimize", model, out, "--user", "user_x", "--keep-signature", *QUICK).status == 0
    before, after = onnx.load(model), onnx.load(out)
    assert [v.SerializeToString() for v in before.graph.input] == [v.SerializeToString() for v in after.graph.input]


def test_columns_of_a_stacked_input_as_one_argument(cli, tmp_path, out):
    body = "g (float[B,10] X) => (float[B,1] score) { h = MatMul(X, w) r = Relu(h) score = MatMul(r, v) }"
    path = rankers.save(rankers.text(body, w=(10, 64), v=(64, 1)), tmp_path / "stacked.onnx")
    done = cli("optimize", path, out, "--user", "X[:,0:5,7]", *QUICK)
    assert done.status == 0, done.err
    widths = {v.name: v.type.tensor_type.shape.dim[1].dim_value for v in onnx.load(out).graph.input}
    assert widths == {"X_user": 6, "X_item": 4}


def test_item_inputs_alone_make_the_rest_the_users(cli, model, out):
    done = cli("optimize", model, out, "--item", "item_x", "--json", *QUICK)
    assert done.json["report"]["user_inputs"] == ["user_x"]


@pytest.mark.parametrize("disable", [["--disable", "split-product,concat-group"], ["--disable", "split-product"]])
def test_rules_can_be_left_out(cli, model, out, disable):
    done = cli("optimize", model, out, "--user", "user_x", *disable, "--json", *QUICK)
    assert done.status == 0, done.err
    assert "split-product" not in done.json["report"]["rewrites"]


def test_an_unknown_rule_is_refused_with_the_nearest_name(refused, model, out):
    assert "'split-product'" in refused("optimize", model, out, "--user", "user_x", "--disable", "split-products")


def test_json_is_all_there_is_on_standard_output(cli, model, out):
    done = cli("optimize", model, out, "--user", "user_x", "--json", "-", "--seeds", "1")
    found = done.json
    assert found["status"] == "done"
    assert found["verification"]["passed"]
    assert found["timing"]["candidates"] == 512
    assert found["timing"]["before"] > 0
    assert found["report"]["after"]["flops"] < found["report"]["before"]["flops"]
    assert [r["rule"] for r in found["rewrites"]].count("split-product") == 1


def test_json_to_a_file_leaves_the_table(cli, model, out, tmp_path):
    done = cli("optimize", model, out, "--user", "user_x", "--json", tmp_path / "report.json", *QUICK)
    assert json.loads((tmp_path / "report.json").read_text())["verb"] == "optimize"
    assert "nodes" in done.out


def test_json_tells_of_a_failure(cli, model, out):
    done = cli("optimize", model, out, "--user", "nobody", "--json", *QUICK)
    assert done.status == 2
    assert done.json["status"] == "error"
    assert "nobody" in done.json["message"]


def test_json_into_a_missing_folder_is_refused_before_the_work(refused, model, out, tmp_path):
    message = refused("optimize", model, out, "--user", "user_x", "--json", tmp_path / "no" / "a.json")
    assert "--json" in message


def test_quiet_says_nothing(cli, model, out):
    done = cli("optimize", model, out, "--user", "user_x", "-q", *QUICK)
    assert (done.status, done.out, done.err) == (0, "", "")


def test_verbose_lists_the_rewrites(cli, model, out):
    done = cli("optimize", model, out, "--user", "user_x", "-v", *QUICK)
    assert "split-product at Gemm" in done.out


def test_the_table_has_the_measured_time(cli, model, out):
    started = time.perf_counter()
    done = cli("optimize", model, out, "--user", "user_x", "--candidates", "33", "--seeds", "1")
    assert "time per request, B=33, 1 thread" in done.out
    assert time.perf_counter() - started < 30


def test_colours_and_width_are_those_of_the_environment(cli, model, out, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in cli("optimize", model, out, "--user", "user_x", *QUICK).out
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    done = cli("optimize", model, out, "--user", "user_x", *QUICK)
    table = done.out.split("\n\n")[0]
    assert "\x1b[3" not in done.out  # no colour; bold is allowed, see no-color.org
    assert max(len(line) for line in re.sub(r"\x1b\[\d*m", "", table).splitlines()) <= 40


def test_a_guess_is_announced_on_standard_error(cli, model, out):
    done = cli("optimize", model, out, *QUICK)
    assert done.status == 0
    assert any("note: guessed from their names as user-side: user_x" in line for line in done.messages)
    assert "guessed" not in done.out


def test_samples_of_the_callers_own(cli, model, out, tmp_path):
    samples = tmp_path / "samples.npz"
    np.savez(samples, user_x=np.ones((1, 64), np.float32), item_x=np.eye(4, dtype=np.float32))
    done = cli("optimize", model, out, "--user", "user_x", "--samples", samples, "--batch", "1,3", "--json", *QUICK)
    assert done.status == 0, done.err
    assert done.json["verification"]["batches"] == [1, 3]


def test_samples_that_cannot_be_read(refused, model, out, tmp_path):
    assert "no such file" in refused("optimize", model, out, "--user", "user_x", "--samples", tmp_path / "no.npz")
    (tmp_path / "bad.npz").write_text("nothing")
    assert "numpy.savez" in refused("optimize", model, out, "--user", "user_x", "--samples", tmp_path / "bad.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    assert "single array" in refused("optimize", model, out, "--user", "user_x", "--samples", tmp_path / "one.npy")


def test_samples_that_are_objects_or_something_else(refused, model, out, tmp_path):
    path = tmp_path / "samples.npz"
    np.savez(path, user_x=np.array(["a"], object))
    message = refused("optimize", model, out, "--user", "user_x", "--samples", path)
    assert message.endswith("('user_x' cannot be read; text is kept by array.astype(str))")
    path.write_text("{}")
    message = refused("optimize", model, out, "--user", "user_x", "--samples", path)
    assert message.endswith("not a file of arrays as numpy.savez writes it (it is none)")


def test_samples_that_do_not_fit(refused, model, out, tmp_path):
    np.savez(tmp_path / "samples.npz", user_x=np.ones((1, 7), np.float32))
    message = refused("optimize", model, out, "--user", "user_x", "--samples", tmp_path / "samples.npz")
    assert "'user_x' has shape [1, 7]" in message


def test_without_verification_nothing_is_compared(cli, model, out):
    done = cli("optimize", model, out, "--user", "user_x", "--no-verify", "--no-benchmark", "--json")
    assert done.json["verification"] is None
    assert done.json["timing"] is None


def test_what_cannot_be_measured_is_said_and_no_reason_to_fail(cli, model, out, monkeypatch):
    monkeypatch.setattr("mari_onnx.timing.measure", lambda *args: 1 / 0)
    done = cli("optimize", model, out, "--user", "user_x", "--seeds", "1")
    assert done.status == 0
    assert any("could not be measured" in line for line in done.messages)


def test_a_result_can_be_optimized_again(cli, model, out):
    again = out.with_name("again.onnx")
    assert cli("optimize", model, out, "--user", "user_x", *QUICK).status == 0
    done = cli("optimize", out, again, *QUICK)
    assert done.status == 0, done.err
    assert mari_onnx.verify(model, again).passed


def test_a_bug_shows_a_traceback_and_asks_for_a_report(cli, model, out, monkeypatch):
    monkeypatch.setattr("mari_onnx.pipeline.hoist", lambda *args: 1 / 0)
    done = cli("optimize", model, out, "--user", "user_x", *QUICK)
    assert done.status == 70
    assert "Traceback" in done.err
    assert "please report" in done.err
    assert list(out.parent.iterdir()) == []


def test_a_stage_is_told_once_where_there_is_no_terminal(capsys):
    """However often the rules start over, to compare alternatives."""
    with Stages() as tell:
        for stage in ("hoist", "rewrite: 1 of 2 nodes", "rewrite: 2 of 2 nodes", "hoist", "rewrite"):
            tell(stage)
    assert capsys.readouterr().err == f"mari-onnx: {STAGES['hoist']}\nmari-onnx: {STAGES['rewrite']}\n"


def test_an_interrupt_is_no_bug(cli, model, out, monkeypatch):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mari_onnx.cli.optimize.optimize", interrupt)
    done = cli("optimize", model, out, "--user", "user_x", *QUICK)
    assert (done.status, done.messages) == (130, ["mari-onnx: interrupted"])


def test_an_interrupt_behind_the_work_says_that_the_file_is_there(cli, model, out, monkeypatch):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mari_onnx.cli.optimize._show", interrupt)
    done = cli("optimize", model, out, "--user", "user_x", *QUICK)
    assert (done.status, done.messages[-1]) == (130, f"mari-onnx: interrupted; {out} was written")
    assert out.exists()


def test_a_report_that_cannot_be_written_is_no_result_that_cannot(cli, model, out, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mari_onnx.cli.document.write_over", full)
    done = cli("optimize", model, out, "--user", "user_x", *QUICK, f"--json={out.with_suffix('.json')}")
    assert done.status == 2
    assert done.messages[-1].endswith(f": No space left on device; {out} was written")
    assert out.exists()


def test_an_interrupt_before_the_work_is_no_bug_either(cli, monkeypatch):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mari_onnx.cli.arguments.Parser.parse_known_args", interrupt)
    done = cli("rules")
    assert (done.status, done.messages) == (130, ["mari-onnx: interrupted"])


def test_the_console_script_and_the_module_are_the_same(tmp_path):
    command = [sys.executable, "-m", "mari_onnx", "optimize", "absent.onnx", "out.onnx"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "mari-onnx: absent.onnx: no such file"
    assert list(Path(tmp_path).iterdir()) == []
