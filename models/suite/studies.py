"""The studies: what the gain depends on. Each varies one thing of a dense ranker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import onnx

from mari_onnx import optimize
from mari_onnx.benchmark.run import Settings, compare
from mari_onnx.benchmark.sides import Contest, optimized_sides
from mari_onnx.load import load_model
from mari_onnx.options import Options
from models.published_layer import Layer, build
from models.suite.figures import Figures, Section, figures, place
from models.suite.layers import neat, piecewise, stacked

USERS = ("u*",)
NOMINAL = 512
SIZES = (1, 8, 64, 512, 2_000, 4_096)
PIECES = (1, 4, 20, 100)
USER_WIDTHS = (100, 400, 1_600, 4_000, 16_000)
DEPTHS = (1, 2, 4, 8)
NEAT, FROM_NEAT, PIECEWISE = "neat, vanilla", "neat, full", "by piece"


def published(settings: Settings) -> Section:
    """The single layer of the published result, over the number of candidates."""
    return _run(settings, [("published layer", None, _sides(build(Layer())), SIZES)])


def growth(settings: Settings) -> Section:
    """A ranker of four layers, over the number of candidates."""
    return _run(settings, [("four layers", None, _sides(stacked(Layer(), 4)), SIZES)])


def ratio(settings: Settings) -> Section:
    """A ranker of two layers whose user side gets wider."""
    cases = ((width, stacked(Layer(user=width), 2)) for width in USER_WIDTHS)
    item = Layer().item
    return _run(settings, [(f"{w} : {item}", w / item, _sides(model), (NOMINAL,)) for w, model in cases])


def depth(settings: Settings) -> Section:
    """A ranker of ever more layers."""
    return _run(settings, [(str(n), n, _sides(stacked(Layer(), n)), (NOMINAL,)) for n in DEPTHS])


def layout(settings: Settings) -> Section:
    """The published layer, its inputs in ever more pieces: by turns, and the user's in front of the items'."""
    return _run(settings, [(str(n), n, _layouts(Layer(pieces=n)), (NOMINAL,)) for n in PIECES])


def _layouts(layer: Layer) -> Contest:
    contest, other = _sides(build(layer)), neat(layer)
    optimized = optimize(other, USERS, verify=False).model
    more = {NEAT: other, FROM_NEAT: optimized, PIECEWISE: piecewise(layer)}
    return replace(contest, models={**contest.models, **{side: load_model(m) for side, m in more.items()}})


def _sides(model: onnx.ModelProto) -> Contest:
    return optimized_sides(model, Options(user_inputs=USERS, batches=(1, 7), seeds=1), lambda stage: None)


def _run(settings: Settings, cases: list[tuple[str, float | None, Contest, tuple[int, ...]]]) -> Section:
    return _section(settings, (_one(settings, *case) for case in cases))


def _one(
    settings: Settings, name: str, x: float | None, contest: Contest, sizes: tuple[int, ...]
) -> tuple[str, list[Figures], tuple[str, ...]]:
    settings.tell(name)
    report = compare(contest, replace(settings, candidates=sizes))
    return place(report, settings.threads[0]), figures(report, name, x), report.notes


def _section(settings: Settings, found: Iterator[tuple[str, list[Figures], tuple[str, ...]]]) -> Section:
    places, rows, notes = zip(*found, strict=True)
    return Section(places[0], tuple(row for own in rows for row in own), tuple(n for own in notes for n in own))


STUDIES: Mapping[str, Callable[[Settings], Section]] = {
    "published": published,
    "layout": layout,
    "growth": growth,
    "ratio": ratio,
    "depth": depth,
}
