"""The one place that touches onnx-graphsurgeon: our nodes as its graph, its graph as protos.

What graphsurgeon does not carry (documentation, metadata, subgraphs, overloads, types) comes back from the node's
own proto; dead nodes are dropped by its clean-up. Values read by subgraphs are shown to it as plain inputs, since it
would otherwise take their producers for dead.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.logger import G_LOGGER

from mari_onnx.ir.graph import Node

_log = logging.getLogger(__name__)
# graphsurgeon prints to standard output, which belongs to our results.
G_LOGGER.severity = G_LOGGER.CRITICAL


def node_protos(nodes: Sequence[Node]) -> list[onnx.NodeProto]:
    """The nodes as protos, in the order given.

    A node that came with the model keeps every field of its own but its inputs and outputs.
    """
    exported = _exported([n for n in nodes if n.source is None])
    return [exported[node.output] if node.source is None else _renamed(node, node.source) for node in nodes]


def live_nodes(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """The nodes that some output needs, in the order given."""
    variables: dict[str, gs.Variable] = {}

    def variable(name: str) -> gs.Variable:
        return variables.setdefault(name, gs.Variable(name))

    surgeon_nodes = []
    for index, node in enumerate(nodes):
        made = [variable(v) for v in node.outputs if v]
        surgeon_nodes.append(gs.Node(node.op, str(index), {}, [variable(v) for v in node.reads], made))
    graph = gs.Graph(nodes=surgeon_nodes, outputs=[variable(v) for v in outputs])
    graph.cleanup(remove_unused_node_outputs=False, recurse_subgraphs=False)
    kept = {int(n.name) for n in graph.nodes}
    return [node for index, node in enumerate(nodes) if index in kept]


def _exported(nodes: Sequence[Node]) -> dict[str, onnx.NodeProto]:
    """New nodes through graphsurgeon's exporter, by their first output."""
    variables: dict[str, gs.Variable] = {}

    def variable(name: str) -> gs.Variable:
        # graphsurgeon writes a variable without a name as an absent optional.
        return variables.setdefault(name, gs.Variable(name)) if name else gs.Variable.empty()

    surgeon_nodes = [
        gs.Node(
            node.op,
            node.name,
            dict(node.attrs),
            [variable(v) for v in node.inputs],
            [variable(v) for v in node.outputs],
            domain=node.domain or None,
        )
        for node in nodes
    ]
    graph = gs.export_onnx(gs.Graph(nodes=surgeon_nodes), do_type_check=False).graph
    protos = {}
    for node, proto in zip(nodes, graph.node, strict=True):
        if node.rule:
            proto.metadata_props.add(key="mari.rule", value=node.rule)
        protos[node.output] = proto
    return protos


def _renamed(node: Node, source: onnx.NodeProto) -> onnx.NodeProto:
    if tuple(source.input) == node.inputs and tuple(source.output) == node.outputs:
        return source
    proto = onnx.NodeProto()
    proto.CopyFrom(source)
    proto.input[:] = node.inputs
    proto.output[:] = node.outputs
    return proto
