"""What else a user could do: onnxsim, OnnxSlim, or the network in PyTorch. Each runs in a process of its own.

`python -m models.suite.rivals TOOL IN OUT` rewrites a model, `python -m models.suite.rivals torch JOB RESULT` times a
network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from mari_onnx.benchmark.run import Settings
from mari_onnx.turns import in_turn
from models import catalog

TOOLS = ("onnxsim", "onnxslim")
TORCH, COMPILED = "torch", "torch.compile"
LONGEST = 900
Times = dict[str, tuple[float, float, float]]


def has_torch() -> bool:
    return find_spec("torch") is not None


def simplified(tool: str, model: Path, scratch: Path) -> tuple[Path | None, str]:
    """What a tool makes of a model, or why there is nothing; no reason where the tool is not installed."""
    if find_spec(tool) is None:
        return None, ""
    target = scratch / f"{model.stem}.{tool}.onnx"
    target.unlink(missing_ok=True)
    problem = _process(tool, str(model), str(target))
    return (target, "") if target.is_file() else (None, problem or "it wrote nothing")


def network_times(
    source: str, model: catalog.Exported, candidates: int, settings: Settings, scratch: Path
) -> tuple[Times, str]:
    """Milliseconds of the network that an export was made of, as it is and compiled, or why there are none."""
    job, result = scratch / "torch.json", scratch / "torch-times.json"
    result.unlink(missing_ok=True)
    name, size = source.split(", ")
    told = {
        "architecture": Path(name).stem,
        "size": size,
        "meta": str(model.path.with_suffix(".json")),
        "candidates": candidates,
        "threads": settings.threads[0],
        "seconds": settings.seconds,
    }
    job.write_text(json.dumps(told))
    problem = _process(TORCH, str(job), str(result))
    if not result.is_file():
        return {}, problem or "it wrote nothing"
    found = json.loads(result.read_text())
    return {side: tuple(time) for side, time in found["times"].items()}, found["problem"]


def _process(*args: str) -> str:
    """Runs this module; the last thing it said, where it failed."""
    command = [sys.executable, "-m", "models.suite.rivals", *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return f"it took more than {LONGEST} s"
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return "" if done.returncode == 0 else (said[-1] if said else f"it ended with status {done.returncode}")


def _simplify(tool: str, source: str, target: str) -> None:
    import onnx

    module = import_module(tool)
    if tool == "onnxsim":
        result, same = module.simplify(onnx.load(source))
        if not same:
            raise ValueError("its own check found other results")
    else:
        result = module.slim(onnx.load(source))
    onnx.save(result, target)


def _time_network(job: Path, result: Path) -> None:
    import numpy as np
    import torch

    from models._torch_backend import module

    told = json.loads(job.read_text())
    torch.set_num_threads(told["threads"])
    _, full = catalog.draw(catalog.read(Path(told["meta"])), told["candidates"], seed=0)
    inputs = [torch.from_numpy(array) for array in full.values()]
    network = module(told["architecture"], told["size"])
    calls, problem = {TORCH: lambda: network(*inputs)}, ""
    with torch.inference_mode():
        try:
            compiled = torch.compile(network, dynamic=False)
            compiled(*inputs)
            calls[COMPILED] = lambda: compiled(*inputs)
        except Exception as error:  # the compiler has its own for everything
            problem = f"{COMPILED}: {str(error).splitlines()[0][:200]}"
        times = in_turn(list(calls.values()), told["seconds"])
    quartiles = {n: tuple(1e3 * np.quantile(t, [0.25, 0.5, 0.75])) for n, t in zip(calls, times, strict=True)}
    result.write_text(json.dumps({"times": quartiles, "problem": problem}))


def main(argv: Sequence[str]) -> int:
    tool, first, second = argv
    if tool == TORCH:
        _time_network(Path(first), Path(second))
    else:
        _simplify(tool, first, second)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
