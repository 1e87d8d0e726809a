"""How long a request takes before and after: both models in turn, on the same inputs, in ONNX Runtime."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import onnx

from mari_onnx.affordable import affordable, spoken
from mari_onnx.errors import MariError, ModelError
from mari_onnx.runtime import session
from mari_onnx.turns import Call, in_rounds
from mari_onnx.verification import match_signatures, open_source, original_inputs, plan_feeds, stated_axes
from mari_onnx.verification.draws import Caution
from mari_onnx.verification.feeds import FeedPlan
from mari_onnx.verification.sessions import runtime_message
from mari_onnx.verification.source import Array, ModelLike

SEED = 0
LONGEST_RUN = 3.0
"""Seconds that a run of the original may take; it is timed with fewer candidates else."""


@dataclass(frozen=True)
class Timing:
    """Medians of paired measurements.

    Attributes:
        candidates: Number of candidates per request.
        before: Milliseconds of the original.
        after: Milliseconds of the result.
        runs: How often each was run.
        threads: Number of threads.
        asked: The number of candidates that was asked for, with which a run would have taken too long if it is not the
            one above.
    """

    candidates: int
    before: float
    after: float
    runs: int
    threads: int
    asked: int

    @property
    def speedup(self) -> float:
        """How many times faster the result is."""
        return self.before / self.after if self.after else float("inf")

    @property
    def note(self) -> str:
        """Why it was not timed with as many candidates as were asked for, if so."""
        if self.candidates == self.asked:
            return ""
        seconds = self.before / 1e3 * self.asked / self.candidates
        timed = f"timed with {self.candidates} candidates, as one request of {self.asked}"
        if seconds < LONGEST_RUN:  # what was seen when the number was chosen was another machine, so to speak
            return f"{timed} looked as if it took more than {spoken(LONGEST_RUN)} before: the machine was busier then"
        return f"{timed} takes about {spoken(seconds)} before"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "speedup": self.speedup}


def measure(
    original: ModelLike, optimized: ModelLike, users: Sequence[str], candidates: int, seconds: float = 2.0
) -> Timing:
    """Times two models.

    Args:
        original: The original, or its path.
        optimized: The result, or its path.
        users: Specifications of the user-side inputs.
        candidates: Rows to feed; a model with a fixed batch gets that one, one that would run too long fewer.
        seconds: Stop after so long, once each has run a few times.

    Raises:
        MariError: They cannot be run on random inputs of that size.
    """
    runs = _measured(original, [optimized], users, candidates, seconds, None, LONGEST_RUN)
    before, after = (statistics.median(t) for t in runs.times)
    return Timing(runs.rows, before, after, len(runs.times[0]), 1, runs.asked)


def measure_all(
    original: ModelLike,
    results: Sequence[ModelLike],
    users: Sequence[str],
    candidates: int,
    seconds: float,
    folder: Path | None = None,
) -> tuple[int, list[list[float]]]:
    """Times a model and several results of it, in turn.

    Args:
        original: The original, or its path.
        results: The results, or their paths; all with the same inputs.
        users: Specifications of the user-side inputs.
        candidates: Rows to feed; a model with a fixed batch gets that one.
        seconds: Stop after so long, once each has run a few times.
        folder: Where the external data of models in memory lies.

    Returns:
        The number of rows, and the times in milliseconds of the original and of each result.

    Raises:
        MariError: They cannot be run on random inputs of that size.
    """
    runs = _measured(original, results, users, candidates, seconds, folder, math.inf)
    return runs.rows, runs.times


@dataclass(frozen=True)
class _Runs:
    """The number of rows, how many were asked for, and the milliseconds of each run of each model."""

    rows: int
    asked: int
    times: list[list[float]]


def _measured(
    original: ModelLike,
    results: Sequence[ModelLike],
    users: Sequence[str],
    candidates: int,
    seconds: float,
    folder: Path | None,
    longest: float,
) -> _Runs:
    """Times a model and results of it, with fewer candidates where a run of the model takes longer than that."""
    source, other = open_source(original, "original model"), open_source(results[0], "optimized model", folder)
    inputs = original_inputs(source, stated_axes(other, source))
    signature = match_signatures(inputs, other, list(users))
    plan = plan_feeds(source, inputs, signature.user_inputs)
    asked = inputs.fixed_batch or candidates
    first = _Sessions((original, *results), folder)
    for index in range(1 + len(results)):
        first.of(index)
    failure = ""
    for one_row, caution in product((signature.given_once, not signature.given_once), Caution):
        drawn = replace(plan, one_user_row=one_row)
        rows = asked
        drawn.check(asked)
        if inputs.fixed_batch is None and longest < math.inf:
            rows = affordable(partial(_run, first.of(0), drawn, caution), asked, longest)
        feeds = drawn.draw(rows, SEED, caution)
        fed = [dict(feeds.full), *[signature.feeds(feeds.full, feeds.single)] * len(results)]
        try:
            for index, feed in enumerate(fed):
                first.of(index).run(None, feed)
        except Exception as error:  # the runtime has a class for each status code and no common base
            failure = failure or runtime_message(error)
            continue
        times = in_rounds([partial(first.call, index, feed) for index, feed in enumerate(fed)], seconds)
        return _Runs(rows, asked, [[t * 1e3 for t in own] for own in times])
    raise ModelError(f"the time could not be measured at {asked} candidates: {failure}")


class _Sessions:
    """Models as they are loaded: those that were needed to find inputs are the first that are timed."""

    def __init__(self, models: Sequence[ModelLike], folder: Path | None) -> None:
        self._models = [model if isinstance(model, onnx.ModelProto) else str(model) for model in models]
        self._folder = folder
        self._ready: dict[int, Any] = {}

    def of(self, index: int) -> Any:
        """The session of a model, which is kept until it is timed."""
        if index not in self._ready:
            self._ready[index] = session(self._models[index], threads=1, folder=self._folder)
        return self._ready[index]

    def call(self, index: int, feed: Mapping[str, Array]) -> Call:
        """One run of a model, in a session that only this call keeps."""
        running = self.of(index)
        del self._ready[index]
        running.run(None, feed)
        return partial(running.run, None, feed)


def _run(model: Any, plan: FeedPlan, caution: Caution, rows: int) -> None:
    model.run(None, dict(plan.draw(rows, SEED, caution).full))


def try_to_measure(*args: Any, **options: Any) -> tuple[Timing | None, str]:
    """:func:`measure`, and what is to be said of it, or why not: a measurement is no reason to fail."""
    try:
        timing = measure(*args, **options)
        return timing, timing.note
    except MariError as error:
        return None, str(error)
    except Exception as error:  # a type that the runtime takes from nobody, no memory for so many rows, ...
        return None, f"the time could not be measured: {runtime_message(error)}"
