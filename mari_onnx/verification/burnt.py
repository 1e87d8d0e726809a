"""Exporters that write the number of rows they saw into a graph, and declare its inputs with any number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx

from mari_onnx.verification.source import ModelSource, all_tensors, inlined, small_array

MOST = 16
"""Numbers worth a try."""
LARGEST = 4096
LONGEST = 8
"""Entries of a shape."""


@dataclass
class WrittenRows:
    """The number of rows that an exporter wrote into a graph which rejects others; looked for once, when asked."""

    source: ModelSource
    tried: bool = False
    number: int | None = None

    def found(self, runs: Callable[[int], bool]) -> bool:
        """Whether the graph names a number of rows that it takes.

        Args:
            runs: whether it takes so many rows.
        """
        if not self.tried:
            self.tried = True
            counted = Counter(number for number in _numbers(self.source) if 1 < number <= LARGEST)
            self.number = next((number for number, _ in counted.most_common(MOST) if runs(number)), None)
        return self.number is not None

    def advice(self, refused: str) -> str:
        """What to do about it; empty where no number was found.

        Args:
            refused: how many candidates the graph does not take, to follow an "and".
        """
        if self.number is None:
            return ""
        return (
            f"it runs with {self.number} candidates, and {refused}, though its inputs are declared with any:"
            f" the exporter has written {self.number} into the graph; export it with a dynamic batch, or say"
            f" --batch {self.number} if all requests have as many"
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
