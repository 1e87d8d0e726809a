"""Commands are run in this process, through the function that the console script calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mari_onnx.cli import main
from tests import rankers


@dataclass(frozen=True)
class Done:
    """A command that has run."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)

    @property
    def messages(self) -> list[str]:
        """Standard error without the lines that name stages."""
        from mari_onnx.cli.progress import STAGES

        stages = {f"mari-onnx: {label}" for label in STAGES.values()}
        return [line for line in self.err.splitlines() if line not in stages]


Command = Callable[..., Done]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`cli("optimize", path, ...)` runs a command."""
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*args: object) -> Done:
        capsys.readouterr()
        status = main([str(a) for a in args])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small ranker in a folder of its own."""
    return rankers.save(rankers.ranker(), tmp_path / "in" / "model.onnx")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a result may go: in another folder than `model`, which holds nothing else."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "model.onnx"


@pytest.fixture
def refused(cli: Command, out: Path) -> Command:
    """Like `cli` for a command that has to fail with one sentence, no traceback, and nothing written."""

    def run(*args: object, status: int = 2) -> str:
        before = sorted(p.name for p in out.parent.iterdir())
        done = cli(*args)
        assert done.status == status, done.err
        assert done.out == ""
        assert "Traceback" not in done.err
        assert len(done.messages) == 1, done.err
        assert sorted(p.name for p in out.parent.iterdir()) == before
        return done.messages[0]

    return run
