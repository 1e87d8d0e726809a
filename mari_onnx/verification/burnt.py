"""Exporters that write the number of rows they saw into a graph, and declare its inputs with any number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

import onnx

from mari_onnx.verification.source import ModelSource, all_tensors, inlined, small_array

MOST = 16
"""Numbers worth a try."""
LARGEST = 4096
LONGEST = 8
"""Entries of a shape."""


def advice_on_rows(source: ModelSource, runs: Callable[[int], bool]) -> str:
    """What to do about a model that rejects the numbers of rows asked for, if it takes one that its graph names.

    Args:
        source: the model.
        runs: whether it takes so many rows.

    Returns:
        A sentence; empty where no such number was found.
    """
    counted = Counter(number for number in _numbers(source) if 1 < number <= LARGEST)
    rows = next((number for number, _ in counted.most_common(MOST) if runs(number)), None)
    if rows is None:
        return ""
    return (
        f"it runs with {rows} candidates, and with none of the numbers asked for, though its inputs are declared with"
        f" any: the exporter has written {rows} into the graph; export it with a dynamic batch, or say --batch {rows}"
        " if all requests have as many"
    )


def _numbers(source: ModelSource) -> Iterator[int]:
    graph = inlined(source.proto).graph
    for tensor in all_tensors(graph):
        integers = tensor.data_type in (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
        array = small_array(tensor, source.folder) if integers and math.prod(tensor.dims) <= LONGEST else None
        yield from map(int, array.ravel() if array is not None else ())
        yield from tensor.dims[:1]
    for node in graph.node:
        yield from (number for entry in node.attribute if entry.name == "value_ints" for number in entry.ints)
    for info in (*graph.output, *graph.value_info):
        yield from (dim.dim_value for dim in info.type.tensor_type.shape.dim[:1])
