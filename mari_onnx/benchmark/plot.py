"""A benchmark as a picture: times and ratios over the number of candidates."""

from __future__ import annotations

import io
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mari_onnx.benchmark.report import FLOOR, FULL, ONE_SHOT, RESULT, VANILLA, BenchReport, Timed
from mari_onnx.errors import UsageError
from mari_onnx.files import write_over

FORMATS = (".png", ".svg")
COLOURS = {VANILLA: "#7f7f7f", ONE_SHOT: "#ff7f0e", FULL: "#1f77b4", RESULT: "#1f77b4", FLOOR: "#2ca02c"}
WIDTH, HEIGHT = 5.0, 3.6
REPRODUCIBLE = {"svg.hashsalt": "mari-onnx", "svg.fonttype": "none"}


def check_plot(path: str) -> None:
    """Refuses, before any work, a picture that could not be drawn.

    Raises:
        UsageError: It has another ending, or matplotlib is not installed.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a plot is a {' or '.join(FORMATS)} file")
    if find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib: pip install 'mari-onnx[plot]'")


def plot(report: BenchReport, path: str, title: str = "") -> None:
    """Draws a benchmark: one row of two pictures for each number of threads.

    Args:
        report: What was measured.
        path: A ``.png`` or ``.svg`` file; one that is there is replaced in one step.
        title: What to write above.

    Raises:
        UsageError: It cannot be drawn or written.
    """
    check_plot(path)
    threads = list(dict.fromkeys(one.threads for one in report.measured))
    figure = import_module("matplotlib.figure").Figure(figsize=(2 * WIDTH, HEIGHT * len(threads)), layout="constrained")
    for (left, right), number in zip(figure.subplots(len(threads), 2, squeeze=False), threads, strict=True):
        for side in report.sides:
            times = [one for one in report.measured if (one.threads, one.side) == (number, side)]
            _draw(left, right, side, sorted(times, key=lambda one: one.candidates))
        sizes = sorted({one.candidates for one in report.measured})
        _label(left, f"milliseconds per request, {number} thread{'s' * (number > 1)}", sizes)
        _label(right, "times faster than vanilla", sizes)
        left.set_yscale("log")
        ticker = import_module("matplotlib.ticker")
        left.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        left.yaxis.set_major_formatter("{x:g}")
        left.yaxis.set_minor_locator(ticker.NullLocator())
        left.legend(loc="upper left")
    figure.suptitle(title)
    kind, drawn = Path(path).suffix.lower().removeprefix("."), io.BytesIO()
    with import_module("matplotlib").rc_context(REPRODUCIBLE):
        figure.savefig(drawn, format=kind, metadata={"Date": None} if kind == "svg" else None, dpi=120)
    try:
        write_over(Path(path), drawn.getvalue())
    except OSError as error:
        raise UsageError(f"--plot {path}: {error.strerror or error}") from error


def _draw(left: Any, right: Any, side: str, times: list[Timed]) -> None:
    sizes = [one.candidates for one in times]
    style = {"color": COLOURS[side], "marker": "o", "markersize": 3, "label": side}
    if side == FLOOR:
        style["linestyle"] = "--"
    left.plot(sizes, [one.milliseconds for one in times], **style)
    low, high = ([one.quartiles[index] for one in times] for index in (0, 1))
    left.fill_between(sizes, low, high, color=COLOURS[side], alpha=0.2, linewidth=0)
    right.plot(sizes, [one.over_vanilla for one in times], **style)


def _label(axes: Any, title: str, sizes: list[int]) -> None:
    axes.set_title(title, fontsize="medium")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xlabel("candidates")
    axes.grid(visible=True, alpha=0.3)
