"""Where nothing was found to do: nobody has to look there again before something has changed of what was looked at."""

from __future__ import annotations

from collections.abc import Callable

from mari_onnx.ir.graph import Graph, Node


class Memory:
    """Nodes at which something was tried in vain.

    Args:
        graph: The graph. What is tried must ask it, or a workspace around it, for all that it bases itself on.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._in_vain: dict[Node, tuple[tuple[str, ...], tuple[int, ...]]] = {}

    def tried(self, node: Node, attempt: Callable[[], bool]) -> bool:
        """Whether an attempt at a node succeeds; one that failed before, and would in the same way, is not made.

        Args:
            node: The node.
            attempt: Leaves the graph as it was where it fails.
        """
        values, stamps = self._in_vain.get(node, ((), ()))
        if values and self._graph.stamps(values) == stamps:
            return False
        self._graph.looked_at.clear()
        if attempt():
            return True
        values = (*node.outputs, *self._graph.looked_at)
        self._in_vain[node] = values, self._graph.stamps(values)
        return False
