"""Exports against graphs that were written by hand for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mari_onnx.benchmark.run import Settings, compare
from mari_onnx.benchmark.sides import optimized_sides
from mari_onnx.load import load_model
from mari_onnx.options import Options
from models import catalog
from models.measure import users
from models.references import REFERENCES
from models.suite.figures import Figures, Section, figures, place

BY_HAND, OTHERWISE = "by hand", "by hand, otherwise"
SIZES = (64, 512)


def by_hand(settings: Settings, models: Sequence[catalog.Exported]) -> Section:
    """Those of the exports that have a graph in `models.references`, of which two are written in two ways."""
    rows: list[Figures] = []
    notes: list[str] = []
    where = ""
    for model in models:
        if model.name not in REFERENCES:
            continue
        settings.tell(model.name)
        options = Options(user_inputs=users(model), batches=(1, 7), seeds=1)
        contest = optimized_sides(model.path, options, lambda stage: None)
        written = dict(zip((BY_HAND, OTHERWISE), REFERENCES[model.name].items(), strict=False))
        graphs = {side: load_model(build(model)) for side, (_, build) in written.items()}
        report = compare(replace(contest, models={**contest.models, **graphs}), replace(settings, candidates=SIZES))
        where = where or place(report, settings.threads[0])
        rows += figures(report, model.name)
        notes += [f"{model.name}, {side}: {way}" for side, (way, _) in written.items()]
        notes += [f"{model.name}: {note}" for note in report.notes]
    return Section(where, tuple(rows), tuple(dict.fromkeys(notes)))
