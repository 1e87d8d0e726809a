"""Rows looked up one by one, as the lookups of rows that they are: PyTorch's exporter writes all as a GatherND::

t[j]                  Gather( t, j )
h[arange(B), j]       GatherND( h, j ) for each row by itself
x[:, j]               Gather( x, j ) along that axis, which is moved to the front and back for it
"""

from __future__ import annotations

from mari_onnx.analysis import Analysis
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.positions import first_number, sizes
from mari_onnx.replacement import Replacement, with_replacements

ROW_BY_ROW = 12
"""The operator set from which on a GatherND can do each row by itself."""


def plain_lookups(graph: Graph, analysis: Analysis) -> Graph:
    """Writes every GatherND whose indices have one number each, or begin with that of their row, as what it is.

    Returns:
        The graph itself where there is none.
    """
    return with_replacements(graph, lambda made, node: _plain(graph, analysis, made, node))


def _plain(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    if node.op != "GatherND" or node.domain or node.attrs.get("batch_dims", 0):
        return []
    shape = analysis.facts[node.inputs[1]].shape
    if not shape or analysis.facts[node.inputs[0]].shape is None:
        return []
    if shape[-1] != 1:
        return _by_row(graph, analysis, made, node)
    return made.ended("Gather", [node.inputs[0], made.squeezed(node.inputs[1], [-1])], {"axis": 0})


def _by_row(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    """A lookup in the row that the index stands in; nothing where the first of its numbers is not proven to be that."""
    data, index = node.inputs
    found, rows = first_number(graph, analysis, index), sizes(analysis, data)
    if found is None or not rows or graph.opset < ROW_BY_ROW:
        return []
    first, others = found
    if not first.shape or not first.is_along(0) or not first.covers(0, rows[0]):
        return []
    rest = others[0] if len(others) == 1 else made.call("Concat", others, axis=-1)
    return made.ended("GatherND", [data, rest], {"batch_dims": 1})


def lookups_in_place(graph: Graph, analysis: Analysis) -> Graph:
    """Writes every lookup along an axis that is moved for it, and moved back after it, as one along the axis itself.

    Returns:
        The graph itself where there is none.
    """
    return with_replacements(graph, lambda made, node: _in_place(graph, analysis, made, node))


def _in_place(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    lookup = _producer(graph, node.inputs[0], "Gather") if node.op == "Transpose" and not node.domain else None
    moved = _producer(graph, lookup.inputs[0], "Transpose") if lookup is not None else None
    if lookup is None or moved is None:
        return []
    data, index = (analysis.facts[v].rank for v in (moved.inputs[0], lookup.inputs[1]))
    if not data or index is None:
        return []

    # Axes of the data are named by their numbers, those of the index by numbers below zero.
    chosen = range(-index, 0)
    front = moved.attrs.get("perm", range(data)[::-1])
    place = lookup.attrs.get("axis", 0) % data
    found = [*front[:place], *chosen, *front[place + 1 :]]
    axis = front[place]
    back = [found[k] for k in node.attrs.get("perm", range(len(found))[::-1])]
    if back != [*range(axis), *chosen, *range(axis + 1, data)]:
        return []
    return made.ended("Gather", [moved.inputs[0], lookup.inputs[1]], {"axis": int(axis)})


def _producer(graph: Graph, value: str, op: str) -> Node | None:
    node = graph.producer(value)
    return node if node is not None and node.op == op and not node.domain else None
