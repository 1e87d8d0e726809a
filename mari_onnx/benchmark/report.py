"""What was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mari_onnx.errors import UsageError

VANILLA, ONE_SHOT, FULL, RESULT, FLOOR = "vanilla", "one-shot", "full", "result", "floor"

MEANINGS = {
    VANILLA: "as exported",
    ONE_SHOT: "work on the user alone runs once, no rule applied",
    FULL: "optimized",
    RESULT: "the second model",
    FLOOR: "the one before with the user's inputs frozen: the item side alone",
}


@dataclass(frozen=True)
class Timed:
    """One side at one number of candidates and threads.

    Attributes:
        side: Which model ran.
        candidates: Candidates per request.
        threads: Threads of ONNX Runtime.
        milliseconds: Median time of a request.
        quartiles: A quarter of the requests took less than the first, a quarter more than the second.
        runs: How many were timed.
        over_vanilla: How many times faster than the original: the median over turns, in each of which both ran.
        of_floor: The same over the floor, so 1 is its speed; ``None`` where there is no floor.
    """

    side: str
    candidates: int
    threads: int
    milliseconds: float
    quartiles: tuple[float, float]
    runs: int
    over_vanilla: float
    of_floor: float | None

    @property
    def candidates_per_second(self) -> float:
        """How many candidates are scored in a second of such requests, one after the other."""
        return 1e3 * self.candidates / self.milliseconds

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **asdict(self),
            "quartiles": list(self.quartiles),
            "candidates_per_second": self.candidates_per_second,
        }


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    Attributes:
        processor: As the system calls it.
        cores: How many this process may use.
        device: The accelerator; ``None`` for the processor itself.
        onnxruntime: Version.
    """

    processor: str
    cores: int
    device: str | None
    onnxruntime: str


@dataclass(frozen=True)
class BenchReport:
    """A benchmark.

    Attributes:
        provider: The execution provider of ONNX Runtime.
        machine: Where.
        user_inputs: What to type to choose the same user-side inputs.
        sides: The models that ran, in order.
        measured: The times: by threads, candidates and side.
        notes: Sentences for the user.
    """

    provider: str
    machine: Machine
    user_inputs: tuple[str, ...]
    sides: tuple[str, ...]
    measured: tuple[Timed, ...]
    notes: tuple[str, ...] = field(default=())

    def of(self, side: str, candidates: int, threads: int = 1) -> Timed:
        """One of the times.

        Raises:
            UsageError: That was not measured.
        """
        for one in self.measured:
            if (one.side, one.candidates, one.threads) == (side, candidates, threads):
                return one
        there = sorted({(one.candidates, one.threads) for one in self.measured})
        raise UsageError(
            f"'{side}' was not measured at {candidates} candidates with {threads} threads: the sides are "
            f"{', '.join(self.sides)}, the candidates and threads {', '.join(f'{c} and {t}' for c, t in there)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "provider": self.provider,
            "machine": asdict(self.machine),
            "user_inputs": list(self.user_inputs),
            "sides": [{"side": side, "meaning": MEANINGS.get(side, side)} for side in self.sides],
            "measured": [one.to_json() for one in self.measured],
            "notes": list(self.notes),
        }


def summarise(seconds: Mapping[str, Sequence[float]], candidates: int, threads: int) -> list[Timed]:
    """From the times of all turns to their figures.

    Args:
        seconds: By side; the same number of turns for each.
        candidates: Candidates per request.
        threads: Threads of ONNX Runtime.
    """
    times = {side: 1e3 * np.asarray(turns) for side, turns in seconds.items()}
    floor = times.get(FLOOR)
    return [
        Timed(
            side,
            candidates,
            threads,
            milliseconds=float(np.median(own)),
            quartiles=(float(np.quantile(own, 0.25)), float(np.quantile(own, 0.75))),
            runs=len(own),
            over_vanilla=float(np.median(times[VANILLA] / own)),
            of_floor=float(np.median(floor / own)) if floor is not None else None,
        )
        for side, own in times.items()
    ]
