"""The graph in the form that the analysis reads: constants as weights, nothing that does nothing.

Each step makes the graph simpler and leaves its outputs as they are, on every input.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import numpy as np
import onnx

from mari_onnx.analysis.transfer import RANDOM
from mari_onnx.ir.captures import reading_instead
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.ir.proto import constant_value
from mari_onnx.ir.surgeon import live_nodes
from mari_onnx.unfused import unfuse

_log = logging.getLogger(__name__)

FOLD_LIMIT = 1 << 20
"""Largest constant, in entries, that folding may make; larger ones would only bloat the file."""

FOLD_INPUT_LIMIT = 1 << 24
"""Largest constant, in entries, that folding may read: tables stay on disk."""


KEPT = frozenset({"Dropout", "DequantizeLinear"})
"""Not folded: a quantized weight stays one, as ONNX Runtime has products for it."""


def normalise(graph: Graph) -> Graph:
    """Constants to weights, Identity and inference Dropout bypassed, constant expressions folded, dead code out."""
    for step in STEPS:
        graph = step(graph)
    return graph


def rebuilt(graph: Graph, nodes: list[Node], weights: dict[str, Weight] | None = None) -> Graph:
    """The same graph with other nodes, and other weights if given."""
    return Graph(
        graph.model, graph.opset, graph.inputs, graph.outputs, graph.weights if weights is None else weights, nodes
    )


def name_nodes(graph: Graph) -> Graph:
    """Gives nodes that have no name one that reports can use; the written model keeps them nameless."""
    return rebuilt(graph, [n if n.name else replace(n, name=next(filter(None, n.outputs), n.op)) for n in graph.nodes])


def without_unread_outputs(graph: Graph) -> Graph:
    """Leaves out optional outputs behind the first that nobody reads; there are writers that name all of them.

    Rules and transfer functions know operators by what they do for those who read them.
    """
    read = set(graph.outputs) | {v for n in graph.nodes for v in n.reads}
    return rebuilt(graph, [_without_unread(n, read, graph) for n in graph.nodes])


def _without_unread(node: Node, read: Set[str], graph: Graph) -> Node:
    if node.domain or all(v in read for v in node.outputs[1:]) or works_as_in_training(node, graph):
        return node
    try:
        known = onnx.defs.get_schema(node.op, graph.opset, "").outputs
    except onnx.defs.SchemaError:
        return node
    optional = [o.option == onnx.defs.OpSchema.FormalParameterOption.Optional for o in known]
    asked = read | _asked_with_others(node, read)
    kept = [v if v in asked or not may_go else "" for v, may_go in zip(node.outputs, optional, strict=False)]
    if len(kept) < len(node.outputs):
        return node  # as many as one likes, of the last
    outputs = [node.outputs[0], *kept[1:]]
    while not outputs[-1]:
        del outputs[-1]
    return replace(node, outputs=tuple(outputs)) if outputs else node


def _asked_with_others(node: Node, read: Set[str]) -> Set[str]:
    """Outputs that ask for each other: Attention gives keys and values so far together, and where it is given such."""
    if node.op != "Attention":
        return set()
    presents = {v for v in node.outputs[1:3] if v}
    return presents if presents & read or node.has_input(4) else set()


def constants_to_weights(graph: Graph) -> Graph:
    """Turns Constant nodes into weights."""
    weights, nodes = dict(graph.weights), []
    for node in graph.nodes:
        array = constant_value(node)
        if array is None:
            nodes.append(node)
        else:
            weights[node.output] = Weight.of(array)
    return rebuilt(graph, nodes, weights)


def bypass_no_ops(graph: Graph) -> Graph:
    """Consumers read what goes into an Identity or an inference Dropout, where the value's name is not needed."""
    alias: dict[str, str] = {}
    needed = set(graph.outputs) | {v for n in graph.nodes for v in n.captures}
    read = needed | {v for n in graph.nodes for v in n.inputs}
    nodes = []
    for node in graph.sorted_nodes():
        node = node.reading(alias.get(v, v) for v in node.inputs)
        if _does_nothing(node, graph) and node.output not in needed and read.isdisjoint(node.outputs[1:]):
            alias[node.output] = node.inputs[0]
        else:
            nodes.append(node)
    return rebuilt(graph, nodes)


def works_as_in_training(node: Node, graph: Graph) -> bool:
    """Whether a Dropout draws numbers, or a BatchNormalization takes its means over the rows that it is given.

    All outputs of the latter have to be there; before opset 14 that is what says so.
    """
    if node.domain:
        return False
    if node.op == "BatchNormalization":
        return node.attrs.get("training_mode", 0) == 1 or (graph.opset < 14 and len(node.outputs) > 1)
    return node.op == "Dropout" and not _does_nothing(node, graph)


