"""Timing several ways to the same result so that none has an advantage.

Five sessions of one model, timed in turn there and back, came out up to 10% apart: the first and the last follow
themselves where the order turns round, and find their weights in the caches; and what is loaded first is laid out in
memory otherwise than what is loaded last. So the order is drawn for each turn, nobody follows himself, and all are
loaded again, in the opposite order, for each further round. Then they came out within 1%.

In its first run ONNX Runtime finds how much memory a model takes, and in the second it takes that in one piece. Where
fresh memory is slow, as in virtual machines, both take up to seven times as long as all that follow: neither counts.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence

Call = Callable[[], object]

ROUNDS = 4
ROUNDS_OF_HEAVY = 2
"""Where it takes longer to load all sides than to time them."""
FEWEST_TURNS = 2
MOST_TURNS = 500
SMALL = 0.05
"""Seconds. What a run finds in the caches makes no difference to one that takes longer."""


def in_rounds(sides: Sequence[Callable[[], Call | None]], seconds: float) -> list[list[float]]:
    """Times what each of the sides loads.

    Args:
        sides: Load a side, run it once, and return what is to be timed, which is run once more before; ``None`` if it
            cannot be run.
        seconds: Stop after so long, once each was timed a few times; what loading takes comes on top.

    Returns:
        Seconds, by side and turn; nothing for a side that could not be run in each round.
    """
    times: list[list[float]] = [[] for _ in sides]
    running = set(range(len(sides)))
    rounds, number = ROUNDS, 0
    while running and number < rounds:
        start = time.perf_counter()
        loaded = _loaded(sides, sorted(running, reverse=number % 2 == 1))
        if number == 0 and time.perf_counter() - start > seconds / ROUNDS:
            rounds = ROUNDS_OF_HEAVY
        running &= loaded.keys()
        found = in_turn([loaded[index] for index in sorted(loaded)], seconds / rounds)
        for index, own in zip(sorted(loaded), found, strict=True):
            times[index] += own
        loaded.clear()
        gc.collect()
        number += 1
    return [own if index in running else [] for index, own in enumerate(times)]


def in_turn(calls: Sequence[Call], seconds: float) -> list[list[float]]:
    """Times calls one after the other, so that a busy machine is busy for all.

    What is short is run once more, and that counts: a side finds its own weights in the caches then, as it does where
    it is served, and not what another side has left there.

    Args:
        calls: What to time.
        seconds: Stop after so long, once each was timed a few times.

    Returns:
        Seconds, by call and turn.
    """
    times: list[list[float]] = [[] for _ in calls]
    orders = _orders(len(calls))
    end = time.perf_counter() + seconds
    gc.disable()
    try:
        for turn in range(MOST_TURNS):
            if turn >= FEWEST_TURNS and time.perf_counter() > end:
                break
            for index in next(orders):
                took = _seconds(calls[index])
                times[index].append(took if took > SMALL else _seconds(calls[index]))
    finally:
        gc.enable()
    return times


def _loaded(sides: Sequence[Callable[[], Call | None]], order: Sequence[int]) -> dict[int, Call]:
    """What can be run, by side, loaded in that order."""
    loaded = {}
    for index in order:
        call = sides[index]()
        if call is not None:
            call()
            loaded[index] = call
    return loaded


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _orders(count: int) -> Iterator[list[int]]:
    """Orders in which no call follows itself, if there are several."""
    draw = random.Random(0)
    order = list(range(count))
    last = -1
    while True:
        draw.shuffle(order)
        if count > 1 and order[0] == last:
            order[0], order[1] = order[1], order[0]
        if order:
            last = order[-1]
        yield list(order)
