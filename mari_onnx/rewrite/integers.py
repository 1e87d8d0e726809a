"""Operators that ONNX Runtime computes on integers: those between DequantizeLinear and QuantizeLinear.

It makes one kernel of such a group when it loads a model, several times as fast as the floats it stands for. A rewrite
of the operator that puts something else in between would take that away.
"""

from __future__ import annotations

from mari_onnx.ir.graph import Graph, Node
from mari_onnx.quantized import BYTES, SINGLE

OPERANDS = {
    **dict.fromkeys(("Add", "Mul"), (0, 1)),
    "Where": (1, 2),
    "MatMul": (0, 1),
    "Gemm": (0, 1),
    **dict.fromkeys(("Sigmoid", "LeakyRelu", "Softmax"), (0,)),
}
"""Where operators that have a kernel of integers have integers; all inputs of a Concat are."""


def is_of_integers(node: Node, graph: Graph) -> bool:
    """Whether an operator stands between integers of a byte with constant scales, as an exporter has written it."""
    if node.domain or len(node.outputs) != 1 or not (node.op == "Concat" or node.op in OPERANDS):
        return False
    if graph.is_output(node.output):
        return False
    readers = graph.consumers(node.output)
    if len(readers) != 1 or not _scales(readers[0], "QuantizeLinear", graph):
        return False
    operands = range(len(node.inputs)) if node.op == "Concat" else OPERANDS[node.op]
    return all(i < len(node.inputs) and _is_made_of_integers(node.inputs[i], graph) for i in operands)


def is_single(scaled: Node, graph: Graph) -> bool:
    """Whether a DequantizeLinear has one constant scale for all entries."""
    return _scales(scaled, "DequantizeLinear", graph) and graph.weights[scaled.inputs[1]].shape in SINGLE


def _is_made_of_integers(value: str, graph: Graph) -> bool:
    """Whether a value is made of integers, or repeats one that is."""
    made = graph.producer(value)
    if made is not None and made.op == "Expand":
        made = graph.producer(made.inputs[0])
    return made is not None and _scales(made, "DequantizeLinear", graph)


def _scales(node: Node, op: str, graph: Graph) -> bool:
    if node.op != op or node.domain or not node.has_input(2) or node.attrs.get("block_size", 0):
        return False
    zero = graph.weights.get(node.inputs[2])
    return zero is not None and zero.dtype in BYTES and node.inputs[1] in graph.weights
