"""Tables that rows are only looked up in: a double precision run takes the rows as they are and widens those.

So tables of embeddings stay on disk, where most of a ranker's weights are, and truth is to be had for such models.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import TensorProto

from mari_onnx.ir.subgraphs import all_graphs
from mari_onnx.verification.source import item_bytes

SMALLEST_TABLE = 1 << 20
"""Bytes; smaller ones may as well be read."""


def looked_up_tables(graph: onnx.GraphProto, floats: Iterable[int]) -> frozenset[str]:
    """Names of large float weights that nothing but Gather nodes of the main graph reads, as what they look up in."""
    kinds = set(floats)
    tables = {t.name for t in graph.initializer if t.data_type in kinds and _bytes(t) >= SMALLEST_TABLE}
    tables -= {info.name for info in (*graph.input, *graph.output)}
    for inner in all_graphs(graph):
        for node in inner.node:
            own = {node.input[0]} if _is_lookup(node) and inner is graph else set()
            tables -= {name for name in node.input if name not in own}
            tables -= {name for name in own if name in node.input[1:]}
        if inner is not graph:
            tables -= {info.name for info in inner.output}
    return frozenset(tables)


def widen_rows(graph: onnx.GraphProto, tables: frozenset[str]) -> None:
    """Puts a Cast to double behind each lookup in one of the tables."""
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if _is_lookup(node) and node.input[0] in tables:
            rows, wide = f"{node.output[0]}__narrow", node.output[0]
            node.output[0] = rows
            nodes.append(onnx.helper.make_node("Cast", [rows], [wide], to=TensorProto.DOUBLE))
    copies = [_copied(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _is_lookup(node: onnx.NodeProto) -> bool:
    return node.op_type == "Gather" and node.domain in ("", "ai.onnx")


def _bytes(tensor: TensorProto) -> int:
    count = item_bytes(tensor.data_type)
    for dim in tensor.dims:
        count *= dim
    return count


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
