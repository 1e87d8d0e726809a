"""ONNX Runtime's operators on integers that stand for floats, as the floats that they stand for.

Each becomes what ``onnxruntime.quantization`` writes in its other format: DequantizeLinear in front of the standard
operator, QuantizeLinear behind it. ONNX Runtime makes the same kernel of such a group when it loads the result. It only
does so where all scales are constants, and none is written out otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from mari_onnx.analysis.facts import Fact
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.quantized import BYTES, MOVING, SINGLE

if TYPE_CHECKING:
    from mari_onnx.unfused import Build

PER_AXIS = 13
"""The first operator set in which a scale may have several entries."""
SOFTMAX_OF_ONE_AXIS = 13
"""The first operator set in which Softmax normalises one axis."""

ROUNDED = {
    **dict.fromkeys(("QLinearAdd", "QLinearMul", "QLinearMatMul"), 7),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"), 4),
    "QGemm": 8,
    "QLinearWhere": 8,
    "QuantizeLinear": 2,
}
"""Where operators have the zero point of the integers that they make."""
OPERANDS = {
    **dict.fromkeys(("QLinearAdd", "QLinearMul", "QLinearMatMul", "QGemm"), (0, 3)),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "DequantizeLinear"), (0,)),
    "QLinearWhere": (1, 4),
}
"""Where operators have integers, in front of their scale and zero point."""

PRODUCTS = frozenset({"QLinearMatMul", "QGemm"})

STAYS: tuple[str, ...] = ()
"""What a writer returns for an operator that is used in a way that is not written out here."""


def _shape(value: str, build: Build) -> tuple[object, ...] | None:
    return build.known.facts.get(value, Fact()).shape


def _are_constant(values: Sequence[str], build: Build) -> bool:
    return all(v in build.weights for v in values)


def _is_single(build: Build, *pair: str) -> bool:
    """Whether a value has one constant scale and one constant zero point of a byte, of the same shape."""
    scale, zero = pair
    if not _are_constant((scale, zero), build) or build.known.facts[zero].dtype not in BYTES:
        return False
    return _shape(scale, build) in SINGLE and _shape(scale, build) == _shape(zero, build)


def _floats(build: Build, *triple: str) -> str:
    return build.emit("DequantizeLinear", triple)


def _integers(build: Build, value: str, *pair: str) -> str:
    return build.emit("QuantizeLinear", [value, *pair])


def with_unsigned(graph: Graph) -> Graph | None:
    """The graph with unsigned integers where its operators make and read signed ones, 128 more with their zero points.

    They stand for the same floats, and are rounded and cut off alike. Of signed ones ONNX Runtime makes kernels on x86
    only where it can make unsigned ones of them by itself.

    Returns:
        The graph; ``None`` where other operators make or read some of the integers, as a Gather from a table does.
    """
    signed = {v for v, w in graph.weights.items() if w.dtype == onnx.TensorProto.INT8 and w.shape in SINGLE}
    if not signed or not any(
        n.op in OPERANDS.keys() - {"DequantizeLinear"} or n.op == "QLinearConcat" for n in graph.nodes
    ):
        return graph
    made: dict[str, None] = {}
    for node in graph.sorted_nodes():
        if any(node.inputs[i] in signed for i in _zero_of_result(node)) or (_moves(node) and node.inputs[0] in made):
            made |= dict.fromkeys(node.outputs)
    if any(graph.is_output(v) or any(v not in _read(n) for n in graph.consumers(v)) for v in made):
        return None
    weights, nodes = dict(graph.weights), []
    for node in graph.nodes:
        zeros = [i for i in _zero_of_result(node) if node.inputs[i] in signed]
        for i in (i for i in _triples_of(node) if i + 2 < len(node.inputs) and node.inputs[i + 2] in signed):
            if node.inputs[i] in made:
                zeros.append(i + 2)
            elif node.op not in PRODUCTS or i != 3:
                return None
        inputs = [_unsigned(v, weights) if i in zeros else v for i, v in enumerate(node.inputs)]
        nodes.append(node.reading(inputs) if zeros else node)
    return Graph(graph.model, graph.opset, graph.inputs, graph.outputs, weights, nodes)


def _moves(node: Node) -> bool:
    """Whether an operator puts integers into another order, whatever they stand for."""
    return node.op in MOVING and not node.domain


def _unsigned(zero: str, weights: dict[str, Weight]) -> str:
    name = f"{zero}/unsigned"
    weights[name] = Weight.of((weights[zero].load().astype(np.int16) + 128).astype(np.uint8))
    return name


def _zero_of_result(node: Node) -> tuple[int, ...]:
    """Where an operator that makes integers has their zero point."""
    position = 1 if node.op == "QLinearConcat" else ROUNDED.get(node.op)
    return (position,) if position is not None and node.has_input(position) else ()


def _triples_of(node: Node) -> range | tuple[int, ...]:
    """Where operands stand that are integers with a scale and a zero point."""
    if node.op == "QLinearConcat":
        return range(2, len(node.inputs), 3)
    return OPERANDS.get(node.op, ())


def _read(node: Node) -> list[str]:
    return [node.inputs[i] for i in ((0,) if _moves(node) else _triples_of(node))]


def _triples(node: Node, count: int, build: Build) -> list[str] | None:
    """The first inputs as floats, each with its scale and zero point behind it."""
    if not all(node.has_input(i) for i in range(3 * count)):
        return None
    triples = [node.inputs[i : i + 3] for i in range(0, 3 * count, 3)]
    if not all(_is_single(build, scale, zero) for _, scale, zero in triples):
        return None
    return [_floats(build, *triple) for triple in triples]


def _between(op: str, count: int, *names: str) -> Callable[[Build, Node], Sequence[str]]:
    """So many operands, the scale and zero point of the result, and attributes that the standard operator has, too."""
    first = 3 * count

    def write(build: Build, node: Node) -> Sequence[str]:
        if not (node.has_input(first + 1) and _is_single(build, *node.inputs[first : first + 2])):
            return STAYS
        operands = _triples(node, count, build)
        if operands is None:
            return STAYS
        attrs = {name: node.attrs[name] for name in names if name in node.attrs}
        return [_integers(build, build.emit(op, operands, **attrs), *node.inputs[first : first + 2])]

    return write


def _softmax(build: Build, node: Node) -> Sequence[str]:
    """An attribute says which operator set's Softmax it is."""
    said = node.attrs.get("opset")
    same = said is not None and (int(said) >= SOFTMAX_OF_ONE_AXIS) == (build.opset >= SOFTMAX_OF_ONE_AXIS)
    return _between("Softmax", 1, "axis")(build, node) if same and "axis" in node.attrs else STAYS


