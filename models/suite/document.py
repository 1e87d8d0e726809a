"""docs/benchmarks.md: tables and plots of what was measured."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mari_onnx.benchmark.report import FLOOR, FULL, ONE_SHOT, VANILLA
from models.suite import charts, rivals
from models.suite.by_hand import BY_HAND, OTHERWISE
from models.suite.figures import Figures, Section, geometric_mean
from models.suite.studies import FROM_NEAT, NEAT, NOMINAL, PIECEWISE

Cell = Callable[[Figures], str]
SIDES = (VANILLA, ONE_SHOT, FULL, FLOOR)

HEAD = """\
# Benchmarks

Written by `python -m models.suite FOLDER` (`make bench`), where FOLDER holds exports as `python -m models.export --size
industrial --out FOLDER` writes them. Four sides of each model are timed: *vanilla*, as exported; *one-shot*, where what
depends on the user alone runs once and no rule was applied; *full*, what `mari-onnx optimize` makes of it by default;
and the *floor*, the same with the user's inputs frozen, so that the item side alone is left. ONNX Runtime's own
optimizations are on for all sides. All run in turn in one process, each timed run after one that does not count, in an
order drawn for each turn; all are loaded several times, in one order and in the opposite. Times are medians, and ratios
are medians over turns. Inputs are random and in place before the clock starts.
"""

STUDIES: Mapping[str, tuple[str, str, str, str]] = {
    "published": (
        "The published layer",
        "candidates",
        "candidates",
        "One Gemm over 20 user pieces (4,000 wide in all) and 20 item pieces (400 wide) by turns, 256 out: 10.95 times "
        "fewer FLOPs when the user's half runs once, for which 1.58x is published.",
    ),
    "layout": (
        "Scattered inputs",
        "pieces",
        "pieces of user and of items",
        "The same layer with its inputs cut into pieces. *vanilla* and *full*: user and item pieces by turns; *neat*: "
        "the user's pieces in front, as exported and optimized; *by piece*: split by hand without regrouping, one "
        "product for each piece. Up to 38% are published to be lost to scattered inputs.",
    ),
    "growth": (
        "Growth with the number of candidates",
        "candidates",
        "candidates",
        "The same layer with three more of 256 on top, and a score.",
    ),
    "ratio": (
        "Growth with the width of the user's side",
        "user : item",
        "user width over item width (400)",
        "Two layers of 256 and a score.",
    ),
    "depth": (
        "Growth with the number of layers",
        "layers",
        "layers",
        "User 4,000 and item 400 wide; each further layer of 256 runs for every candidate.",
    ),
}


def write(sections: Mapping[str, Section], folder: Path, name: str) -> None:
    """Writes `name`.md, and the plots into a folder of that name."""
    plots = folder / name
    parts = [HEAD]
    if "industrial" in sections:
        parts += _industrial(sections["industrial"], plots)
    if sections.get("by-hand") and sections["by-hand"].rows:
        parts += _by_hand(sections["by-hand"])
    for study in STUDIES:
        if study in sections:
            parts += _study(study, sections[study], plots)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text("\n".join(parts))


def table(columns: Sequence[tuple[str, Cell]], rows: Iterable[Figures]) -> str:
    """A table in Markdown; the first column is flush left."""
    heads = " | ".join(name for name, _ in columns)
    lines = [f"| {heads} |", f"|---|{'--:|' * (len(columns) - 1)}"]
    lines += [f"| {' | '.join(cell(row) for _, cell in columns)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _study(name: str, section: Section, plots: Path) -> Iterator[str]:
    title, head, axis, text = STUDIES[name]
    more = (NEAT, FROM_NEAT, PIECEWISE) if name == "layout" else ()
    sides = [side for side in (*SIDES, *more) if any(side in row.times for row in section.rows)]
    first: tuple[str, Cell] = (head, lambda row: str(row.candidates) if head == "candidates" else row.model)
    columns = [first, *((side, _milliseconds(side)) for side in sides), ("full over vanilla", _over(FULL))]
    columns.append(("of floor", _of_floor(FULL)))
    if more:
        columns.append(("full over neat, full", _between(FULL, FROM_NEAT)))
    charts.lines(section.rows, sides, axis, plots / f"{name}.svg")
    where = f"Milliseconds, {'' if head == 'candidates' else f'{NOMINAL} candidates, '}{section.machine}."
    yield f"## {title}\n\n{_wrapped(text)}\n\n{where}\n"
    yield table(columns, section.rows)
    yield f"![{title}]({plots.name}/{name}.svg)\n"
    yield from _notes(section)


def _by_hand(section: Section) -> Iterator[str]:
    sides = [side for side in (*SIDES, BY_HAND, OTHERWISE) if any(side in row.times for row in section.rows)]
    columns: list[tuple[str, Cell]] = [("model", _name), ("candidates", lambda row: str(row.candidates))]
    columns += [(side, _milliseconds(side)) for side in sides]
    columns += [(f"full over {side}", _between(FULL, side)) for side in sides if side in (BY_HAND, OTHERWISE)]
    text = (
        "Graphs written by hand for four of the exports, as well as we can (`models/references`); two of them in "
        "another way as well, which pays for some requests only, or takes more than algebra."
    )
    yield f"## Against graphs written by hand\n\n{_wrapped(text)}\n\nMilliseconds, {section.machine}.\n"
    yield table(columns, section.rows)
    yield from _notes(section)


def _industrial(section: Section, plots: Path) -> Iterator[str]:
    rows, nominal = section.rows, section.at(NOMINAL)
    sizes = sorted({row.candidates for row in rows})
    charts.bars(nominal, (FULL, ONE_SHOT, FLOOR), plots / "industrial.svg")
    curves = {
        side: {
            size: geometric_mean(row.over_vanilla[side] for row in rows if row.candidates == size and side in row.times)
            for size in sizes
            if any(row.candidates == size and side in row.times for row in rows)
        }
        for side in (FULL, ONE_SHOT, FLOOR)
    }
    charts.means(curves, plots / "candidates.svg")
    yield f"## Exports of industrial size\n\n{section.machine}.\n"
    yield _summary(rows, [row for row in nominal if row.candidates == NOMINAL] or nominal)
    yield f"![all models]({plots.name}/industrial.svg)\n\n![over candidates]({plots.name}/candidates.svg)\n"
    yield f"At {NOMINAL} candidates (milliseconds), and *full* over vanilla at other numbers of candidates:\n"
    by_model = {(row.model, row.candidates): row for row in rows}
    others: list[tuple[str, Cell]] = [
        (
            f"{size}",
            lambda row, size=size: _over(FULL)(by_model[row.model, size]) if (row.model, size) in by_model else "",
        )
        for size in sizes
        if size != NOMINAL
    ]
    columns = [
        ("model", _name),
        *((side, _milliseconds(side)) for side in SIDES),
        ("over vanilla", _over(FULL)),
        ("over one-shot", _between(FULL, ONE_SHOT)),
        ("of floor", _of_floor(FULL)),
    ]
    yield table([*columns, *others], nominal)
    tools = [t for t in (*rivals.TOOLS, rivals.TORCH, rivals.COMPILED) if any(t in row.times for row in nominal)]
    if tools:
        text = f"Times faster than vanilla at {NOMINAL} candidates. {_rivals_text(tools)}"
        yield f"## What else there is\n\n{_wrapped(text)}\n"
        yield table([("model", _name), *((s, _over(s)) for s in (ONE_SHOT, *tools, FULL))], nominal)
        yield _means(nominal, (ONE_SHOT, *tools, FULL))
    yield from _notes(section)


def _rivals_text(tools: Sequence[str]) -> str:
    said = []
    if set(tools) & set(rivals.TOOLS):
        said.append("onnxsim and OnnxSlim rewrite the export, which ONNX Runtime then runs as it does the others.")
    if rivals.TORCH in tools:
        said.append(
            "PyTorch runs the network that was exported, as it is and compiled for this number of candidates, on the "
            "repeated inputs, in a process of its own after the others."
        )
    return " ".join(said)


def _summary(rows: Sequence[Figures], nominal: Sequence[Figures]) -> str:
    of_floor = [row.of_floor[FULL] for row in nominal if FULL in row.of_floor]
    over_one_shot = [r for row in nominal if (r := row.ratio(FULL, ONE_SHOT)) is not None]
    slowest = min(rows, key=lambda row: row.over_vanilla.get(FULL, float("inf")))
    least = min(nominal, key=lambda row: row.of_floor.get(FULL, float("inf")))
    lines = [
        "| figure | |",
        "|---|--:|",
        f"| models | {len(nominal)} |",
        f"| over vanilla, {NOMINAL} candidates, geometric mean | "
        f"{geometric_mean(row.over_vanilla[FULL] for row in nominal):.2f}x |",
        f"| over one-shot, {NOMINAL} candidates, geometric mean | {geometric_mean(over_one_shot):.2f}x |",
        f"| of the floor's speed, {NOMINAL} candidates, median | {statistics.median(of_floor):.2f} |",
        f"| the same, lowest: `{least.model}` | {min(of_floor):.2f} |",
        f"| slowest over vanilla, any number of candidates: `{slowest.model}` at {slowest.candidates} | "
        f"{slowest.over_vanilla[FULL]:.2f}x |",
    ]
    return "\n".join(lines) + "\n"


def _means(rows: Sequence[Figures], sides: Sequence[str]) -> str:
    found = [(side, [row.over_vanilla[side] for row in rows if side in row.over_vanilla]) for side in sides]
    means = ", ".join(
        f"{side} {geometric_mean(values):.2f}x ({len(values)} models)" for side, values in found if values
    )
    return _wrapped(f"Geometric means: {means}.") + "\n"


def _notes(section: Section) -> Iterator[str]:
    if section.notes:
        yield "Notes:\n\n" + "\n".join(f"- {note}" for note in section.notes) + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _name(row: Figures) -> str:
    return f"`{row.model}`"


def _milliseconds(side: str) -> Cell:
    return lambda row: "" if row.median(side) is None else f"{row.median(side):.3g}"


def _over(side: str) -> Cell:
    return lambda row: f"{row.over_vanilla[side]:.2f}x" if side in row.over_vanilla else ""


def _between(side: str, other: str) -> Cell:
    return lambda row: "" if row.ratio(side, other) is None else f"{row.ratio(side, other):.2f}x"


def _of_floor(side: str) -> Cell:
    return lambda row: f"{row.of_floor[side]:.2f}" if side in row.of_floor else ""
