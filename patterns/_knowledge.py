"""What the constants of a graph alone say of the entries of a value: the zeros of a mask, however it was made."""

from __future__ import annotations

import math

import numpy as np

from mari_onnx.patterns._entries import MAX_ENTRIES, Entries, anything, of_constant
from mari_onnx.patterns._readers import READERS
from mari_onnx.rewrite.workspace import Workspace

MAX_DEPTH = 80
"""What lies further up is not looked at."""


class Knowledge:
    """Reads what is known of values off the graph.

    Args:
        at: The graph; it must not change meanwhile.
    """

    def __init__(self, at: Workspace) -> None:
        self._at = at
        self._memo: dict[str, Entries] = {}

    def of(self, value: str, depth: int = 0) -> Entries:
        """What is known of a value whose rank is known."""
        if value not in self._memo:
            with np.errstate(all="ignore"):
                self._memo[value] = self._found(value, depth)
        return self._memo[value]

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
