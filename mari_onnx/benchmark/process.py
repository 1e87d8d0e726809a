"""Starting a measuring process, and what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mari_onnx.benchmark.job import Job
from mari_onnx.errors import ModelError, UsageError

JOB, RESULT, MESSAGES = "job.json", "result.json", "messages"


def measure(job: Job, folder: Path) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Runs a job in a process of its own.

    Args:
        job: The job.
        folder: Where its arrays lie; other files are put beside them.

    Returns:
        Seconds by side, and by side why it could not be run.

    Raises:
        UsageError: The execution provider does not start.
        ModelError: The process died.
    """
    job.write(folder / JOB)
    (folder / RESULT).unlink(missing_ok=True)
    # -P: what lies in the current folder is not to be taken for a module of that name.
    command = [sys.executable, "-P", "-m", "mari_onnx.benchmark.worker", str(folder / JOB), str(folder / RESULT)]
    with (folder / MESSAGES).open("w") as messages:
        done = subprocess.run(command, stdout=messages, stderr=messages, env=_environment(), check=False)
    if not (folder / RESULT).is_file():
        raise ModelError(f"the process that measures ended with status {done.returncode}{_last(folder)}")
    told: dict[str, Any] = json.loads((folder / RESULT).read_text())
    if "unusable" in told:
        raise UsageError(f"{told['unusable']}{_last(folder)}")
    return told["seconds"], told["refused"]


def _environment() -> dict[str, str]:
    """The process must find this package, and all that it needs, wherever this one did."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


def _last(folder: Path) -> str:
    """The last message, without the colours, time and place of ONNX Runtime's."""
    said = (folder / MESSAGES).read_text(errors="replace")
    lines = [line.strip() for line in re.sub(r"\x1b\[[\d;]*m", "", said).splitlines() if line.strip()]
    return ": " + re.sub(r"^[\d: .-]+\[\w:[^\]]*\] ", "", lines[-1]) if lines else ""
