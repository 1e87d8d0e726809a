"""Readers of what is printed leave early, or cannot take it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from tests import rankers

QUICK = ("--user", "user_x", "--no-benchmark", "--seeds", "1")
FULL = Path("/dev/full")


def run(*args: object, **streams: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mari_onnx", *map(str, args)]
    return subprocess.run(command, text=True, check=False, **{"stderr": subprocess.PIPE, **streams})


@pytest.fixture
def left():
    """A pipe whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        yield stream


@pytest.mark.parametrize(
    "args", [["explain"], ["explain", "--json"], ["rules"], ["rules", "--markdown"], ["rules", "--json"], ["--help"]]
)
def test_whoever_has_seen_enough_may_leave(model: Path, left: IO[str], args: list[str]) -> None:
    done = run(*args, *([model, *QUICK[:2], "-v"] if args[0] == "explain" else []), stdout=left)
    assert done.returncode == 0
    assert "Error" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_status_is_that_of_the_work(model: Path, tmp_path: Path, left: IO[str]) -> None:
    other = rankers.save(
        rankers.text(rankers.BODY.replace("Relu", "Tanh"), w=(68, 32), b=(32,), v=(32, 1)), tmp_path / "o"
    )
    for json in ([], ["--json"]):
        assert run("verify", model, other, *json, stdout=left).returncode == 1
        assert run("explain", tmp_path / "no.onnx", *json, stdout=left).returncode == 2


def test_the_work_is_done_though_nobody_listens(model: Path, out: Path, left: IO[str]) -> None:
    assert run("optimize", model, out, *QUICK, stdout=left, stderr=left).returncode == 0
    assert out.exists()


def test_streams_that_were_closed_before(model: Path, out: Path) -> None:
    command = [sys.executable, "-m", "mari_onnx", "optimize", str(model), str(out), *QUICK]
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *command], check=False)
    assert done.returncode == 0
    assert out.exists()


def test_names_that_the_encoding_lacks(tmp_path: Path) -> None:
    path = rankers.save(rankers.ranker(), tmp_path / "用户.onnx")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run("optimize", path, tmp_path / "出.onnx", *QUICK, stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"written: {tmp_path}/\\u51fa.onnx\n" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="names are bytes there")
def test_names_that_the_locale_lacks(tmp_path: Path) -> None:
    path = rankers.save(rankers.ranker(), tmp_path / "用户.onnx")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("optimize", path, tmp_path / "出.onnx", *QUICK, stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0, done.stderr
    assert "verified: 1 output" in done.stdout
    assert (tmp_path / "出.onnx").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere do not take such names")
def test_names_that_are_not_utf_8(refused, out: Path, tmp_path: Path) -> None:
    path = rankers.save(rankers.ranker(), tmp_path / os.fsdecode(b"bad\xff.onnx"))
    assert "only files whose path is UTF-8" in refused("optimize", path, out, *QUICK)
    assert not out.exists()


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("args", [[], ["--json"], ["--markdown"]])
def test_a_full_disk_is_said(args: list[str]) -> None:
    with FULL.open("w") as full:
        done = run("rules", *args, stdout=full)
    assert done.returncode == 2
    assert done.stderr == "mari-onnx: standard output cannot be written: No space left on device\n"
