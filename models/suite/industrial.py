"""Exports of industrial size: all sides at all numbers of candidates, and at the nominal one what else there is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mari_onnx.benchmark.report import VANILLA
from mari_onnx.benchmark.run import Settings, compare
from mari_onnx.benchmark.sides import Contest, optimized_sides
from mari_onnx.errors import MariError
from mari_onnx.load import load_model
from mari_onnx.options import Options
from models import KERAS, catalog
from models.measure import users
from models.suite import rivals
from models.suite.figures import Figures, Section, figures, place
from models.suite.studies import NOMINAL


def industrial(settings: Settings, models: Sequence[catalog.Exported], scratch: Path) -> Iterator[Section]:
    """The section as it grows, model by model, so that what was measured is not lost."""
    rows: list[Figures] = []
    notes: list[str] = []
    where = ""
    networks: dict[str, dict[str, tuple[float, float, float]]] = {}
    for model in models:
        settings.tell(model.name)
        nominal = model.fixed_batch or NOMINAL
        others = [size for size in settings.candidates if size != nominal and not model.fixed_batch]
        try:
            plain = optimized_sides(
                model.path, Options(user_inputs=users(model), batches=(1, 7), seeds=1), lambda stage: None
            )
            contests = [*((size, plain) for size in others), (nominal, _with_rivals(plain, model, scratch, notes))]
        except MariError as error:
            notes.append(f"{model.name}: {error}")
            continue
        for size, contest in contests:
            try:
                report = compare(contest, replace(settings, candidates=(size,)))
            except MariError as error:  # the original may need more memory than there is
                notes.append(f"{model.name}, {size} candidates: {error}")
                continue
            where = where or place(report, settings.threads[0])
            notes += [f"{model.name}: {note}" for note in report.notes]
            (found,) = figures(report, model.name)
            rows.append(_with_networks(found, model, settings, networks, scratch, notes) if size == nominal else found)
        rows.sort(key=lambda row: (row.model, row.candidates))
        yield Section(where, tuple(rows), tuple(dict.fromkeys(notes)))


def _with_rivals(contest: Contest, model: catalog.Exported, scratch: Path, notes: list[str]) -> Contest:
    found = {}
    for tool in rivals.TOOLS:
        path, problem = rivals.simplified(tool, model.path, scratch)
        if path is not None:
            found[tool] = load_model(path)
        elif problem:
            notes.append(f"{model.name}: {tool}: {problem}")
    return replace(contest, models={**contest.models, **found})


def _with_networks(
    found: Figures,
    model: catalog.Exported,
    settings: Settings,
    known: dict[str, dict[str, tuple[float, float, float]]],
    scratch: Path,
    notes: list[str],
) -> Figures:
    """The figures with those of the network in PyTorch, which both of its exports share."""
    source = json.loads(model.path.with_suffix(".json").read_text())["source"]
    if source not in known and Path(source.partition(",")[0]).stem not in KERAS and rivals.has_torch():
        known[source], problem = rivals.network_times(source, model, found.candidates, settings, scratch)
        if problem:
            notes.append(f"{source}: {problem}")
    times = known.get(source, {})
    vanilla = found.times[VANILLA][1]
    over = {side: vanilla / time[1] for side, time in times.items()}
    return replace(found, times={**found.times, **times}, over_vanilla={**found.over_vanilla, **over})