def _does_nothing(node: Node, graph: Graph) -> bool:
    if node.domain or not node.inputs or not node.outputs[0]:
        return False
    if node.op == "Identity":
        return True
    if node.op != "Dropout":
        return False
    if not node.has_input(2):
        return True
    training = graph.constant(node.inputs[2])
    ratio = graph.constant(node.inputs[1]) if node.has_input(1) else None
    return (training is not None and not training.any()) or (ratio is not None and not ratio.any())


CLAIMED = frozenset({"gemm_input_shape", "gemm_output_shape"})
"""Names that ONNX Runtime gives weights when it makes a Gemm of a MatMul and an Add of three axes.

It does not look whether there are such already (release 1.31), so it cannot load a model that it has saved itself, once
there is another such product.
"""


def free_claimed_names(graph: Graph) -> Graph:
    """Gives weights other names than those that ONNX Runtime will give."""
    names = {v: graph.unique_name(f"{v}/saved") for v in graph.weights if v in CLAIMED and not graph.is_output(v)}
    if not names:
        return graph
    weights = {names.get(v, v): weight for v, weight in graph.weights.items()}
    return rebuilt(graph, [reading_instead(n, names) for n in graph.nodes], weights)


def unused_scales(graph: Graph) -> Graph:
    """A Gemm that adds nothing does not scale it either; tf2onnx writes ``beta = 0`` at each of those."""
    nodes = [_without_beta(n) if (n.kind, n.has_input(2)) == ("Gemm", False) else n for n in graph.nodes]
    return rebuilt(graph, nodes)


def _without_beta(node: Node) -> Node:
    return replace(node, attrs={name: value for name, value in node.attrs.items() if name != "beta"})


def fold_constants(graph: Graph) -> Graph:
    """Evaluates what depends on constants alone, all of it in one run of ONNX Runtime."""
    folded = constant_values(graph)
    if not folded:
        return graph
    weights = dict(graph.weights) | {name: Weight.of(array) for made in folded.values() for name, array in made.items()}
    return rebuilt(graph, [n for n in graph.nodes if n not in folded], weights)


def constant_values(graph: Graph) -> dict[Node, dict[str, np.ndarray]]:
    """What nodes make that depend on constants alone, by node and value; no larger than a constant may be."""
    constant = {n for n, w in graph.weights.items() if w.size <= FOLD_INPUT_LIMIT}
    foldable: list[Node] = []
    for node in graph.sorted_nodes():
        pure = not node.domain and not node.captures and node.op not in (*RANDOM, *KEPT)
        if pure and not has_subgraph(node) and all(v in constant for v in node.reads):
            foldable.append(node)
            constant.update(o for o in node.outputs if o)
    values = evaluated(graph, foldable, graph.weights) if foldable else {}
    made = {node: {o: values.get(o) for o in node.outputs if o} for node in foldable}
    return {
        node: {name: array for name, array in arrays.items() if array is not None}
        for node, arrays in made.items()
        if all(isinstance(a, np.ndarray) and a.size <= FOLD_LIMIT for a in arrays.values())
        and not any(map(graph.is_output, arrays))
    }


def has_subgraph(node: Node) -> bool:
    """Whether a node is control flow."""
    return any(isinstance(v, onnx.AttributeProto) for v in node.attrs.values())


def evaluated(graph: Graph, nodes: Sequence[Node], known: Mapping[str, Weight]) -> dict[str, np.ndarray]:
    """The results of nodes that read constants alone; empty where ONNX Runtime cannot run them.

    Args:
        graph: Where they are.
        nodes: The nodes, in order.
        known: The constants.
    """
    from mari_onnx.ir.surgeon import node_protos
    from mari_onnx.runtime import run_once

    names = [o for n in nodes for o in n.outputs if o]
    made = set(names)
    weights = {v: known[v] for n in nodes for v in n.reads if v not in made}
    proto = onnx.helper.make_graph(
        node_protos(nodes),
        "constants",
        [],
        [onnx.ValueInfoProto(name=n) for n in names],
        [onnx.numpy_helper.from_array(w.load(), name) for name, w in weights.items()],
    )
    model = onnx.helper.make_model(proto, opset_imports=graph.model.opset_import, ir_version=graph.model.ir_version)
    try:
        return dict(zip(names, run_once(model, {}), strict=True))
    except Exception as error:  # whatever the runtime objects to, it will object to in the original as well
        _log.debug("constants not folded: %s", error)
        return {}


def without_dead_nodes(graph: Graph) -> Graph:
    """Leaves out nodes and weights that no output needs."""
    nodes = live_nodes(graph.sorted_nodes(), list(graph.outputs))
    needed = {v for n in nodes for v in n.reads} | set(graph.outputs)
    return rebuilt(graph, nodes, {name: w for name, w in graph.weights.items() if name in needed})


STEPS = (
    name_nodes,
    without_unread_outputs,
    constants_to_weights,
    free_claimed_names,
    unfuse,
    unused_scales,
    bypass_no_ops,
    fold_constants,
    without_dead_nodes,
)
"""In this order: what is written out may be folded."""
