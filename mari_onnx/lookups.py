"""Rows looked up one by one, as the lookups of rows that they are: PyTorch's exporter writes all as a GatherND::

t[j]                  Gather( t, j )
h[arange(B), j]       GatherND( h, j ) for each row by itself
x[:, j]               Gather( x, j ) along that axis, which is moved to the front and back for it
h[arange(B), arange(T)], each on an axis of its own       Unsqueeze( h )
flat(h)[arange(B) * T + arange(T)]                        Reshape( h )
"""

from __future__ import annotations

from mari_onnx.analysis import Analysis
from mari_onnx.ir.dims import product, same
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.ir.orders import order_of
from mari_onnx.positions import first_number, positions, sizes, tuples
from mari_onnx.replacement import Replacement, with_replacements

ROW_BY_ROW = 12
"""The operator set from which on a GatherND can do each row by itself."""


def plain_lookups(graph: Graph, analysis: Analysis) -> Graph:
    """Writes every GatherND whose indices have one number each, or begin with that of their row, as what it is.

    So is a lookup that takes all entries in their order, however it is written, which is none.

    Returns:
        The graph itself where there is none.
    """
    return with_replacements(graph, lambda made, node: _plain(graph, analysis, made, node))


def _plain(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    if node.op == "Gather" and not node.domain:
        return _numbered_through(graph, analysis, made, node)
    if node.op != "GatherND" or node.domain or node.attrs.get("batch_dims", 0):
        return []
    shape = analysis.facts[node.inputs[1]].shape
    if not shape or analysis.facts[node.inputs[0]].shape is None:
        return []
    if shape[-1] != 1:
        return _as_it_is(graph, analysis, made, node) or _by_row(graph, analysis, made, node)
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
    front = order_of(moved, data)
    place = lookup.attrs.get("axis", 0) % data
    found = [*front[:place], *chosen, *front[place + 1 :]]
    axis = front[place]
    back = [found[k] for k in order_of(node, len(found))]
    if back != [*range(axis), *chosen, *range(axis + 1, data)]:
        return []
    return made.ended("Gather", [moved.inputs[0], lookup.inputs[1]], {"axis": int(axis)})


def _producer(graph: Graph, value: str, op: str) -> Node | None:
    node = graph.producer(value)
    return node if node is not None and node.op == op and not node.domain else None


def _as_it_is(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    """All entries in their order, with axes of size 1 between them, where that is proven of the index."""
    data, index = node.inputs
    found, shape, rows = tuples(graph, analysis, index), sizes(analysis, index), sizes(analysis, data)
    if found is None or shape is None or rows is None or len(found) > len(rows):
        return []
    axes = [place.axis for place in found]
    counted = [a for a in axes if a is not None]
    if len(counted) < len(axes) or counted != sorted(set(counted)):
        return []
    if not all(place.covers(a, size) for place, a, size in zip(found, counted, rows, strict=False)):
        return []
    others = [a for a in range(len(shape) - 1) if a not in counted]
    if not all(same(shape[a], 1) for a in others):
        return []
    return made.ended_unsqueezed(data, others)


def _numbered_through(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    """Rows of a table laid end to end, each looked up by its number: where it is in its group, and the group's."""
    data, index = (sizes(analysis, v) for v in node.inputs)
    total = graph.producer(node.inputs[1])
    if not data or not index or total is None or total.kind != "Add" or int(node.attrs.get("axis", 0)) % len(data):
        return []
    for scaled, inner in (total.inputs, total.inputs[::-1]):
        times, last = graph.producer(scaled), positions(graph, analysis, inner)
        if times is None or times.kind != "Mul" or last is None or last.axis is None:
            continue
        axis = last.axis + len(index) - len(last.shape)
        size = index[axis]
        for counted, factor in (times.inputs, times.inputs[::-1]):
            first, width = positions(graph, analysis, counted), analysis.facts[factor].entry
            if first is None or first.axis is None or width is None or not isinstance(size, int):
                continue
            outer = first.axis + len(index) - len(first.shape)
            ordered = outer < axis and first.covers(first.axis, index[outer]) and last.covers(last.axis, size)
            others = [d for a, d in enumerate(index) if a not in (outer, axis)]
            whole = same(width, size) and same(product((index[outer], size)), data[0])
            shape = [-1 if a == outer else d for a, d in enumerate((*index, *data[1:]))]
            if ordered and whole and all(same(d, 1) for d in others) and all(isinstance(d, int) for d in shape):
                return made.ended("Reshape", [node.inputs[0], made.integers(shape)], {}) if 0 not in shape else []
    return []
