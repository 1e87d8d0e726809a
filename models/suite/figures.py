"""What the suite keeps of a measurement, and where."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mari_onnx.benchmark.report import BenchReport


@dataclass(frozen=True)
class Figures:
    """The sides of one model at one number of candidates.

    `x` is what a study varies, for its plot. `times` are milliseconds (lower quartile, median, upper quartile),
    `over_vanilla` and `of_floor` medians over turns, by side.
    """

    model: str
    candidates: int
    x: float
    times: Mapping[str, tuple[float, float, float]]
    over_vanilla: Mapping[str, float]
    of_floor: Mapping[str, float] = field(default_factory=dict)

    def median(self, side: str) -> float | None:
        return self.times[side][1] if side in self.times else None

    def ratio(self, side: str, other: str) -> float | None:
        """How many times faster one side is than another."""
        if side not in self.over_vanilla or other not in self.over_vanilla:
            return None
        return self.over_vanilla[side] / self.over_vanilla[other]


@dataclass(frozen=True)
class Section:
    """One part of the suite, and where it was measured."""

    machine: str
    rows: tuple[Figures, ...]
    notes: tuple[str, ...] = ()

    def at(self, candidates: int) -> tuple[Figures, ...]:
        """The rows with that many candidates; models with a fixed batch count everywhere."""
        sizes = {row.model: {r.candidates for r in self.rows if r.model == row.model} for row in self.rows}
        return tuple(r for r in self.rows if r.candidates == candidates or len(sizes[r.model]) == 1)

    def with_others_of(self, before: Section, measured: Collection[str]) -> Section:
        """This section and what an earlier one says of models other than those, if it is of the same machine."""
        if before.machine != self.machine:
            return self
        rows = [*self.rows, *(row for row in before.rows if row.model not in measured)]
        notes = [*(note for note in before.notes if re.split("[,:]", note)[0] not in measured), *self.notes]
        return Section(
            self.machine,
            tuple(sorted(rows, key=lambda row: (row.model, row.candidates))),
            tuple(dict.fromkeys(notes)),
        )


def figures(report: BenchReport, model: str, x: float | None = None) -> list[Figures]:
    """A report as figures; `x` is the number of candidates where nothing else is varied."""
    found = []
    for size in dict.fromkeys(one.candidates for one in report.measured):
        own = [one for one in report.measured if one.candidates == size]
        found.append(
            Figures(
                model,
                size,
                size if x is None else x,
                {one.side: (one.quartiles[0], one.milliseconds, one.quartiles[1]) for one in own},
                {one.side: one.over_vanilla for one in own},
                {one.side: one.of_floor for one in own if one.of_floor is not None},
            )
        )
    return found


def place(report: BenchReport, threads: int) -> str:
    """Where a report was made, in words."""
    machine = report.machine
    where = machine.device or f"{threads} thread{'s' * (threads > 1)} of {machine.processor}, {machine.cores} cores"
    return f"{report.provider} on {where}, ONNX Runtime {machine.onnxruntime}"


def geometric_mean(values: Iterable[float]) -> float:
    return statistics.geometric_mean(values)


def read(path: Path) -> dict[str, Section]:
    """The sections of a file; none where there is no file."""
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text())
    return {
        name: Section(s["machine"], tuple(Figures(**row) for row in s["rows"]), tuple(s["notes"]))
        for name, s in content.items()
    }


def write(path: Path, sections: Mapping[str, Section]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: asdict(section) for name, section in sections.items()}, indent=1) + "\n")