def _concat(build: Build, node: Node) -> Sequence[str]:
    """The scale and zero point of the result, and as much again for each part."""
    parts = [node.inputs[i : i + 3] for i in range(2, len(node.inputs), 3)]
    given = all(len(part) == 3 and all(part) for part in parts)
    if not given or not all(_is_single(build, *pair) for pair in (node.inputs[:2], *(part[1:] for part in parts))):
        return STAYS
    joined = build.emit("Concat", [_floats(build, *part) for part in parts], axis=node.attrs["axis"])
    return [_integers(build, joined, *node.inputs[:2])]


def _where(build: Build, node: Node) -> Sequence[str]:
    """A condition, two operands, and the scale and zero point of the result."""
    triples = (node.inputs[1:4], node.inputs[4:7])
    pairs = (*(t[1:] for t in triples), node.inputs[7:9])
    if len(node.inputs) != 9 or not all(_is_single(build, *pair) for pair in pairs):
        return STAYS
    chosen = build.emit("Where", [node.inputs[0], *(_floats(build, *t) for t in triples)])
    return [_integers(build, chosen, *node.inputs[7:9])]


def _matmul(build: Build, node: Node) -> Sequence[str]:
    if not all(node.has_input(i) for i in range(8)) or not _is_single(build, *node.inputs[6:8]):
        return STAYS
    if not _is_single(build, *node.inputs[1:3]):
        return STAYS
    weight = _weight(node.inputs[3:6], 1, build)
    if weight is None:
        return STAYS
    product = build.emit("MatMul", [_floats(build, *node.inputs[:3]), weight])
    return [_integers(build, product, *node.inputs[6:8])]


