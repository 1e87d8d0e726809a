"""Which of several results is the fastest: those that other prices lead to, and those without one of the rules."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mari_onnx.load import Loaded
from mari_onnx.options import Options
from mari_onnx.pipeline import Built, build
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.objective import LESS
from mari_onnx.rewrite.registry import AnyRule
from mari_onnx.timing import measure_all

DOUBTS: dict[str, Callable[[CostModel], CostModel]] = {
    "operators dearer to start": lambda p: replace(p, launch=4 * p.launch, launch_view=4 * p.launch_view),
    "operators much dearer to start": lambda p: replace(p, launch=16 * p.launch, launch_view=16 * p.launch_view),
    "operators cheaper to start": lambda p: replace(p, launch=p.launch / 4, launch_view=p.launch_view / 4),
    "arithmetic dearer": lambda p: replace(p, flops=p.flops / 2),
    "copies dearer": lambda p: replace(p, copy=3 * p.copy, moved=p.moved / 3),
    "rows and stretches cheaper": lambda p: replace(p, stretch=p.stretch / 3, row=p.row / 3),
}
"""In what estimates may be wrong."""
AS_ESTIMATED = "as estimated"
SECONDS = 0.4
"""For each result and number of candidates."""
NOISE = 0.02
"""Differences in time up to this part mean nothing."""
FINALISTS = 4


@dataclass(frozen=True)
class Alternative:
    """A result that was timed.

    Attributes:
        name: How it differs from the others.
        speedup: How many times faster than the original, by number of candidates.
    """

    name: str
    speedup: dict[int, float]

    @property
    def slowest(self) -> float:
        """Its worst speedup."""
        return min(self.speedup.values())


@dataclass(frozen=True)
class Tuned:
    """The outcome of timing.

    Attributes:
        chosen: Name of the result that was taken.
        alternatives: All that were timed, the one taken first.
        built: That result.
        options: What leads to it.
    """

    chosen: str
    alternatives: tuple[Alternative, ...]
    built: Built = field(repr=False)
    options: Options = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"chosen": self.chosen, "alternatives": [asdict(a) for a in self.alternatives]}


def tune(
    loaded: Loaded, options: Options, rules: Sequence[AnyRule], first: Built, tell: Callable[[str], None]
) -> Tuned:
    """Times a result and others in its place, and takes the fastest.

    All are timed at the nominal number of candidates, or the largest given if that one is not; the fastest ones at
    the other numbers as well. The fastest that is nowhere slower than the original is taken; where there is none, the
    one that takes the least time over all numbers, each counted as in :mod:`mari_onnx.rewrite.objective`.

    Args:
        loaded: The original.
        options: How ``first`` was made; ``options.tune`` are the numbers of candidates.
        rules: With which rules.
        first: The result that the estimates led to.
        tell: Told the stage.

    Raises:
        MariError: The models cannot be run.
    """
    results = _different(loaded, options, rules, first, tell)
    numbers = sorted(set(options.tune), reverse=True)
    nominal = options.candidates if options.candidates in numbers else numbers[0]
    clock = _Clock(loaded, list(results), {name: built for name, (built, _) in results.items()}, tell)
    speed = {name: {nominal: s} for name, s in clock.speedups(nominal, list(results)).items()}
    ranked = sorted(speed, key=lambda name: (-speed[name][nominal], name != AS_ESTIMATED))
    timed: list[str] = []
    while ranked and not any(min(speed[name].values()) >= 1 - NOISE for name in timed):
        some, ranked = ranked[:FINALISTS], ranked[FINALISTS:]
        for number in (n for n in numbers if n != nominal):
            for name, s in clock.speedups(number, some).items():
                speed[name][number] = s
        timed += some
    best = max(timed, key=lambda name: _merit(speed[name], nominal, name))
    others = [name for name in timed if name != best]
    found = tuple(Alternative(name, dict(sorted(speed[name].items()))) for name in (best, *others))
    return Tuned(best, found, *results[best])


def _merit(speed: dict[int, float], nominal: int, name: str) -> tuple[bool, float, bool]:
    """Nowhere slower first, then speed; within the noise the result that the estimates led to."""
    if min(speed.values()) >= 1 - NOISE:
        return True, _within_noise(speed[nominal]), name == AS_ESTIMATED
    largest_first = sorted(speed, reverse=True)
    time = sum(LESS**place / speed[number] for place, number in enumerate(largest_first))
    return False, _within_noise(1 / time), name == AS_ESTIMATED


def _within_noise(speed: float) -> float:
    return round(math.log(speed) / NOISE)


@dataclass(frozen=True)
class _Clock:
    loaded: Loaded
    names: list[str]
    built: dict[str, Built]
    tell: Callable[[str], None]

    def speedups(self, candidates: int, names: Sequence[str]) -> dict[str, float]:
        """How many times faster than the original each result is."""
        self.tell(f"tune: {len(names)} results at {candidates} candidates")
        some = [self.built[name] for name in names]
        models, users = [b.model for b in some], some[0].user_inputs
        seconds = SECONDS * (1 + len(models))
        _, times = measure_all(self.loaded.source, models, users, candidates, seconds, self.loaded.folder)
        before, *after = (statistics.median(t) for t in times)
        return {name: before / time for name, time in zip(names, after, strict=True)}


def _different(
    loaded: Loaded, options: Options, rules: Sequence[AnyRule], first: Built, tell: Callable[[str], None]
) -> dict[str, tuple[Built, Options]]:
    """Results that differ from one another, by name."""
    found: dict[str, tuple[Built, Options]] = {AS_ESTIMATED: (first, options)}
    seen = {_key(first)}
    for name, changed, used in _variants(options, rules, first):
        tell(f"tune: {name}")
        built = build(loaded, changed, used)
        if _key(built) not in seen:
            seen.add(_key(built))
            found[name] = built, changed
    return found


def _variants(
    options: Options, rules: Sequence[AnyRule], first: Built
) -> Iterator[tuple[str, Options, Sequence[AnyRule]]]:
    for name, change in DOUBTS.items():
        yield name, replace(options, prices=change(options.prices)), rules
    for rule in sorted({a.rule for a in first.rewritten.applied}):
        used = [r for r in rules if r.name != rule]
        yield f"without {rule}", replace(options, disable=[*options.disable, rule]), used
    yield "user branch once, no rules", replace(options, disable=[*options.disable, *(r.name for r in rules)]), []


def _key(built: Built) -> Hashable:
    """The structure of a result, whatever its values are called."""
    numbers: dict[str, int] = {}
    rows = []
    for node in built.graph.sorted_nodes():
        places = [numbers.setdefault(v, len(numbers)) for v in (*node.inputs, *node.outputs)]
        rows.append((node.op, *places))
    return tuple(rows)
