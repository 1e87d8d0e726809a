"""Values that differ between two runs of a graph in the entries of some tokens alone, and where those lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, product, quotient, same
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Along:
    """How the entries of a value lie: entry number ``e`` in memory is of token ``e // inner % size + first``.

    Attributes:
        inner: How many entries of one token lie together.
        size: How many tokens there are.
        first: The first of them.
    """

    inner: Dim
    size: int
    first: int = 0

    def axis(self, shape: Shape) -> int | None:
        """The axis that the tokens have to themselves, if there is one."""
        for axis, size in enumerate(shape):
            if same(size, self.size) and same(product(shape[axis + 1 :]), self.inner):
                return axis
        return None


def along(axis: int, shape: Shape, first: int = 0) -> Along:
    """Tokens on an axis of known size."""
    return Along(product(shape[axis + 1 :]), shape[axis], first)


Places = frozenset[Along]
"""All the ways in which a value may differ along tokens; none where it does not."""

EVERYWHERE: None = None
"""Any entry may differ."""

Differing = Mapping[str, Places]
"""How values differ; those that are not in it do not. None differs everywhere: there a proof has failed."""


class Differences:
    """How values differ, and how that moves with the axes of tokens.

    Args:
        at: The graph.
        differing: How values differ.
        matters: Tells of two token numbers whether any token from the one up to the other may differ at all.
    """

    def __init__(self, at: Workspace, differing: Differing, matters: Callable[[int, int], bool]) -> None:
        self.at = at
        self.matters = matters
        self._differing = differing

    def places(self, value: str) -> Places:
        """How a value differs."""
        return self._differing.get(value, Places())

    def reaches(self, node: Node) -> bool:
        """Whether anything that a node reads differs."""
        return any(map(self.places, node.reads))

    def shape(self, value: str) -> Shape | None:
        return self.at.fact(value).shape if value else ()

    def only_first(self, node: Node) -> bool:
        """Whether nothing but the first input of a node differs."""
        return not any(self.places(v) for v in node.inputs[1:])

    def moved(
        self, value: str, output: str, move: Callable[[int], int | None], kept: Places | None = None
    ) -> Places | None:
        """The places of an operand, or some of them, where each axis becomes another one of the result."""
        before, after = self.shape(value), self.shape(output)
        found = []
        for place in self.places(value) if kept is None else kept:
            axis = None if before is None else place.axis(before)
            own = None if axis is None else move(axis)
            if own is None or after is None or not same(after[own], place.size):
                return EVERYWHERE
            found.append(along(own, after, place.first))
        return frozenset(found)

    def rows(self, value: str, width: Dim, by: Dim) -> Places | None:
        """Rows of a number of entries become rows of another one, each by itself."""
        found = []
        for place in self.places(value):
            rows = None if same(width, 0) else quotient(place.inner, width)
            if rows is None:
                return EVERYWHERE
            found.append(Along(product((rows, by)), place.size, place.first))
        return frozenset(found)

    def cut(self, value: str, output: str, starts: Mapping[int, int | None]) -> Places | None:
        """Pieces of some axes, of which it may be known where they start."""
        before, after = self.shape(value), self.shape(output)
        found = []
        for place in self.places(value):
            axis = place.axis(before) if before is not None else None
            start = None if axis is None else starts.get(axis, 0)
            if axis is None or start is None or after is None or not isinstance(after[axis], int):
                return EVERYWHERE
            first = place.first + start
            if self.matters(first, first + after[axis]):
                found.append(along(axis, after, first))
        return frozenset(found)