def _gemm(build: Build, node: Node) -> Sequence[str]:
    """Operands, a bias whose scale is the product of theirs, and a scale of the result unless that is to be floats."""
    rounded = node.has_input(7) and node.has_input(8)
    if node.attrs.get("alpha", 1.0) != 1.0 or not all(node.has_input(i) for i in range(6)):
        return STAYS
    if not _is_single(build, *node.inputs[1:3]) or (rounded and not _is_single(build, *node.inputs[7:9])):
        return STAYS
    weight = _weight(node.inputs[3:6], 1 - int(bool(node.attrs.get("transB", 0))), build)
    if weight is None or node.has_input(7) != node.has_input(8):
        return STAYS
    bias = _bias(node, build)
    if bias is None:
        return STAYS
    attrs = {name: node.attrs[name] for name in ("transA", "transB") if name in node.attrs}
    product = build.emit("Gemm", [_floats(build, *node.inputs[:3]), weight, *bias], **attrs)
    return [_integers(build, product, *node.inputs[7:9]) if rounded else product]


def _weight(triple: Sequence[str], axis: int, build: Build) -> str | None:
    """The right operand as floats; its scale may have an entry for each column, which lie on ``axis``."""
    value, scale, zero = triple
    if _is_single(build, scale, zero):
        return _floats(build, value, scale, zero)
    shapes = [_shape(v, build) for v in (value, scale, zero)]
    whole, columns, zeros = shapes
    constant = _are_constant((scale, zero), build) and build.known.facts[zero].dtype in BYTES
    if not constant or build.opset < PER_AXIS or whole is None or len(whole) != 2 or columns != (whole[axis],):
        return None
    if zeros in SINGLE:
        zero = build.weight(np.repeat(build.weights[zero].load().reshape(-1), build.weights[scale].size))
    elif zeros != columns:
        return None
    return build.emit("DequantizeLinear", [value, scale, zero], axis=axis)


def _bias(node: Node, build: Build) -> list[str] | None:
    """The bias of a Gemm as floats, nothing where there is none, ``None`` where it is no row of constants."""
    if not node.has_input(6):
        return []
    shape = _shape(node.inputs[6], build)
    if not _are_constant([node.inputs[6]], build) or shape is None or len(shape) != 1:
        return None
    left, right = (build.weights[node.inputs[i]].load() for i in (1, 4))
    scale = (left.reshape(()) * right.reshape(-1)).astype(np.float32)
    if scale.size == 1:
        scale = scale.reshape(())
    zero = build.weight(np.zeros(scale.shape, np.int32))
    axis = {"axis": 0} if scale.shape else {}
    return [build.emit("DequantizeLinear", [node.inputs[6], build.weight(scale), zero], **axis)]


def _scaling(op: str) -> Callable[[Build, Node], Sequence[str]]:
    """The standard operators, before they knew integers of 16 bits; of bytes they are the same."""

    def write(build: Build, node: Node) -> Sequence[str]:
        if not (node.has_input(2) and _is_single(build, *node.inputs[1:3])):
            return STAYS
        return [build.emit(op, node.inputs)]

    return write


def _writers() -> Iterator[tuple[str, Callable[[Build, Node], Sequence[str]]]]:
    yield "QGemm", _gemm
    yield "QLinearAdd", _between("Add", 2)
    yield "QLinearMul", _between("Mul", 2)
    yield "QLinearConcat", _concat
    yield "QLinearWhere", _where
    yield "QLinearSigmoid", _between("Sigmoid", 1)
    yield "QLinearLeakyRelu", _between("LeakyRelu", 1, "alpha")
    yield "QLinearSoftmax", _softmax
    yield from ((op, _scaling(op)) for op in ("QuantizeLinear", "DequantizeLinear"))


CONTRIB_INTEGERS: Mapping[str, Callable[[Build, Node], Sequence[str]]] = dict(_writers())
"""By operator of ONNX Runtime's own."""
STANDARD_INTEGERS: Mapping[str, Callable[[Build, Node], Sequence[str]]] = {"QLinearMatMul": _matmul}
"""By standard operator."""
