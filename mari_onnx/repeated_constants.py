"""Constants that a graph of fixed batch holds once for each candidate, as what they repeat.

::

    Concat( u: [B, d], c: [B, k] )   ->   Concat( u, Expand( c[:1], [size of u, k] ) )
    Add( u: [B, d], c: [B, d] )      ->   Add( u, c[:1] )

Zeros, ones, and learned tokens that were expanded to the batch are folded by exporters, if its size is a number. What
reads them would depend on the candidate, as far as shapes tell. No row is another, or the constant stays: results are
the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mari_onnx.analysis import Analysis
from mari_onnx.analysis.facts import Fact
from mari_onnx.analysis.transfer.elementwise import BROADCASTING
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.replacement import Replacement, with_replacements

LARGEST = 1 << 22
"""Constants with more entries are not looked at."""
STATES = (5, 6)
"""The inputs of a recurrence that it starts with."""
RECURRENT = frozenset({"RNN", "GRU", "LSTM"})


def plain_constants(graph: Graph, analysis: Analysis) -> Graph:
    """Lets operators read one row of constants whose rows for the candidates are equal.

    Returns:
        The graph itself where there are none, or where the number of candidates is open.
    """
    if (analysis.inputs.batch or 1) == 1:
        return graph
    return with_replacements(graph, lambda made, node: _plain(made, node, graph.weights, analysis))


def _plain(made: Replacement, node: Node, weights: Mapping[str, Weight], analysis: Analysis) -> list[Node]:
    beside = next((v for v in node.inputs if v and analysis.facts[v].axis is not None), None)
    if beside is None or node.domain:
        return []
    names = list(node.inputs)
    for index, value in enumerate(node.inputs):
        weight = weights.get(value)
        axis = None if weight is None else _axis_of(node, index, len(weight.shape), analysis.facts[beside])
        count = _count(analysis.facts[beside], analysis.inputs.batch)
        row = None if weight is None or axis is None else _row_of(weight, axis, count)
        if axis is not None and row is not None:
            one = made.constant(row)
            names[index] = one if _broadcasts(node) else _repeated(made, one, row.shape, axis, beside, analysis)
    return [] if names == list(node.inputs) else made.ended_reading(names)


def _broadcasts(node: Node) -> bool:
    return node.op == "MatMul" or node.op in BROADCASTING


def _axis_of(node: Node, index: int, rank: int, beside: Fact) -> int | None:
    """The axis of a constant that goes with the candidates of what the node reads beside it."""
    axis, other = beside.axis, beside.rank
    if axis is None or other is None:
        return None
    if _broadcasts(node):
        found, end = axis.index + rank - other, rank - 2 if node.op == "MatMul" else rank
        return found if 0 <= found < end else None
    if not axis.is_whole:
        return None
    if node.op == "Concat":
        return None if int(node.attrs["axis"]) % rank == axis.index else axis.index
    return axis.index if node.op in RECURRENT and index in STATES else None


def _count(beside: Fact, batch: int | None) -> int | None:
    """How many entries there are where the candidates are."""
    single = beside.axis.single if beside.axis is not None else None
    return single * batch if isinstance(single, int) and batch is not None else None


def _row_of(weight: Weight, axis: int, count: int | None) -> np.ndarray | None:
    """What a constant repeats along an axis, to the last bit."""
    if weight.shape[axis] != count or not 0 < weight.size <= LARGEST:
        return None
    array = weight.load()
    row = np.take(array, [0], axis)
    if array.dtype == object or np.broadcast_to(row, array.shape).tobytes() != array.tobytes():
        return None
    return row


def _repeated(made: Replacement, row: str, shape: tuple[int, ...], axis: int, beside: str, analysis: Analysis) -> str:
    """A row, as often as there are candidates in another value."""
    lies = analysis.facts[beside].axis
    assert lies is not None
    count = made.call("Gather", [made.call("Shape", [beside]), made.integers([lies.index])], axis=0)
    sizes = [made.integers(shape[:axis]), count, made.integers(shape[axis + 1 :])]
    return made.call("Expand", [row, made.call("Concat", sizes, axis=0)])
