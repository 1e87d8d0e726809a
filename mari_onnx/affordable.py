"""With how many candidates a large model can be run: with many, it may take minutes, and more memory than there is.

How long a run takes with few candidates tells how long it would take with more, in proportion. Memory is bounded with
it, as what takes no longer than some seconds has not written more in them than machines hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable

GROWTH = (8, 4, 2)
"""By how much the number of candidates grows from trial to trial, as long as it can be afforded."""


def affordable(run: Callable[[int], object], wanted: int, longest: float) -> int:
    """The largest number of candidates with which a run takes no longer than that.

    Args:
        run: Runs the model with a number of candidates; where it raises, it counts as taking no time.
        wanted: So many at most.
        longest: Seconds.

    Returns:
        ``wanted``, where that can be afforded; at least 1.
    """
    rows = 1
    while rows < wanted:
        seconds = _seconds(run, rows)
        more = next((n for n in (min(rows * by, wanted) for by in GROWTH) if seconds * n <= longest * rows), rows)
        if more == rows:
            break
        rows = more
    return rows


def spoken(seconds: float) -> str:
    """A length of time for a sentence."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _seconds(run: Callable[[int], object], rows: int) -> float:
    """How long a run takes, the first of which also finds memory; no time at all where it fails."""
    try:
        run(rows)
        start = time.perf_counter()
        run(rows)
        return time.perf_counter() - start
    except Exception:  # said where the model is run in earnest
        return 0.0
