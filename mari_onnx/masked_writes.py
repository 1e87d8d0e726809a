"""A number that is written wherever a mask holds, as the choice that it is: PyTorch's exporter writes ``x[m] = c`` so::

m - NonZero - Transpose --- ScatterND (x, .., c, c, ..)   becomes   Where (m, c, x)

x with x[m] = c   =   c where m, x elsewhere

Rules know a choice. One of whole rows that no rule has made less of is written as it came in the end.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from onnx.numpy_helper import to_array

from mari_onnx.analysis import Analysis
from mari_onnx.ir.dims import alike
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.ir.orders import order_of
from mari_onnx.normalise import without_dead_nodes
from mari_onnx.positions import sizes
from mari_onnx.replacement import WITHOUT_WHERE, Replacement, with_replacements

SPREADING = ("Expand", "Reshape", "Squeeze", "Unsqueeze", "Tile", "Transpose")
"""Operators that make many entries of one, and change none."""


def plain_masked_writes(graph: Graph, analysis: Analysis) -> Graph:
    """Writes every ScatterND of one number, where the indices are those of a mask, as a Where.

    Returns:
        The graph itself where there is none.
    """
    return with_replacements(graph, lambda made, node: _plain(graph, analysis, made, node))


def _plain(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    """What does the same as a write; nothing where it is not proven to be one of a mask."""
    if node.kind != "ScatterND" or node.attrs.get("reduction", "none") != "none":
        return []
    data, indices, updates = node.inputs
    mask, number = _mask(graph, indices), _number(graph, updates)
    if mask is None or number is None or analysis.facts[data].dtype in WITHOUT_WHERE:
        return []
    masked, shape = sizes(analysis, mask), sizes(analysis, data)
    if analysis.facts[mask].dtype != TensorProto.BOOL or not masked or shape is None:
        return []
    if not alike(masked, shape[: len(masked)]):
        return []
    inner = len(shape) - len(masked)
    here = made.call("Reshape", [mask, made.integers([0] * len(masked) + [1] * inner)]) if inner else mask
    return made.chosen(here, made.constant(number), data, analysis.facts[data].dtype)


def _mask(graph: Graph, indices: str) -> str | None:
    """The mask whose entries the indices are of, one index in each row."""
    rows = graph.producer(indices)
    if rows is None or rows.kind != "Transpose" or order_of(rows, 2) != (1, 0):
        return None
    found = graph.producer(rows.inputs[0])
    return found.inputs[0] if found is not None and found.kind == "NonZero" else None


def _number(graph: Graph, updates: str) -> np.ndarray | None:
    """The one number that all updates are."""
    node = graph.producer(updates)
    while node is not None and node.kind in SPREADING:
        updates = node.inputs[0]
        node = graph.producer(updates)
    if node is not None and node.kind == "ConstantOfShape":
        number = to_array(node.attrs["value"]) if "value" in node.attrs else np.zeros(1, np.float32)
        return number.reshape(())
    weight = graph.weights.get(updates)
    return weight.load().reshape(()) if weight is not None and weight.size == 1 else None


def with_rows_written(graph: Graph, analysis: Analysis, original: Graph) -> Graph:
    """Writes choices among whole rows as they came, where mask and data have a row for each candidate.

    ONNX Runtime's Where starts over at each row, and takes up to 2.7 times as long as the write (release 1.31). Where
    each entry has its own place in the mask, it takes a third of the time and less.

    Args:
        graph: The result.
        analysis: What is proven of it.
        original: The graph before writes became choices.

    Returns:
        The graph itself where there is none.
    """

    def written(made: Replacement, node: Node) -> list[Node]:
        came = original.producer(node.output)
        return _rows_written(graph, analysis, made, node) if came is not None and came.kind == "ScatterND" else []

    result = with_replacements(graph, written)
    return result if result is graph else without_dead_nodes(result)


def _rows_written(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    """A choice of whole rows as a write; nothing where it is none, or something of it is there once."""
    view = graph.producer(node.inputs[0])
    if node.kind != "Where" or view is None or view.kind not in ("Reshape", "Unsqueeze"):
        return []
    mask, (here, number, data) = view.inputs[0], node.inputs
    rows, shape = sizes(analysis, mask), sizes(analysis, data)
    if not rows or shape is None or number not in graph.weights or graph.weights[number].shape:
        return []
    inner = [d for d in shape[len(rows) :] if isinstance(d, int)]
    widened = (*rows, *(1 for _ in inner))
    if not inner or not alike(shape, (*rows, *inner)) or not alike(sizes(analysis, here) or (), widened):
        return []
    if not all(analysis.facts[v].varies for v in (mask, data)):
        return []
    places = made.call("Transpose", [made.call("NonZero", [mask])], perm=[1, 0])
    count = made.call("Gather", [made.call("Shape", [places]), made.integers([0])])
    target = made.call("Concat", [count, made.integers(inner)], axis=0)
    return made.ended("ScatterND", [data, places, made.call("Expand", [number, target])], {})
