"""Rows looked up one by one, as the lookups of rows that they are: PyTorch's exporter writes both as a GatherND::

t[j]                  Gather( t, j )
h[arange(B), j]       GatherND( h, j ) for each row by itself
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
