"""Products in half precision that ONNX Runtime does not survive.

::

    MatMul( Transpose<1, 0, 2>(x), W )   ->   Transpose<1, 0, 2>( MatMul(x, W) )

Release 1.31 makes one operator of the two on the left when it loads a model, and ends the process where that packs a
constant of half precision. A Transpose that leaves the last axis where it is moves rows, and each row is multiplied by
itself.
"""

from __future__ import annotations

from dataclasses import replace

import onnx

from mari_onnx.ir.graph import Graph, Node
from mari_onnx.normalise import rebuilt


def with_products_before_transposes(graph: Graph) -> Graph:
    """Multiplies rows in half precision before they are moved.

    Returns:
        The graph itself where there is no such product.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        moved = _moved_rows(node, graph)
        if moved is None:
            nodes.append(node)
            continue
        between = graph.unique_name(f"{node.output}/rows")
        nodes.append(replace(node, inputs=(moved.inputs[0], node.inputs[1]), outputs=(between,)))
        name = graph.unique_name(f"{node.output}/moved")
        nodes.append(replace(moved, inputs=(between,), outputs=node.outputs, name=name, source=None))
    return rebuilt(graph, nodes) if len(nodes) > len(graph.nodes) else graph


def _moved_rows(node: Node, graph: Graph) -> Node | None:
    """The Transpose in front of a product with a matrix that puts the first axis behind all others but the last."""
    if node.kind != "MatMul":
        return None
    weight, moved = graph.weights.get(node.inputs[1]), graph.producer(node.inputs[0])
    if weight is None or weight.dtype != onnx.TensorProto.FLOAT16 or len(weight.shape) != 2:
        return None
    if moved is None or moved.kind != "Transpose":
        return None
    order = [int(axis) for axis in moved.attrs.get("perm", ())]
    last = len(order) - 1
    return moved if last > 1 and order == [*range(1, last), 0, last] else None
