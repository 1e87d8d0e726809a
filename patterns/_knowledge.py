"""What the constants of a graph alone say of the entries of a value: the zeros of a mask, however it was made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Flag, auto

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.patterns._entries import FUNCTIONS, HALF_MASK, MAX_ENTRIES, Entries, anything, of_constant
from mari_onnx.patterns._readers import PLAIN_ONLY, READERS
from mari_onnx.patterns._upstream import MAX_DEPTH, Upstream
from mari_onnx.rewrite.workspace import Workspace

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


class Knowledge(Upstream[Entries]):
    """Reads what is known of the entries of values off the graph."""

    def __init__(self, at: Workspace) -> None:
        super().__init__(at)
        self._glances: dict[str, Numbers] = {}

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

    def looks_through(self, value: str) -> Node | None:
        at, node = self._at, self._at.graph.producer(value)
        if at.integers(value) is not None or node is None or node.domain or len(node.outputs) != 1:
            return None
        return node if node.op in READERS and all(at.fact(v).rank is not None for v in node.inputs if v) else None

    def at_first_sight(self, value: str) -> Entries:
        at, shape = self._at, self._at.fact(value).shape
        assert shape is not None
        if at.is_weight(value):
            small = all(isinstance(d, int) for d in shape) and 0 < math.prod(shape) <= MAX_ENTRIES
            array = at.constant(value) if small else None
            return self.nothing(value) if array is None else of_constant(array) or self.nothing(value)
        integers = at.integers(value)
        if integers is not None and all(isinstance(d, int) for d in shape):
            return of_constant(np.array(integers, np.int64).reshape(shape)) or self.nothing(value)
        return self.nothing(value)

    def through(self, node: Node, inputs: Sequence[Entries], value: str) -> Entries:
        with np.errstate(all="ignore"):
            found = READERS[node.op](node, inputs, self._at)
        return self.nothing(value) if found is None or math.prod(found.state.shape) > MAX_ENTRIES else found

    def nothing(self, value: str) -> Entries:
        return anything(self._at.fact(value).rank or 0)

    def is_same(self, one: Entries, other: Entries) -> bool:
        return np.array_equal(one.state, other.state) and np.array_equal(one.number, other.number)

    def size(self, found: Entries) -> int:
        return found.state.size
