"""What the constants of a graph alone say of the entries of a value: the zeros of a mask, however it was made."""

from __future__ import annotations

import math
from enum import Flag, auto

import numpy as np

from mari_onnx.patterns._entries import FUNCTIONS, HALF_MASK, MAX_ENTRIES, Entries, anything, of_constant
from mari_onnx.patterns._readers import PLAIN_ONLY, READERS
from mari_onnx.rewrite.workspace import Workspace

MAX_DEPTH = 80
"""What lies further up is not looked at."""


MAKING = frozenset({"ConstantOfShape", "Pad", "Trilu"})
"""Operators that put numbers in by themselves."""


class Numbers(Flag):
    """What a glance at a value finds among its entries."""

    NONE = 0
    OTHERS = auto()
    ZEROS = auto()
    MASKS = auto()
    ANY = OTHERS | ZEROS | MASKS

    @classmethod
    def of(cls, array: np.ndarray) -> Numbers:
        if array.dtype.kind not in "fib":
            return cls.NONE
        # A number that is a mask in half precision alone may still be cast to it.
        zeros, masks = bool((array == 0).any()), array.dtype.kind != "b" and bool((array <= HALF_MASK).any())
        return cls.OTHERS | (cls.ZEROS if zeros else cls.NONE) | (cls.MASKS if masks else cls.NONE)


class Knowledge:
    """Reads what is known of values off the graph.

    Args:
        at: The graph; it must not change meanwhile.
    """

    def __init__(self, at: Workspace) -> None:
        self._at = at
        self._memo: dict[str, Entries] = {}
        self._glances: dict[str, Numbers] = {}

    def of(self, value: str, depth: int = 0) -> Entries:
        """What is known of a value whose rank is known."""
        if value not in self._memo:
            with np.errstate(all="ignore"):
                self._memo[value] = self._found(value, depth)
        return self._memo[value]

    def zeros(self, value: str) -> np.ndarray:
        """Which entries of a value are known to be 0; most values are seen to have none at a glance."""
        if self._numbers(value, 0):
            return self.of(value).zeros
        return np.zeros((1,) * (self._at.fact(value).rank or 0), np.bool_)

    def _numbers(self, value: str, depth: int) -> Numbers:
        """What numbers the entries of a value may be known to be; layers leave none."""
        if value not in self._glances:
            self._glances[value] = self._glance(value, depth)
        return self._glances[value]

    def _glance(self, value: str, depth: int) -> Numbers:
        at = self._at
        if at.is_weight(value):
            small = 0 < math.prod(d if isinstance(d, int) else 0 for d in at.fact(value).shape or ()) <= MAX_ENTRIES
            array = at.constant(value) if small else None
            return Numbers.NONE if array is None else Numbers.of(array)
        node = at.graph.producer(value)
        if at.integers(value) is not None or (node is not None and (node.op in MAKING or depth > MAX_DEPTH)):
            return Numbers.ANY
        if node is None or node.domain or node.op not in READERS or node.op in PLAIN_ONLY:
            return Numbers.NONE
        data = node.inputs if node.op in FUNCTIONS or node.op == "Concat" else node.inputs[:1]
        given = [self._numbers(v, depth + 1) for v in data if v]
        if node.op in ("Add", "Sub", "Mul", "Div"):
            # Numbers alone make numbers; next to something else it takes what decides the result by itself.
            deciding = Numbers.ZEROS if node.op == "Mul" else Numbers.MASKS
            return Numbers.ANY if all(given) or any(deciding in g for g in given) else Numbers.NONE
        return Numbers.ANY if any(given) else Numbers.NONE

    def _found(self, value: str, depth: int) -> Entries:
        at, shape = self._at, self._at.fact(value).shape
        assert shape is not None
        nothing = anything(len(shape))
        if at.is_weight(value):
            small = all(isinstance(d, int) for d in shape) and 0 < math.prod(shape) <= MAX_ENTRIES
            array = at.constant(value) if small else None
            return nothing if array is None else of_constant(array) or nothing
        integers = at.integers(value)
        if integers is not None and all(isinstance(d, int) for d in shape):
            return of_constant(np.array(integers, np.int64).reshape(shape)) or nothing
        node = at.graph.producer(value)
        reader = READERS.get(node.op) if node is not None and not node.domain else None
        if node is None or reader is None or depth > MAX_DEPTH or len(node.outputs) != 1:
            return nothing
        if any(at.fact(v).rank is None for v in node.inputs if v):
            return nothing
        found = reader(node, [self.of(v, depth + 1) for v in node.inputs if v], at)
        return nothing if found is None or math.prod(found.state.shape) > MAX_ENTRIES else found
