"""The process that measures: ``python -m mari_onnx.benchmark.worker JOB RESULT``.

One process has one setting of threads. All sides share one pool of threads: a pool of its own for each would go on
spinning while the next side is measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from mari_onnx.benchmark.job import Entrant, Job, read_arrays
from mari_onnx.runtime import DATA_FOLDER, onnxruntime, runtime_path
from mari_onnx.turns import Call, in_rounds
from mari_onnx.verification.sessions import runtime_message
from mari_onnx.verification.source import Array

CPU = "CPUExecutionProvider"
ON_DEVICE = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
SHOWN_ERRORS = 3


class UnusableError(Exception):
    """Nothing can be measured in this way; the text says why."""


def main(argv: Sequence[str]) -> int:
    """Runs one job; what fails is told in the result as well."""
    job_file, result_file = map(Path, argv)
    job = Job.read(job_file)
    try:
        result = _measured(job, read_arrays(job_file.parent))
    except UnusableError as error:
        result = {"unusable": str(error)}
    result_file.write_text(json.dumps(result))
    return 0


def _measured(job: Job, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """The times by side, and why the others cannot be run."""
    own_pools = _share_threads(job.threads)
    refused: dict[str, str] = {}

    def load(entrant: Entrant) -> Call | None:
        try:
            call = _call(job, entrant, arrays, own_pools)
            call()  # the first run also allocates, compiles and tunes
        except UnusableError:
            raise
        except Exception as error:  # the runtime has a class for each status code and no common base
            refused[entrant.side] = runtime_message(error)
            return None
        return call

    found = in_rounds([partial(load, entrant) for entrant in job.entrants], job.seconds)
    seconds = {entrant.side: own for entrant, own in zip(job.entrants, found, strict=True) if own}
    return {"seconds": seconds, "refused": refused}


def _share_threads(threads: int) -> bool:
    """Makes one pool for all sessions. Returns whether each must have its own, as older releases have no other."""
    runtime = onnxruntime()
    if threads == 1 or not hasattr(runtime, "set_global_thread_pool_sizes"):
        return True
    runtime.set_global_thread_pool_sizes(threads, 1)
    return False


def _call(job: Job, entrant: Entrant, arrays: Mapping[str, Array], own_pools: bool) -> Call:
    """One run of a model on inputs that are in place already."""
    running = _session(job, entrant, own_pools)
    if job.provider not in running.get_providers():
        raise UnusableError(f"the execution provider {job.provider} does not start on this machine")
    feeds = {name: arrays[key] for name, key in entrant.feeds.items()}
    if any(array.dtype == object for array in arrays.values()):  # text cannot be bound: then nothing is, on any side
        return lambda: running.run(None, feeds)
    binding = running.io_binding()
    for name, array in feeds.items():
        _bind(binding, name, array, job.types.get(entrant.feeds[name]), job.provider)
    for output in running.get_outputs():
        binding.bind_output(output.name)
    return lambda: running.run_with_iobinding(binding)


def _session(job: Job, entrant: Entrant, own_pools: bool) -> Any:
    runtime = onnxruntime()
    if job.provider in ON_DEVICE and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    options = runtime.SessionOptions()
    options.log_severity_level = SHOWN_ERRORS
    if own_pools:
        options.intra_op_num_threads = job.threads
        if job.threads > 1:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    else:
        options.use_per_session_threads = False  # a setting that older releases do not have
    model: str | bytes = runtime_path(entrant.model)
    if entrant.folder is not None:
        options.add_session_config_entry(DATA_FOLDER, runtime_path(entrant.folder))
        model = onnx.load(entrant.model, load_external_data=False).SerializeToString()
    return runtime.InferenceSession(model, options, providers=list(dict.fromkeys([job.provider, CPU])))


def _bind(binding: Any, name: str, array: Array, dtype: int | None, provider: str) -> None:
    """Puts an input where the provider computes, so that no copy is timed."""
    values = onnxruntime().OrtValue
    if dtype is not None:
        binding.bind_ortvalue_input(name, values.ortvalue_from_numpy_with_onnx_type(array, dtype))
    else:
        device = "cuda" if provider in ON_DEVICE else "cpu"
        binding.bind_ortvalue_input(name, values.ortvalue_from_numpy(array, device, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
