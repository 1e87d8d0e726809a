"""A stacked input ``X [B, n]`` becomes two: ``X_user [1, k]`` and ``X_item [B, n-k]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import onnx

from mari_onnx.analysis.inputs import Inputs, InputSide
from mari_onnx.inputs import Chosen
from mari_onnx.ir.captures import reading_instead
from mari_onnx.ir.graph import Graph, Node, Weight


@dataclass(frozen=True)
class StackedInput:
    """How a stacked input was taken apart.

    Attributes:
        user: Name of the input with the user's columns; the stacked input itself where it is kept.
        item: The same for the item's columns.
        user_columns: Columns of the stacked input in ``user``, in order.
        item_columns: Columns in ``item``, in order.
        whole: Name of the matrix that is put together again from the two.
    """

    user: str
    item: str
    user_columns: tuple[int, ...]
    item_columns: tuple[int, ...]
    whole: str


@dataclass(frozen=True)
class Separated:
    """A graph whose inputs are each on one side."""

    graph: Graph
    inputs: Inputs
    stacked: Mapping[str, StackedInput]

    def lists(self) -> list[str]:
        """The inputs that are given once per request, and have as many rows as the request has: a history."""
        once = [name for name, side in self.inputs.sides.items() if side is InputSide.SHARED]
        dims = {name: self.graph.inputs[name].type.tensor_type.shape.dim for name in once}
        return [name for name in once if dims[name] and not dims[name][0].HasField("dim_value")]


def separate(graph: Graph, chosen: Chosen) -> Separated:
    """Puts every stacked input together again from two inputs, one per side, so that each input has one side.

    Args:
        graph: The graph, not changed.
        chosen: Sides and columns.
    """
    inputs, stacked = chosen.inputs, {}
    graph = _with_one_row(graph, chosen.repeated_inside)
    for name, columns in chosen.stacked.items():
        others = tuple(c for c in range(chosen.widths[name]) if c not in set(columns))
        user, item = graph.unique_name(f"{name}_user"), graph.unique_name(f"{name}_item")
        whole = name if graph.is_output(name) else graph.unique_name(f"{name}/columns")
        stacked[name] = StackedInput(user, item, columns, others, whole)
        graph, inputs = _take_apart(graph, inputs, name, stacked[name])
    return Separated(graph, inputs, stacked)


def _with_one_row(graph: Graph, names: Sequence[str]) -> Graph:
    """User inputs that the graph repeats by itself, declared with the one row that they have."""
    declared = dict(graph.inputs)
    for name in names:
        value = onnx.ValueInfoProto()
        value.CopyFrom(declared[name])
        value.type.tensor_type.shape.dim[0].dim_value = 1
        declared[name] = value
    return Graph(graph.model, graph.opset, declared, graph.outputs, graph.weights, graph.nodes)


def restore_signature(graph: Graph, original: Graph, separated: Separated) -> Graph:
    """The inputs as they were, for callers that cannot change: row 0 and columns are taken inside.

    Args:
        graph: The optimized graph, not changed.
        original: A graph with the inputs as they were.
        separated: How stacked inputs were taken apart.
    """
    weights, nodes = dict(graph.weights), []
    # A stacked input that is an output as well was put together again under its own name; it is there anyway.
    rest = [n for n in graph.nodes if not any(v in separated.stacked for v in n.outputs)]

    def take(source: str, target: str, op: str, integers: Sequence[Sequence[int]], **attrs: int) -> None:
        given = []
        for values in integers:
            given.append(graph.unique_name(f"{target}/{op}"))
            weights[given[-1]] = Weight.of(np.array(values, np.int64))
        nodes.append(Node(op, (source, *given), (target,), attrs, name=target, rule="signature"))

    for name, split in separated.stacked.items():
        row = graph.unique_name(f"{name}/row")
        take(name, row, "Slice", [[0], [1], [0]])
        take(row, split.user, "Gather", [split.user_columns], axis=1)
        take(name, split.item, "Gather", [split.item_columns], axis=1)
    changed = [n for n in graph.inputs if n in original.inputs and graph.inputs[n] != original.inputs[n]]
    # What the graph repeats itself has one row as it is.
    narrowed = [n for n in changed if n in separated.inputs.axes]
    for name in narrowed:
        once, axis = graph.unique_name(f"{name}/once"), separated.inputs.axes[name]
        take(name, once, "Slice", [[0], [1], [axis]])
        rest = [reading_instead(n, {name: once}) for n in rest]
    return Graph(graph.model, graph.opset, original.inputs, graph.outputs, weights, [*nodes, *rest])


def _take_apart(graph: Graph, inputs: Inputs, name: str, split: StackedInput) -> tuple[Graph, Inputs]:
    declared: dict[str, onnx.ValueInfoProto] = {}
    sides: dict[str, InputSide] = {}
    axes = {n: a for n, a in inputs.axes.items() if n != name}
    for other, value in graph.inputs.items():
        if other != name:
            declared[other], sides[other] = value, inputs.sides[other]
            continue
        for new, side, width in (
            (split.user, InputSide.USER, len(split.user_columns)),
            (split.item, InputSide.ITEM, len(split.item_columns)),
        ):
            declared[new], sides[new], axes[new] = _resized(value, new, width), side, 0
    pieces = _pieces(graph, split)
    nodes = [reading_instead(n, {name: split.whole}) for n in graph.nodes]
    result = Graph(graph.model, graph.opset, declared, graph.outputs, pieces.weights, [*pieces.nodes, *nodes])
    return result, replace(inputs, sides=sides, axes=axes)


@dataclass(frozen=True)
class _Pieces:
    nodes: list[Node]
    weights: dict[str, Weight]


def _pieces(graph: Graph, split: StackedInput) -> _Pieces:
    """The stacked matrix, concatenated from runs of neighbouring columns of either side."""
    whole = split.whole
    weights, nodes, parts = dict(graph.weights), [], []
    position = {c: (split.user, i) for i, c in enumerate(split.user_columns)}
    position |= {c: (split.item, i) for i, c in enumerate(split.item_columns)}
    total = {split.user: len(split.user_columns), split.item: len(split.item_columns)}
    for source, group in groupby(sorted(position), key=lambda c: position[c][0]):
        columns = list(group)
        start = position[columns[0]][1]
        if len(columns) == total[source]:
            parts.append(source)
            continue
        part = graph.unique_name(f"{whole}/{columns[0]}")
        bounds = []
        for hint, bound in (("start", start), ("end", start + len(columns)), ("axis", 1)):
            bounds.append(graph.unique_name(f"{part}/{hint}"))
            weights[bounds[-1]] = Weight.of(np.array([bound], np.int64))
        nodes.append(Node("Slice", (source, *bounds), (part,), name=part, rule="signature"))
        parts.append(part)
    nodes.append(Node("Concat", tuple(parts), (whole,), {"axis": 1}, name=whole, rule="signature"))
    return _Pieces(nodes, weights)


def _resized(value: onnx.ValueInfoProto, name: str, width: int) -> onnx.ValueInfoProto:
    result = onnx.ValueInfoProto()
    result.CopyFrom(value)
    result.name = name
    result.type.tensor_type.shape.dim[1].dim_value = width
    return result
