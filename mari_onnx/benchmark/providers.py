"""Execution providers by their short names, and the machine that they run on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from mari_onnx.benchmark.report import Machine
from mari_onnx.errors import UsageError
from mari_onnx.runtime import onnxruntime

SUFFIX = "executionprovider"
NVIDIA = ("cuda", "tensorrt", "nvtensorrtrtx")


def short_name(provider: str) -> str:
    """``CUDAExecutionProvider`` is ``cuda``."""
    return provider.lower().removesuffix(SUFFIX)


def full_name(provider: str) -> str:
    """What ONNX Runtime calls a provider.

    Raises:
        UsageError: The installed ONNX Runtime was built without it, or that is no name.
    """
    if not isinstance(provider, str):
        raise UsageError(f"an execution provider is named by a string, such as 'cpu', not by {provider!r}")
    known = {short_name(name): name for name in onnxruntime().get_available_providers()}
    if short_name(provider) not in known:
        raise UsageError(
            f"the installed ONNX Runtime has no execution provider '{provider}'; it has: {', '.join(sorted(known))}"
        )
    return str(known[short_name(provider)])


def machine(provider: str) -> Machine:
    """What this machine is called.

    Args:
        provider: The short name of the provider in use.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    device = _nvidia() if provider in NVIDIA else None
    return Machine(_processor(), cores, device, str(onnxruntime().__version__))


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def _nvidia() -> str | None:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), None)
