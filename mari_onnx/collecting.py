"""How often Python looks for unused cycles while a graph is rewritten.

A graph under rewrite is many small objects that live long: each full collection looks at all of them and finds next to
nothing, which takes up to a fifth of the time for 10,000 nodes.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = 200_000
"""How many objects more there are before the youngest are looked at."""

_lock = threading.Lock()
_before: list[tuple[int, int, int]] = []
"""What the first of those that are inside found, once for each of them."""


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Within it, collections are seldom; behind the last of several, also in other threads, as they were before."""
    with _lock:
        found = gc.get_threshold()
        _before.append(_before[0] if _before else found)
        # None at all, or fewer still, is what somebody wants.
        if 0 < found[0] < SELDOM:
            gc.set_threshold(SELDOM, *found[1:])
    try:
        yield
    finally:
        with _lock:
            threshold = _before.pop()
            if not _before:
                gc.set_threshold(*threshold)
