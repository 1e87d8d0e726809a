"""What holds until something has changed of what was looked at for it: findings, and that there is nothing to find."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from mari_onnx.ir.graph import Graph, Node
from mari_onnx.rewrite.workspace import Workspace

T = TypeVar("T")

ROOM = 1000
"""So many findings, and two for each node, are kept before those about values that are gone are thrown away."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was looked at, and how it was."""

    values: tuple[str, ...]
    stamps: tuple[int | None, ...]

    @staticmethod
    def of(values: Iterable[str], graph: Graph) -> _Sight:
        seen = tuple(values)
        return _Sight(seen, graph.stamps(seen))

    def is_the_same(self, graph: Graph) -> bool:
        """Whether nothing of it has changed; whoever relies on that has looked at it, too."""
        if graph.stamps(self.values) != self.stamps:
            return False
        graph.looked_at.update(self.values)
        return True


class Memory:
    """Nodes at which something was tried in vain.

    Args:
        graph: The graph. What is tried must ask it, or a workspace around it, for all that it bases itself on.
        counts: Whether an attempt that has just failed would fail again.
    """

    def __init__(self, graph: Graph, counts: Callable[[], bool]) -> None:
        self._graph = graph
        self._counts = counts
        self._in_vain: dict[Node, _Sight] = {}

    def tried(self, node: Node, attempt: Callable[[], bool]) -> bool:
        """Whether an attempt at a node succeeds; one that failed before, and would in the same way, is not made.

        Args:
            node: The node.
            attempt: Leaves the graph as it was where it fails.
        """
        before = self._in_vain.get(node)
        if before is not None and before.is_the_same(self._graph):
            return False
        with self._graph.watched() as looked_at:
            looked_at.update(node.outputs)
            succeeded = attempt()
        if not succeeded and self._counts():
            self._make_room()
            self._in_vain[node] = _Sight.of(looked_at, self._graph)
        return succeeded

    def _make_room(self) -> None:
        if len(self._in_vain) > 2 * len(self._graph) + ROOM:
            self._in_vain = {node: known for node, known in self._in_vain.items() if node in self._graph}


def kept(find: Callable[[str, Workspace], T]) -> Callable[[str, Workspace], T]:
    """Makes a function of a value remember what it finds; for those that many ask about the same value."""

    @wraps(find)
    def remembered(value: str, at: Workspace) -> T:
        known: dict[str, tuple[_Sight, T]] = at.kept.setdefault(find, {})
        before = known.get(value)
        if before is not None and before[0].is_the_same(at.graph):
            return before[1]
        with at.graph.watched() as looked_at:
            found = find(value, at)
        make_room(known, at.graph)
        known[value] = _Sight.of(looked_at, at.graph), found
        return found

    return remembered


def make_room(known: dict[str, Any], graph: Graph) -> None:
    """Forgets findings about values that are gone, where there are many."""
    if len(known) > 2 * len(graph) + ROOM:
        for value in [v for v in known if graph.producer(v) is None and v not in graph.inputs]:
            del known[value]
