"""What holds until something has changed of what was looked at for it: findings, and that there is nothing to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Generic, TypeVar

from mari_onnx.ir.graph import Graph, Node
from mari_onnx.rewrite.workspace import Workspace

T = TypeVar("T")

ROOM = 1000
"""So many findings, and two for each node, are kept before those about values that are gone are thrown away."""


class Memory:
    """Nodes at which something was tried in vain.

    Args:
        graph: The graph. What is tried must ask it, or a workspace around it, for all that it bases itself on.
        counts: Whether an attempt that has just failed would fail again.
    """

    def __init__(self, graph: Graph, counts: Callable[[], bool]) -> None:
        self._graph = graph
        self._counts = counts
        self._in_vain: dict[Node, tuple[tuple[str, ...], tuple[int, ...]]] = {}

    def tried(self, node: Node, attempt: Callable[[], bool]) -> bool:
        """Whether an attempt at a node succeeds; one that failed before, and would in the same way, is not made.

        Args:
            node: The node.
            attempt: Leaves the graph as it was where it fails.
        """
        values, stamps = self._in_vain.get(node, ((), ()))
        if values and self._graph.stamps(values) == stamps:
            self._graph.looked_at.update(values)
            return False
        outside, self._graph.looked_at = self._graph.looked_at, set(node.outputs)
        try:
            succeeded = attempt()
        finally:
            inside, self._graph.looked_at = self._graph.looked_at, outside
            outside |= inside
        if not succeeded and self._counts():
            self._make_room()
            values = tuple(inside)
            self._in_vain[node] = values, self._graph.stamps(values)
        return succeeded

    def _make_room(self) -> None:
        if len(self._in_vain) > 2 * len(self._graph) + ROOM:
            self._in_vain = {node: known for node, known in self._in_vain.items() if node in self._graph}


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    """A finding, and the stamps of all that was looked at for it."""

    values: tuple[str, ...]
    stamps: tuple[int, ...]
    found: T


def kept(find: Callable[[str, Workspace], T]) -> Callable[[str, Workspace], T]:
    """Makes a function of a value remember what it finds; for those that many ask about the same value."""

    @wraps(find)
    def remembered(value: str, at: Workspace) -> T:
        known, graph = at.kept.setdefault(find, {}), at.graph
        finding: _Kept[T] | None = known.get(value)
        if finding is None or graph.stamps(finding.values) != finding.stamps:
            outside, graph.looked_at = graph.looked_at, set()
            try:
                found = find(value, at)
            finally:
                values, graph.looked_at = tuple(graph.looked_at), outside
            make_room(known, graph)
            finding = known[value] = _Kept(values, graph.stamps(values), found)
        graph.looked_at.update(finding.values)
        return finding.found

    return remembered


def make_room(known: dict[str, Any], graph: Graph) -> None:
    """Forgets findings about values that are gone, where there are many."""
    if len(known) > 2 * len(graph) + ROOM:
        for value in [v for v in known if graph.producer(v) is None and v not in graph.inputs]:
            del known[value]
