"""The plots of the suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mari_onnx.benchmark.plot import COLOURS, REPRODUCIBLE
from models.suite.figures import Figures

OTHER_COLOURS = ("#9467bd", "#8c564b", "#e377c2", "#bcbd22")


def lines(rows: Sequence[Figures], sides: Sequence[str], label: str, path: Path) -> None:
    """Milliseconds of each side, and how many times faster it is than vanilla, over what a study varies."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = list(dict.fromkeys(row.x for row in rows))
    for index, side in enumerate(sides):
        colour = COLOURS.get(side, OTHER_COLOURS[index % len(OTHER_COLOURS)])
        own = [row for row in rows if side in row.times]
        style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3, "label": side}
        left.plot([r.x for r in own], [r.times[side][1] for r in own], **style)
        left.fill_between(
            [r.x for r in own],
            *zip(*((r.times[side][0], r.times[side][2]) for r in own), strict=True),
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
        right.plot([r.x for r in own], [r.over_vanilla[side] for r in own], **style)
    for axes, title in ((left, "milliseconds per request"), (right, "times faster than vanilla")):
        axes.set_title(title, fontsize="medium")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(names, [f"{x:g}" for x in names])
        _plain(axes.yaxis)
        axes.set_xlabel(label)
        axes.grid(visible=True, alpha=0.3)
    left.legend(fontsize="small", loc="upper left")
    _save(figure, path)


def bars(rows: Sequence[Figures], sides: Sequence[str], path: Path) -> None:
    """How many times faster than vanilla each model is, the fastest first."""
    ordered = sorted(rows, key=lambda row: row.over_vanilla[sides[0]])
    figure = Figure(figsize=(8, 1 + 0.28 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(sides)
    for index, side in enumerate(sides):
        places = [y + height * ((len(sides) - 1) / 2 - index) for y in range(len(ordered))]
        values = [row.over_vanilla.get(side, 0.0) for row in ordered]
        axes.barh(places, values, height, color=COLOURS[side], label=side)
    axes.set_yticks(range(len(ordered)), [row.model for row in ordered], fontsize="small")
    axes.set_xscale("log")
    _plain(axes.xaxis)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times faster than vanilla")
    axes.margins(y=0.01)
    axes.legend(fontsize="small", loc="lower right")
    _save(figure, path)


def means(curves: Mapping[str, Mapping[int, float]], path: Path) -> None:
    """A mean of all models for each side, over the number of candidates."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for side, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), color=COLOURS[side], marker="o", markersize=3, label=side)
    sizes = sorted({size for curve in curves.values() for size in curve})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xlabel("candidates")
    axes.set_title("times faster than vanilla, geometric mean of all models", fontsize="medium")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="upper left")
    _save(figure, path)


def _plain(axis: Any) -> None:
    """1, 2, 5, 10 in place of powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(REPRODUCIBLE):
        figure.savefig(path, metadata={"Date": None})
