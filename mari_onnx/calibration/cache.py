"""Prices that were measured once, kept for the next run on the same machine."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path

import platformdirs

from mari_onnx.calibration.fit import PRICES, calibrate, priced
from mari_onnx.files import write_over
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.runtime import onnxruntime

FILE = "prices.json"


def cache_file() -> Path:
    """Where prices are kept, by processor and version of ONNX Runtime."""
    return Path(platformdirs.user_cache_dir("mari-onnx", appauthor=False)) / FILE


def machine_prices(progress: Callable[[int, int], None] = lambda done, total: None) -> CostModel:
    """The prices of this machine: those kept, or measured now and kept where that can be."""
    known = cached_prices()
    if known is None:
        known = calibrate(progress=progress).prices
        keep(known)
    return known


def cached_prices() -> CostModel | None:
    """The prices kept for this machine, if any that can be read."""
    try:
        kept = json.loads(cache_file().read_text())[machine()]
        values = {name: float(kept[name]) for name in PRICES}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not all(0 < v < float("inf") for v in values.values()):
        return None
    return priced(values)


def keep(prices: CostModel) -> bool:
    """Keeps prices for this machine; whether that was possible."""
    path = cache_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            known = json.loads(path.read_text())
        except (OSError, ValueError):
            known = {}
        known = known if isinstance(known, dict) else {}
        known[machine()] = {name: getattr(prices, name) for name in PRICES}
        write_over(path, json.dumps(known, indent=2, sort_keys=True).encode())
    except OSError:
        return False
    return True


def machine() -> str:
    """What prices depend on: the processor, and the version of ONNX Runtime."""
    return f"{_processor()}, ONNX Runtime {onnxruntime().__version__}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
