"""Entries that are written into the row that they stand in, as what does each row by itself::

    x [B, n] ------------------------+
    (b, j[b, t]) [B, T, 2] or [B*T, 2] - ScatterND   becomes   ScatterElements (x, j, u) on axis 1
    u [B, T] or [B*T] ---------------+

    x with x[b, j[b, t]] = u[b, t] for all b, t   =   for each row b by itself

PyTorch's exporters write ``x[arange(B)[:, None], j] = u`` and ``index_put`` so: a history laid out over all items. Both
operators write in the order of t, so that the last of several writes to one entry stays, and sums have one order.
"""

from __future__ import annotations

from onnx import TensorProto

from mari_onnx.analysis import Analysis
from mari_onnx.ir.dims import Dim, same
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.positions import columns, first_number, sizes, times_each
from mari_onnx.replacement import Replacement, with_replacements

REDUCED = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64})
"""Types of which ONNX Runtime has sums and products for both operators."""


def plain_row_writes(graph: Graph, analysis: Analysis) -> Graph:
    """Writes every ScatterND of single entries in rows that are gone through in order as a ScatterElements.

    Returns:
        The graph itself where there is none.
    """
    return with_replacements(graph, lambda made, node: _plain(graph, analysis, made, node))


def _plain(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    if node.kind != "ScatterND":
        return []
    data, index, _ = node.inputs
    table, places, reduction = sizes(analysis, data), sizes(analysis, index), node.attrs.get("reduction", "none")
    if table is None or len(table) != 2 or not places or not same(places[-1], 2):
        return []
    if reduction != "none" and analysis.facts[data].dtype not in REDUCED:
        return []
    parts = columns(graph, analysis, index)
    if len(parts) != 2 or any(not _is_column(analysis, part) for part in parts):
        return []
    laid_out = _in_rows(graph, analysis, made, node, table[0]) or _cut_into_rows(graph, analysis, made, node, table[0])
    return made.ended("ScatterElements", [data, *laid_out], {**node.attrs, "axis": 1}) if laid_out else []


def _is_column(analysis: Analysis, value: str) -> bool:
    shape = sizes(analysis, value)
    return shape is not None and len(shape) > 0 and same(shape[-1], 1)


def _in_rows(graph: Graph, analysis: Analysis, made: Replacement, node: Node, rows: Dim) -> list[str]:
    """Entries and updates, where each row has one write, or several on an axis of their own."""
    _, index, updates = node.inputs
    found = first_number(graph, analysis, index)
    if found is None or not found[0].is_along(0) or not found[0].covers(0, rows):
        return []
    (entries,) = found[1]
    if len(found[0].shape) == 1:
        return [entries, made.unsqueezed(updates, [1])]
    return [made.squeezed(entries, [-1]), updates] if len(found[0].shape) == 2 else []


def _cut_into_rows(graph: Graph, analysis: Analysis, made: Replacement, node: Node, rows: Dim) -> list[str]:
    """The same where the writes of all rows are in one list, as many for each."""
    _, index, updates = node.inputs
    first, entries = columns(graph, analysis, index)
    each = times_each(graph, analysis, first, rows)
    if each is None or len(sizes(analysis, index) or ()) != 2:
        return []
    return [made.call("Reshape", [value, made.integers([-1, each])]) for value in (entries, updates)]
