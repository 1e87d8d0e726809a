"""What is known of each entry of a value, and what an elementwise operator makes of it.

An entry is a known *number*, *plain* (something that a layer computed: finite, and far from what stands for minus
infinity in front of a Softmax), *masked* (it stands for minus infinity), *low* (plain or masked, as the data will
have it), *wild* (unknown, and a mask may have gone into it), or unknown. Axes along which nothing differs have one
entry here, whatever their size. Layers are taken to overflow nowhere: ``0 * x`` is 0 for a plain ``x``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import onnx

UNKNOWN, WILD, LOW, PLAIN, MASKED, NUMBER = range(6)

MASK = -1e8
"""Numbers up to this one stand for minus infinity in front of a Softmax: its exponential next to a plain entry is 0."""

HALF_MASK = -6e4
"""The same in half precision, where the lowest number is -65504 and layers make numbers of a few thousand at most."""

MODERATE = 1e4
"""A plain entry stays plain when it meets numbers up to this size."""

MAX_ENTRIES = 1 << 20
"""Larger values are unknown."""


def quiet(state: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Which entries are plain, or moderate numbers."""
    return np.asarray((state == PLAIN) | (state == NUMBER) & (np.abs(number) <= MODERATE))


@dataclass(frozen=True)
class Entries:
    """What is known of each entry of a value.

    Attributes:
        state: One of ``UNKNOWN``, ``WILD``, ``LOW``, ``PLAIN``, ``MASKED``, ``NUMBER`` for each entry.
        number: The entry, where it is a number.
    """

    state: np.ndarray
    number: np.ndarray

    @property
    def zeros(self) -> np.ndarray:
        return np.asarray((self.state == NUMBER) & (self.number == 0))

    @property
    def quiet(self) -> np.ndarray:
        """Plain, or a moderate number."""
        return quiet(self.state, self.number)

    @property
    def wild(self) -> np.ndarray:
        """What masks, or may: a layer makes nothing plain of it, as it may lay a mask out for all queries."""
        large = (self.state == NUMBER) & ~(np.abs(self.number) <= MODERATE)
        return np.asarray((self.state == WILD) | (self.state == LOW) | (self.state == MASKED) | large)

    def masked(self, mask: float) -> np.ndarray:
        """What stands for minus infinity where numbers up to ``mask`` do."""
        return np.asarray((self.state == MASKED) | (self.state == NUMBER) & (self.number <= mask))

    def is_even(self, axis: int) -> bool:
        """Whether nothing differs along an axis."""
        state, number = self.state.take([0], axis), self.number.take([0], axis)
        return bool(((self.state == state) & ((self.number == number) | (state != NUMBER))).all())

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> Entries:
        """The same change of layout for both."""
        return Entries(change(self.state), change(self.number))

    def to_rank(self, rank: int) -> Entries:
        return self.map(lambda x: x.reshape((1,) * (rank - x.ndim) + x.shape))


def for_all_heads(entries: np.ndarray) -> np.ndarray:
    """What holds in all matrices: the last two axes of truths of whatever rank."""
    return np.asarray(entries.all(axis=tuple(range(entries.ndim - 2))))


def mask_of(dtype: int) -> float:
    """The largest number of a type that stands for minus infinity in front of a Softmax."""
    return HALF_MASK if dtype == onnx.TensorProto.FLOAT16 else MASK


def anything(rank: int, state: int = UNKNOWN) -> Entries:
    return Entries(np.full((1,) * rank, state, np.int8), np.zeros((1,) * rank))


def of_constant(array: np.ndarray) -> Entries | None:
    kind = as_known(array.dtype)
    return None if kind is None else Entries(np.full(array.shape, NUMBER, np.int8), array.astype(kind))


def as_known(dtype: np.dtype) -> np.dtype | None:
    """Floats as float64, whole numbers as int64, truth values as they are."""
    return {"f": np.dtype(np.float64), "i": np.dtype(np.int64), "b": np.dtype(np.bool_)}.get(dtype.kind)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))))


FUNCTIONS: Mapping[str, Callable[..., np.ndarray]] = {
    "Identity": lambda x: x,
    "Not": np.logical_not,
    "Neg": np.negative,
    "Abs": np.abs,
    "Relu": lambda x: np.maximum(x, 0),
    "Tanh": np.tanh,
    "Sigmoid": _sigmoid,
    "IsNaN": np.isnan,
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Equal": np.equal,
    "Less": np.less,
    "Greater": np.greater,
    "LessOrEqual": np.less_equal,
    "GreaterOrEqual": np.greater_equal,
    "Where": np.where,
}
"""Operators that are followed."""

ROUNDED: Mapping[int, np.dtype] = {
    onnx.TensorProto.FLOAT: np.dtype(np.float32),
    onnx.TensorProto.FLOAT16: np.dtype(np.float16),
}
EXACT_TYPES = frozenset({*ROUNDED, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT64, onnx.TensorProto.BOOL})
"""Types of results in which numbers are computed here as in the model."""

QUIET = frozenset({"Add", "Sub", "Mul", "Neg", "Abs", "Relu", "Identity"})
"""Operators that make something plain of plain entries and moderate numbers."""

