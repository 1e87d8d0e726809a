"""What the graph walk knows of a tensor: its shape, its value if constant, and where its elements come from.

A *trace* says of each element of a tensor: it is ``clip(scale * x + offset, low, high)``, where ``x`` is one element of
one graph input, known by its number (its *source*). Layout operators only permute such elements, so an id can be
followed through Concat, Slice, Reshape and the like to the table that it indexes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mari_onnx.verification.source import Array

CONSTANT = -1  # the source of an element that depends on no input


@dataclass(frozen=True)
class Trace:
    """The origin of each element of a tensor, flat, in row-major order."""

    source: Array
    scale: Array
    offset: Array
    low: Array
    high: Array

    @staticmethod
    def of_inputs(first: int, count: int) -> Trace:
        """The elements of a graph input, numbered from `first`."""
        return Trace(
            np.arange(first, first + count),
            np.ones(count),
            np.zeros(count),
            np.full(count, -np.inf),
            np.full(count, np.inf),
        )

    @staticmethod
    def of_constant(values: Array) -> Trace:
        """Elements with a known value, or an unknown one (NaN) where it is not a number."""
        count = values.size
        numeric = values.dtype.kind in "biuf"
        offset = values.ravel().astype(np.float64) if numeric else np.full(count, np.nan)
        source = np.full(count, CONSTANT)
        return Trace(source, np.zeros(count), offset, np.full(count, -np.inf), np.full(count, np.inf))

    @staticmethod
    def joined(traces: list[Trace]) -> Trace:
        """The elements of several traces, one after the other."""
        return Trace(
            np.concatenate([trace.source for trace in traces]),
            np.concatenate([trace.scale for trace in traces]),
            np.concatenate([trace.offset for trace in traces]),
            np.concatenate([trace.low for trace in traces]),
            np.concatenate([trace.high for trace in traces]),
        )

    def take(self, positions: Array) -> Trace:
        """The elements at flat positions."""
        at = positions.ravel()
        return Trace(self.source[at], self.scale[at], self.offset[at], self.low[at], self.high[at])

    def spread(self, shape: tuple[int, ...], target: tuple[int, ...]) -> Trace:
        """The elements of a tensor of this shape, broadcast to another."""
        positions = np.arange(self.source.size).reshape(shape)
        return self.take(np.broadcast_to(positions, target))

    def times(self, factor: Array) -> Trace:
        """Each element multiplied by its factor; a zero factor makes a constant."""
        zero = factor == 0
        safe = np.where(zero, 1.0, factor)
        ends = np.sort(np.stack([self.low * safe, self.high * safe]), axis=0)
        return Trace(
            np.where(zero, CONSTANT, self.source),
            np.where(zero, 0.0, self.scale * safe),
            np.where(zero, 0.0, self.offset * safe),
            np.where(zero, -np.inf, ends[0]),
            np.where(zero, np.inf, ends[1]),
        )

    def plus(self, term: Array) -> Trace:
        """Each element with its term added."""
        return Trace(self.source, self.scale, self.offset + term, self.low + term, self.high + term)

    def clipped(self, low: Array, high: Array) -> Trace:
        """Each element limited to [low, high]."""
        return Trace(
            self.source,
            self.scale,
            self.offset,
            np.clip(self.low, low, high),
            np.clip(self.high, low, high),
        )


@dataclass(frozen=True)
class Value:
    """A tensor during the walk.

    Attributes:
        dtype: the ONNX element type, 0 when unknown.
        shape: the sizes, None when unknown.
        const: the value, for small constants.
        trace: where the elements come from, for tensors that hold input elements.
        binary: the elements are 0 or 1, as in a mask.
        masked: the elements are those of the trace, or of a constant, or 0 where a mask that is not constant says so.
    """

    dtype: int = 0
    shape: tuple[int, ...] | None = None
    const: Array | None = None
    trace: Trace | None = None
    binary: bool = False
    masked: bool = False

    @property
    def size(self) -> int | None:
        """The number of elements, None when unknown."""
        return None if self.shape is None else math.prod(self.shape)

    def traced(self) -> Trace | None:
        """The trace; of a constant, one without sources."""
        if self.trace is not None:
            return self.trace
        return Trace.of_constant(self.const) if self.const is not None else None


UNKNOWN = Value()
