"""What a result computes from items alone: the same for every user, so it could be kept for each item."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx

from mari_onnx.analysis.facts import Fact, Side
from mari_onnx.ir.dims import substitute
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.rewrite.cost import CostModel, node_cost, node_flops, width

if TYPE_CHECKING:
    from mari_onnx.pipeline import Built


@dataclass(frozen=True)
class ItemValue:
    """A value where work on items alone ends.

    Attributes:
        value: Its name; of a Gemm that adds something of the user, the product before that.
        node: The node that makes it.
        nodes: The nodes that work on items alone for it, those included that work for other such values as well.
        flops: Floating-point operations among them per request.
        microseconds: Estimated time per request that they take.
        bytes: Size of the value for one item.
    """

    value: str
    node: str
    nodes: tuple[str, ...]
    flops: float
    microseconds: float
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "nodes": list(self.nodes)}


def item_only(built: Built, model: CostModel) -> list[ItemValue]:
    """Where work on items alone ends in a result, the costliest first.

    Args:
        built: The result.
        model: Prices and the number of candidates.
    """
    facts, graph = built.after.facts, built.graph
    network = _network(graph, facts)
    found = []
    for node in (n for n in network if _ends(n, graph, network)):
        nodes = [*sorted(nx.ancestors(network, node), key=graph.order), node]
        flops, time = (sum(f(n, facts, model) for n in nodes) for f in (node_flops, node_cost))
        where = tuple(n.where() for n in nodes)
        found.append(ItemValue(node.output, node.where(), where, flops, time, _size(facts[node.output], model)))
    return sorted(found, key=lambda one: -one.microseconds)


def _network(graph: Graph, facts: Mapping[str, Fact]) -> nx.DiGraph[Node]:
    """The nodes that work on items alone, with an edge from each to those that read its results."""
    network: nx.DiGraph[Node] = nx.DiGraph()
    network.add_nodes_from(n for n in graph.sorted_nodes() if _is_of_items(n, facts))
    for node in list(network):
        if not _is_half(node, facts):
            readers = (c for v in node.outputs if v for c in graph.consumers(v))
            network.add_edges_from((node, reader) for reader in readers if reader in network)
    return network


def _is_of_items(node: Node, facts: Mapping[str, Fact]) -> bool:
    results = [facts.get(v, Fact()).side for v in node.outputs if v]
    return (bool(results) and all(side is Side.ITEM for side in results)) or _is_half(node, facts)


def _is_half(node: Node, facts: Mapping[str, Fact]) -> bool:
    """Whether the node is a product of items, to which something of the user is added."""
    if node.op != "Gemm" or node.domain or not node.has_input(2):
        return False
    rows, weight, added = (facts.get(v, Fact()) for v in node.inputs)
    return rows.side is Side.ITEM and weight.side is Side.SHARED and not weight.request and added.request


def _ends(node: Node, graph: Graph, network: nx.DiGraph[Node]) -> bool:
    """Whether something else reads what the node makes, or a caller."""
    readers = set(graph.consumers(node.output))
    return graph.is_output(node.output) or not readers <= set(network.successors(node))


def _size(fact: Fact, model: CostModel) -> int:
    shape = fact.single_shape or ()
    return math.prod(int(substitute(d, model.candidates, model.other)) for d in shape) * width(fact)
