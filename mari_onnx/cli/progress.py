"""Which stage a command is in: a live line on a terminal, one line for each new stage elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from mari_onnx.cli import watch

STAGES = {
    "load": "reading the model",
    "analyse": "finding what is the same for all candidates",
    "hoist": "moving it to one row",
    "rewrite": "applying the rules",
    "tidy": "tidying up",
    "tune": "timing other results",
    "calibrate": "timing single operators",
    "verify": "comparing with the original",
    "bisect": "looking for the rewrite that is wrong",
    "benchmark": "measuring the time before and after",
    "bench": "measuring the time of all sides",
    "probe": "running the model on one user and random items",
    "write": "writing",
}


class Stages:
    """Told the stage, as ``stage`` or ``stage: detail``; details are shown on a terminal only.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._told: set[str] = set()
        self._live: Any = None

    def __call__(self, text: str) -> None:
        stage, _, detail = text.partition(": ")
        label = STAGES.get(stage, stage)
        watch.tell(f"{label} ({detail})" if detail else label)
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(f"{label}: {detail}" if detail else label)
        elif stage not in self._told:
            print(f"mari-onnx: {label}", file=sys.stderr, flush=True)
        self._told.add(stage)

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console

            self._live = Console(stderr=True, highlight=False).status("starting")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
