"""The floor: a model with its user inputs frozen, and everything that follows from them alone computed beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mari_onnx.errors import ModelError
from mari_onnx.ir import Graph, Node, Weight, read_graph, write_model
from mari_onnx.ir.subgraphs import subgraphs
from mari_onnx.runtime import session
from mari_onnx.verification.sessions import runtime_message
from mari_onnx.verification.source import RANDOM_OPERATORS, Array


def freeze(model: onnx.ModelProto, inputs: Mapping[str, Array], folder: Path | None = None) -> onnx.ModelProto:
    """A model without some of its inputs, for one value of them.

    What follows from these inputs and constants alone is run once, here; the result holds its values. Nodes that
    read constants only stay, for ONNX Runtime treats them alike in both.

    Args:
        model: The model; never changed. Local functions inlined.
        inputs: The inputs to freeze, and their values.
        folder: Where its external weights lie, if anywhere. Those of the result lie there, too.

    Returns:
        The model that takes the other inputs only.

    Raises:
        ModelError: The part to be computed beforehand cannot be run.
    """
    graph = read_graph(model, folder)
    nodes = graph.sorted_nodes()
    stay: set[Node] = set()
    while True:
        frozen = _follows(graph, nodes, inputs, stay)
        wanted = _wanted(graph, nodes, frozen, inputs)
        values = _values(graph, nodes, wanted, inputs, folder)
        unstorable = [value for value, found in values.items() if not isinstance(found, np.ndarray)]  # sequences
        if not unstorable:
            return _without_inputs(write_model(_rest(graph, nodes, frozen, values, inputs)), inputs)
        stay |= {node for node in frozen if set(unstorable) & set(node.outputs)}


def _without_inputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """An input that has a value is no constant: its caller may give another one."""
    gone = set(names)
    for declared in [v for v in model.graph.input if v.name in gone]:
        model.graph.input.remove(declared)
    return model


def _follows(graph: Graph, nodes: Iterable[Node], inputs: Iterable[str], stay: set[Node]) -> dict[Node, None]:
    """The nodes that need nothing but constants and at least one of the inputs."""
    constant, frozen = set(graph.weights), set(inputs)
    found: dict[Node, None] = {}
    for node in nodes:
        if node in stay or _is_random(node) or not all(v in constant or v in frozen for v in node.reads):
            continue
        if frozen.intersection(node.reads):
            found[node] = None
            frozen.update(v for v in node.outputs if v)
        else:
            constant.update(v for v in node.outputs if v)
    return found


def _is_random(node: Node) -> bool:
    if node.op in RANDOM_OPERATORS:
        return True
    return node.source is not None and any(op in RANDOM_OPERATORS for op in _operators(node.source))


def _operators(node: onnx.NodeProto) -> Iterator[str]:
    for body in subgraphs(node):
        for inner in body.node:
            yield inner.op_type
            yield from _operators(inner)


def _wanted(graph: Graph, nodes: Iterable[Node], frozen: Mapping[Node, None], inputs: Iterable[str]) -> list[str]:
    """The frozen values that others read."""
    made = dict.fromkeys([*inputs, *(v for node in frozen for v in node.outputs if v)])
    read = {v for node in nodes if node not in frozen for v in node.reads} | set(graph.outputs)
    return [value for value in made if value in read]


def _values(
    graph: Graph, nodes: Iterable[Node], wanted: Iterable[str], inputs: Mapping[str, Array], folder: Path | None
) -> dict[str, Any]:
    """Runs what the wanted values need."""
    computed = [value for value in wanted if value not in inputs]
    values: dict[str, Any] = {value: inputs[value] for value in wanted if value in inputs}
    if not computed:
        return values
    needed = _needed(nodes, computed)
    read = {v for node in needed for v in node.reads}
    part = Graph(
        graph.model,
        graph.opset,
        {name: declared for name, declared in graph.inputs.items() if name in inputs and name in read},
        {value: onnx.ValueInfoProto(name=value) for value in computed},
        graph.weights,
        needed,
    )
    try:
        running = session(write_model(part), threads=1, optimized=False, folder=folder)
        results = running.run(computed, {name: inputs[name] for name in part.inputs})
    except Exception as error:  # the runtime has a class for each status code and no common base
        raise ModelError(f"the user's side alone cannot be run: {runtime_message(error)}") from error
    return values | dict(zip(computed, results, strict=True))


def _needed(nodes: Iterable[Node], values: Iterable[str]) -> list[Node]:
    """The nodes that some values come from, in the order given."""
    needed = set(values)
    found = []
    for node in reversed(list(nodes)):
        if needed.intersection(node.outputs):
            found.append(node)
            needed.update(node.reads)
    return found[::-1]


def _rest(
    graph: Graph,
    nodes: Iterable[Node],
    frozen: Mapping[Node, None],
    values: Mapping[str, Array],
    inputs: Mapping[str, Array],
) -> Graph:
    weights = dict(graph.weights)
    copies = []
    for value, array in values.items():
        name = value
        if graph.is_output(value):  # an output must come from a node
            name = graph.unique_name(f"{value}/frozen")
            copies.append(Node("Identity", (name,), (value,), name=name))
        weights[name] = Weight.of(array)
    left = [*copies, *_needed([node for node in nodes if node not in frozen], graph.outputs)]
    declared = {name: value for name, value in graph.inputs.items() if name not in inputs}
    return Graph(graph.model, graph.opset, declared, graph.outputs, weights, left)