BOUNDED = frozenset({"Sigmoid", "Tanh"})


def elementwise(op: str, dtype: int, rank: int, inputs: Sequence[Entries]) -> Entries | None:
    """What an elementwise operator makes of its inputs.

    Args:
        op: One of ``FUNCTIONS``.
        dtype: Element type of the result.
        rank: Number of axes of the result.
        inputs: What is known of each input.
    """
    given = [x.to_rank(rank) for x in inputs]
    shape = reduce(np.broadcast_shapes, (x.state.shape for x in given))
    if math.prod(shape) > MAX_ENTRIES:
        return None
    states = [np.broadcast_to(x.state, shape) for x in given]
    numbers = [np.broadcast_to(x.number, shape) for x in given]
    known = np.logical_and.reduce([s == NUMBER for s in states])
    state = np.full(shape, UNKNOWN, np.int8)
    if op in BOUNDED:
        state[states[0] > WILD] = PLAIN  # what is unknown may be undefined
    if op in QUIET:
        state[np.logical_and.reduce([np.broadcast_to(x.quiet, shape) for x in given])] = PLAIN
    number = np.zeros(shape)
    whole = all(n.dtype.kind in "iub" for n in numbers)
    if known.any() and dtype in EXACT_TYPES and not (op == "Div" and whole):
        number = np.asarray(FUNCTIONS[op](*numbers))
        if op == "Div":
            # The sign of a zero is not known, so neither is that of what it makes infinite.
            number = np.where(numbers[1] == 0, np.nan, number)
        if dtype in ROUNDED:
            number = number.astype(ROUNDED[dtype]).astype(np.float64)
        state[known] = np.where(np.isnan(number), UNKNOWN, NUMBER)[known]
    found = _Decided(state, number, known, mask_of(dtype)).by(op, states, numbers)
    if op not in BOUNDED:
        spread = [np.broadcast_to(x.wild, shape) for x in given[op == "Where" :]]
        found.state[(found.state == UNKNOWN) & np.logical_or.reduce(spread)] = WILD
    return found


@dataclass(frozen=True)
class _Decided:
    """Entries that one operand decides, whatever the other one is."""

    state: np.ndarray
    number: np.ndarray
    known: np.ndarray
    mask: float

    def by(self, op: str, states: Sequence[np.ndarray], numbers: Sequence[np.ndarray]) -> Entries:
        state = self.state.copy()
        number = self.number.astype(np.result_type(self.number, *numbers) if op == "Where" else self.number.dtype)
        is_number = [s == NUMBER for s in states]
        tame = [quiet(s, n) for s, n in zip(states, numbers, strict=True)]
        low = [
            (s == LOW) | (s == PLAIN) | (s == MASKED) | number_ & (n <= MODERATE)
            for s, n, number_ in zip(states, numbers, is_number, strict=True)
        ]

        def settle(where: np.ndarray, new: int, value: np.ndarray | float = 0.0) -> None:
            chosen = where & ~self.known
            state[chosen] = new
            number[chosen] = np.broadcast_to(value, state.shape)[chosen]

        if op in ("Mul", "And", "Or", "Add"):
            for one, other in ((0, 1), (1, 0)):
                value = numbers[one]
                if op == "Mul":
                    settle(is_number[one] & (value == 0) & (states[other] == PLAIN), NUMBER)
                    grown = is_number[one] & (value >= 1) & (value <= MODERATE)
                    for kept in (LOW, MASKED):
                        settle(grown & (states[other] == kept), kept)
                elif op == "And":
                    settle(is_number[one] & (value == 0), NUMBER, 0)
                elif op == "Or":
                    settle(is_number[one] & (value != 0), NUMBER, 1)
                else:
                    mask = (states[one] == MASKED) | is_number[one] & (value <= self.mask)
                    settle((state == UNKNOWN) & low[one] & low[other], LOW)
                    settle(mask & low[other], MASKED)
                    settle(is_number[one] & (value == -np.inf) & low[other], NUMBER, -np.inf)
        elif op == "Sub":
            settle(((states[0] == MASKED) | is_number[0] & (numbers[0] <= self.mask)) & tame[1], MASKED)
            settle(is_number[0] & (numbers[0] == -np.inf) & tame[1], NUMBER, -np.inf)
        elif op == "Div":
            fine = is_number[1] & (np.abs(numbers[1]) >= 1 / MODERATE) & np.isfinite(numbers[1])
            settle(fine & (states[0] == PLAIN), PLAIN)
        elif op == "Where":
            for branch, truth in ((1, True), (2, False)):
                chosen = is_number[0] & ((numbers[0] != 0) == truth)
                for new in (LOW, PLAIN, MASKED, NUMBER):
                    settle(chosen & (states[branch] == new), new, numbers[branch])
            either = ~is_number[0]
            settle(either & low[1] & low[2], LOW)
            settle(either & tame[1] & tame[2], PLAIN)
            settle(either & is_number[1] & is_number[2] & (numbers[1] == numbers[2]), NUMBER, numbers[1])
        return Entries(state, number)
