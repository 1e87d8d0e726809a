"""What the graph demands of its inputs, gathered element by element during the walk."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mari_onnx.verification.source import Array
from mari_onnx.verification.traces import CONSTANT, Trace


@dataclass
class Constraints:
    """Bounds and hints for each input element, by its source number.

    Attributes:
        low: smallest valid value, -inf when free.
        high: largest valid value (inclusive), inf when free.
        hint: a value near which something happens (a threshold, a bucket); draws of free integers reach beyond it.
        padding: a value that means "nothing here", NaN when there is none.
        group: number of the comparison that set `padding`, so that neighbouring histories are told apart.
        integral: the element must be a whole number, whatever its type.
        vocabularies: sources and the keys that they are looked up by.
    """

    low: Array
    high: Array
    hint: Array
    padding: Array
    group: Array
    integral: Array
    vocabularies: list[tuple[Array, Array]] = field(default_factory=list)
    _groups: int = 0

    @staticmethod
    def of(count: int) -> Constraints:
        """No demands on `count` elements."""
        return Constraints(
            np.full(count, -np.inf),
            np.full(count, np.inf),
            np.full(count, np.nan),
            np.full(count, np.nan),
            np.zeros(count, dtype=np.int64),
            np.zeros(count, dtype=bool),
        )

    def within(self, trace: Trace, low: Array | float, high: Array | float, *, integral: bool = True) -> None:
        """Demands that elements lie in [low, high]; a demand that would leave nothing is dropped."""
        lower, upper = np.broadcast_to(low, trace.source.shape), np.broadcast_to(high, trace.source.shape)
        live = (trace.source != CONSTANT) & (trace.scale != 0)
        trace = trace.take(np.flatnonzero(live))
        # A clip that already keeps the element inside leaves the input free on that side.
        lower = np.where(trace.low >= lower[live], -np.inf, lower[live])
        upper = np.where(trace.high <= upper[live], np.inf, upper[live])
        ends = np.sort(np.stack([_solve(trace, lower), _solve(trace, upper)]), axis=0)
        new_low, new_high = self.low.copy(), self.high.copy()
        np.maximum.at(new_low, trace.source, np.ceil(ends[0]) if integral else ends[0])
        np.minimum.at(new_high, trace.source, np.floor(ends[1]) if integral else ends[1])
        possible = new_low <= new_high
        self.low, self.high = np.where(possible, new_low, self.low), np.where(possible, new_high, self.high)
        if integral:
            self.integral[trace.source] = True

    def table_rows(self, trace: Trace, rows: Array | int) -> None:
        """Demands that elements are row numbers of a table with so many rows."""
        self.within(trace, 0, np.asarray(rows, dtype=np.float64) - 1)
        self._stacked_fields(trace)

    def _stacked_fields(self, trace: Trace) -> None:
        """Several fields share one table, each behind its own offset: a field ends where the next one begins."""
        plain = (trace.source != CONSTANT) & (trace.scale == 1) & np.isfinite(trace.offset)
        starts = np.unique(trace.offset[plain])
        # Offsets 0 and 1 are a shift for padding, not two fields.
        if starts.size < 2 or starts[0] < 0 or np.diff(starts).min() < 2:
            return
        fields = trace.take(np.flatnonzero(plain))
        following = np.append(starts[1:], np.inf)[np.searchsorted(starts, fields.offset)]
        self.within(fields, fields.offset, following - 1)

    def padded(self, trace: Trace, values: Array | float) -> None:
        """Elements are compared with a value that marks padding; the first such comparison counts."""
        live = np.flatnonzero((trace.source != CONSTANT) & (trace.scale != 0))
        trace, values = trace.take(live), np.broadcast_to(values, trace.source.shape)[live]
        solved = _solve(trace, values)
        fresh = np.isnan(self.padding[trace.source])
        self._groups += 1
        self.padding[trace.source[fresh]] = solved[fresh]
        self.group[trace.source[fresh]] = self._groups
        self.near(trace, values)

    def near(self, trace: Trace, values: Array | float) -> None:
        """Something happens around these element values: a free integer should be drawn on both sides."""
        live = np.flatnonzero((trace.source != CONSTANT) & (trace.scale != 0))
        trace, values = trace.take(live), np.broadcast_to(values, trace.source.shape)[live]
        solved = _solve(trace, values)
        ok = np.isfinite(solved)
        np.fmax.at(self.hint, trace.source[ok], solved[ok])

    def keyed(self, trace: Trace, keys: Array) -> None:
        """Elements are looked up among keys."""
        self.vocabularies.append((trace.source[trace.source != CONSTANT], keys))

    def whole(self, trace: Trace) -> None:
        """Elements are cast to integers."""
        self.integral[trace.source[trace.source != CONSTANT]] = True


def _solve(trace: Trace, value: Array) -> Array:
    """The input value at which scale * x + offset reaches `value`."""
    return np.asarray((value - trace.offset) / trace.scale)
