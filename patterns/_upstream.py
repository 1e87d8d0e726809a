"""What is found of a value from what is found of those it is made of, and found anew only where these have changed."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mari_onnx.ir import Node
from mari_onnx.rewrite.memory import make_room
from mari_onnx.rewrite.workspace import Workspace

T = TypeVar("T")

MAX_DEPTH = 80
"""What lies further up is not looked at."""
TRUSTED_DEPTH = 16
"""What was found further up is taken as it was. It still holds, as a value stays what it is, whatever makes it by now;
a little might be added."""
TRUSTED_BEHIND = 1000
"""So is what was found of others, once so many have been looked at: a layer for each of many experts may read them."""
MAX_KEPT = 1 << 16
"""Findings of more entries are not kept."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A finding, and what it was found from."""

    stamps: tuple[int | None, ...]
    inputs: tuple[T, ...]
    found: T


class Upstream(ABC, Generic[T]):
    """Findings about the values of a graph.

    Args:
        at: The graph; it must not change as long as this object is used. The next object of its kind begins with what
            this one has found.
    """

    def __init__(self, at: Workspace) -> None:
        self._at = at
        self._kept: dict[str, Kept[T]] = at.kept.setdefault(type(self), {})
        self._memo: dict[str, T] = {}
        self._cut: set[str] = set()
        make_room(self._kept, at.graph)

    def of(self, value: str, depth: int = 0) -> T:
        """What is found of a value whose rank is known."""
        if value not in self._memo:
            trusted = depth >= TRUSTED_DEPTH or len(self._memo) >= TRUSTED_BEHIND
            kept = self._kept.get(value) if trusted else None
            self._memo[value] = self._found(value, depth) if kept is None else kept.found
        return self._memo[value]

    def _found(self, value: str, depth: int) -> T:
        node = self.looks_through(value)
        if node is None:
            return self._kept_or_new(value, (), None)
        if depth >= MAX_DEPTH:
            self._cut.add(value)
            return self.nothing(value)
        sources = [v for v in node.inputs if v]
        inputs = tuple([self.of(v, depth + 1) for v in sources])
        if not self._cut.isdisjoint(sources):
            self._cut.add(value)
            return self.through(node, inputs, value)
        return self._kept_or_new(value, inputs, node)

    def _kept_or_new(self, value: str, inputs: tuple[T, ...], node: Node | None) -> T:
        stamps = self._at.graph.stamps((value, *(node.inputs if node is not None else ())))
        kept = self._kept.get(value)
        if kept is not None and kept.stamps == stamps and all(map(operator.is_, kept.inputs, inputs)):
            return kept.found
        found = self.at_first_sight(value) if node is None else self.through(node, inputs, value)
        if kept is not None and self.is_same(kept.found, found):
            found = kept.found  # the very object, so that what was found from it still holds
        if self.size(found) <= MAX_KEPT:
            self._kept[value] = Kept(stamps, inputs, found)
        return found

    @abstractmethod
    def looks_through(self, value: str) -> Node | None:
        """The node that makes a value, if the finding follows from its inputs."""

    @abstractmethod
    def at_first_sight(self, value: str) -> T:
        """What is found of a value by itself."""

    @abstractmethod
    def through(self, node: Node, inputs: Sequence[T], value: str) -> T:
        """What is found of a value from the inputs, absent ones left out, of the node that makes it."""

    @abstractmethod
    def nothing(self, value: str) -> T:
        """What is said of a value of which nothing is known."""

    @abstractmethod
    def is_same(self, one: T, other: T) -> bool:
        """Whether two findings say the same."""

    @abstractmethod
    def size(self, found: T) -> int:
        """How many entries a finding has."""
