"""Entries that a mask selects, where it is made of sizes alone and the same for all candidates, as columns of a matrix.

TensorFlow's ``boolean_mask``, PyTorch's ``x[m]``::

    ones [B, n, n] - upper part - NonZero ---.
    x [B, n, n] - Reshape [B n n] --------- Gather [B k]   becomes   Reshape (Gather (x [B, n n], columns, axis=1))

A mask that differs neither between candidates nor between requests selects the same entries in each row, and those of
a row come before those of the next. Which ones is seen in a run of what makes the mask for one candidate: what is the
same for all candidates is computed for one as well when it is hoisted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype

from mari_onnx.analysis import Analysis
from mari_onnx.analysis.transfer import RANDOM
from mari_onnx.ir.dims import Dim, alike, product, same, substitute
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.ir.orders import order_of
from mari_onnx.normalise import evaluated, has_subgraph
from mari_onnx.positions import sizes
from mari_onnx.replacement import Replacement, with_replacements

LIKE = frozenset({"Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose"})
"""Operators that leave the order of a list as it is, whose other axes have size 1."""

MOST_NODES = 200
"""A mask that takes more to make is not looked at."""


def plain_selections(graph: Graph, analysis: Analysis) -> Graph:
    """Writes every selection by such a mask as a lookup of columns.

    Returns:
        The graph itself where there is none.
    """
    return with_replacements(graph, lambda made, node: _plain(graph, analysis, made, node))


def _plain(graph: Graph, analysis: Analysis, made: Replacement, node: Node) -> list[Node]:
    """What selects the same; nothing where no mask is proven to be the same for all candidates."""
    mask = _mask(graph, analysis, node)
    row = _row(graph, analysis, mask) if mask else None
    if row is None or not _has_rows(analysis, node.inputs[0], row.size):
        return []
    (columns,) = np.nonzero(row.ravel())
    if not columns.size:
        return []
    rows = made.call("Reshape", [node.inputs[0], made.integers([-1, row.size])])
    chosen = made.call("Gather", [rows, made.integers(columns.tolist())], axis=1)
    return made.ended("Reshape", [chosen, made.integers([-1])], {})


def _mask(graph: Graph, analysis: Analysis, node: Node) -> str:
    """The mask by which a node selects entries of all of its data, in the order in which they lie; empty if none."""
    if node.kind == "Compress":
        return "" if "axis" in node.attrs else node.inputs[1]
    if node.kind == "Gather" and int(node.attrs.get("axis", 0)) == 0:
        found = _listed(graph, analysis, node.inputs[1])
        lists = all(_rank(analysis, v) == 1 for v in (*node.inputs, found)) if found else False
        return found if lists else ""
    if node.kind == "GatherND" and not node.attrs.get("batch_dims", 0):
        turned = graph.producer(node.inputs[1])
        listed = graph.producer(turned.inputs[0]) if turned is not None and turned.kind == "Transpose" else None
        if turned is None or listed is None or listed.kind != "NonZero" or order_of(turned, 2) != (1, 0):
            return ""
        return listed.inputs[0] if alike(*(sizes(analysis, v) for v in (listed.inputs[0], node.inputs[0]))) else ""
    return ""


def _listed(graph: Graph, analysis: Analysis, value: str) -> str:
    """What a value lists the places of the entries of that are not 0; empty where it is something else."""
    node = graph.producer(value)
    while node is not None and node.kind in LIKE:
        # With a second axis that is not of size 1, they might come in another order.
        if sum(d != 1 for d in sizes(analysis, node.inputs[0]) or (0, 0)) > 1:
            return ""
        node = graph.producer(node.inputs[0])
    return node.inputs[0] if node is not None and node.kind == "NonZero" else ""


def _rank(analysis: Analysis, value: str) -> int | None:
    shape = sizes(analysis, value)
    return None if shape is None else len(shape)


def _has_rows(analysis: Analysis, value: str, width: int) -> bool:
    """Whether a value is as many entries for each candidate, those of one candidate next to each other."""
    shape, axis = sizes(analysis, value), analysis.facts[value].axis
    if shape is None or axis is None or axis.index != 0 or not same(axis.outer, 1):
        return False
    return same(product((axis.inner, *shape[1:])), width)


def _row(graph: Graph, analysis: Analysis, mask: str) -> np.ndarray | None:
    """The mask for one candidate, where it is the same for all of them in all requests."""
    fact = analysis.facts[mask]
    if not fact.is_user or fact.request or fact.item or fact.sized or fact.axis is None:
        return None
    if fact.axis.index != 0 or not same(fact.axis.outer, 1) or mask in graph.weights:
        return None
    single = fact.single_shape
    width = math.prod(single) if single is not None and all(isinstance(d, int) for d in single) else 0
    known: dict[str, Weight] = {}
    nodes = list(_made_of(graph, analysis, mask, known, set())) if width else []
    if not nodes or None in nodes or len(nodes) > MOST_NODES:
        return None
    row = evaluated(graph, [n for n in nodes if n is not None], known).get(mask)
    return row if row is not None and row.size == width else None


def _made_of(
    graph: Graph, analysis: Analysis, value: str, known: dict[str, Weight], seen: set[str]
) -> Iterator[Node | None]:
    """The nodes that make a value of constants and sizes, in order; ``None`` where something else is read."""
    if value in seen or value in known:
        return
    seen.add(value)
    entries = _for_one_candidate(analysis, value)
    if value in graph.weights or entries is not None:
        known[value] = graph.weights[value] if entries is None else Weight.of(entries)
        return
    node = graph.producer(value)
    if node is None or node.domain or node.op in RANDOM or has_subgraph(node) or len(seen) > MOST_NODES:
        yield None
        return
    for given in node.inputs:
        if given:
            yield from _made_of(graph, analysis, given, known, seen)
    seen.update(node.outputs)
    yield node


def _for_one_candidate(analysis: Analysis, value: str) -> np.ndarray | None:
    """The entries of a value, where all are known for one candidate: sizes."""
    fact = analysis.facts[value]
    if fact.content is None or not fact.dtype or fact.axis is not None:
        return None
    items: list[Dim] = [substitute(item, 1) for item in fact.content.items]
    if not all(isinstance(item, int) for item in items):
        return None
    return np.array(items).reshape(fact.content.shape).astype(tensor_dtype_to_np_dtype(fact.dtype))
