"""How long a request takes before and after: both models in turn, on the same inputs, in ONNX Runtime."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from mari_onnx.errors import MariError, ModelError
from mari_onnx.runtime import session
from mari_onnx.verification import match_signatures, open_source, original_inputs, plan_feeds, stated_axes
from mari_onnx.verification.draws import Caution
from mari_onnx.verification.sessions import runtime_message
from mari_onnx.verification.source import ModelLike

FEWEST_RUNS = 3
MOST_RUNS = 300
SEED = 0


@dataclass(frozen=True)
class Timing:
    """Medians of paired measurements.

    Attributes:
        candidates: Number of candidates per request.
        before: Milliseconds of the original.
        after: Milliseconds of the result.
        runs: How often each was run.
        threads: Number of threads.
    """

    candidates: int
    before: float
    after: float
    runs: int
    threads: int

    @property
    def speedup(self) -> float:
        """How many times faster the result is."""
        return self.before / self.after if self.after else float("inf")

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
        candidates: Rows to feed; a model with a fixed batch gets that one.
        seconds: Stop after so long, once each has run a few times.

    Raises:
        MariError: They cannot be run on random inputs of that size.
    """
    rows, times = measure_all(original, [optimized], users, candidates, seconds)
    before, after = (statistics.median(t) for t in times)
    return Timing(rows, before, after, len(times[0]), 1)


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
    source, other = open_source(original, "original model"), open_source(results[0], "optimized model", folder)
    inputs = original_inputs(source, stated_axes(other, source))
    signature = match_signatures(inputs, other, list(users))
    plan = plan_feeds(source, inputs, signature.user_inputs)
    rows = inputs.fixed_batch or candidates
    before, *after = (session(_for_session(m), threads=1, folder=folder) for m in (original, *results))
    failure = ""
    for one_row, caution in product((signature.given_once, not signature.given_once), Caution):
        feeds = replace(plan, one_user_row=one_row).draw(rows, SEED, caution)
        full, single = dict(feeds.full), signature.feeds(feeds.full, feeds.single)
        try:
            before.run(None, full)
            for one in after:
                one.run(None, single)
        except Exception as error:  # the runtime has a class for each status code and no common base
            failure = failure or runtime_message(error)
            continue
        calls = [partial(before.run, None, full), *(partial(one.run, None, single) for one in after)]
        return rows, [[t * 1e3 for t in times] for times in _in_turn(calls, seconds)]
    raise ModelError(f"the time could not be measured at {rows} candidates: {failure}")


def try_to_measure(*args: Any, **options: Any) -> tuple[Timing | None, str]:
    """:func:`measure`, or why not: a measurement is no reason to fail."""
    try:
        return measure(*args, **options), ""
    except MariError as error:
        return None, str(error)
    except Exception as error:  # a type that the runtime takes from nobody, no memory for so many rows, ...
        return None, f"the time could not be measured: {runtime_message(error)}"


def _for_session(model: ModelLike) -> Any:
    import onnx

    return model if isinstance(model, onnx.ModelProto) else str(model)


def _in_turn(calls: Sequence[Callable[[], object]], seconds: float) -> list[list[float]]:
    """Times calls one after the other, in alternating order, so that a busy machine is busy for all."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    for turn in range(MOST_RUNS):
        if turn >= FEWEST_RUNS and time.perf_counter() > end:
            break
        order = range(len(calls)) if turn % 2 == 0 else reversed(range(len(calls)))
        for index in order:
            start = time.perf_counter()
            calls[index]()
            times[index].append(time.perf_counter() - start)
    return times
