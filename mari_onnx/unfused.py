"""Operators that ONNX Runtime's optimizer leaves in a saved graph, as the standard ones that they stand for.

The analysis and the rules know the standard operators. They are written as ONNX Runtime knows them, which fuses them
again when it loads the result; what it would not fuse again stays (:mod:`mari_onnx.analysis.contrib`). So are the
lookups and joins of columns that converters of scikit-learn write in ai.onnx.ml.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from mari_onnx.analysis.contrib import DOMAIN as CONTRIB
from mari_onnx.analysis.facts import Fact, Shape
from mari_onnx.analysis.infer import TypeInference
from mari_onnx.ir.dims import fresh
from mari_onnx.ir.graph import Graph, Node, Weight
from mari_onnx.unfused_integers import CONTRIB_INTEGERS, STANDARD_INTEGERS, with_unsigned

LEARNED = "ai.onnx.ml"
SMALL = 64
"""Constants of so few whole numbers may be sizes or axes."""


class _KeptError(Exception):
    """The operator is used in a way that is not written out here: it stays."""


def unfuse(graph: Graph) -> Graph:
    """Writes fused operators out.

    What a fused operator needs of its inputs, their types and ranks, is inferred on the way; one whose inputs are not
    known stays.
    """
    if not any((n.domain, n.op) in FUSED for n in graph.nodes):
        return graph
    unsigned = with_unsigned(graph)
    left = INTEGERS if unsigned is None else frozenset()
    graph = graph if unsigned is None else unsigned
    build = Build(graph, dict(graph.weights), _Known(graph))
    nodes: list[Node] = []
    for node in graph.sorted_nodes():
        made = [node] if (node.domain, node.op) in left else build.written_out(node)
        for one in made:
            build.known.add(one)
        nodes += made
    return Graph(graph.model, graph.opset, graph.inputs, graph.outputs, build.weights, nodes)


class _Known:
    """Types and shapes, as far as they are inferred."""

    def __init__(self, graph: Graph) -> None:
        self._types = TypeInference(graph.model)
        self.facts = {name: Fact(w.dtype, w.shape) for name, w in graph.weights.items()}
        self._numbers = {
            name: onnx.numpy_helper.from_array(w.load(), name)
            for name, w in graph.weights.items()
            if w.dtype == onnx.TensorProto.INT64 and w.size <= SMALL
        }
        for name, value in graph.inputs.items():
            tensor = value.type.tensor_type
            shape = tuple(d.dim_value if d.HasField("dim_value") else fresh() for d in tensor.shape.dim)
            self.facts[name] = Fact(tensor.elem_type, shape if tensor.HasField("shape") else None)

    def add(self, node: Node) -> None:
        inputs = [self.facts.get(v, Fact()) if v else None for v in node.inputs]
        numbers = {v: self._numbers[v] for v in node.inputs if v in self._numbers}
        found = self._types.outputs(node, inputs, numbers)
        if any(shape is None for _, shape in found):
            found = _declared_inside(node, [Fact(*known) for known in found])
        self.facts |= {v: Fact(*known) for v, known in zip(node.outputs, found, strict=True) if v}


def _declared_inside(node: Node, found: Sequence[Fact]) -> list[tuple[int, Shape | None]]:
    """What the body of a Loop declares of its results, where nothing is inferred: their types, and how many axes."""
    body = node.attrs.get("body")
    if node.kind != "Loop" or not isinstance(body, onnx.AttributeProto):
        return [(f.dtype, f.shape) for f in found]
    results = []
    for index, (fact, value) in enumerate(zip(found, body.g.output[1:], strict=False)):
        tensor, stacked = value.type.tensor_type, index >= len(node.inputs) - 2
        sizes = tuple(fresh() for _ in range(len(tensor.shape.dim) + stacked)) if tensor.HasField("shape") else None
        results.append((fact.dtype or tensor.elem_type, fact.shape if fact.shape is not None else sizes))
    return results


@dataclass
class Build:
    """Writes one operator after the other."""

    graph: Graph
    weights: dict[str, Weight]
    known: _Known
    _made: list[Node] = field(default_factory=list)
    _source: Node | None = None

    def written_out(self, node: Node) -> list[Node]:
        """The nodes that stand for one; itself where it stays."""
        write = FUSED.get((node.domain, node.op))
        if write is None:
            return [node]
        self._made, self._source = [], node
        try:
            results = write(self, node)
        except _KeptError:
            return [node]
        if len(results) != len(node.outputs):
            return [node]
        return [self._renamed(one, dict(zip(results, node.outputs, strict=True))) for one in self._made]

    def _renamed(self, node: Node, names: Mapping[str, str]) -> Node:
        def named(values: Sequence[str]) -> tuple[str, ...]:
            return tuple(names.get(v) or v for v in values)

        return Node(node.op, named(node.inputs), named(node.outputs), node.attrs, "", node.name)

    def emit(self, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        """A standard operator with one output, and that output."""
        assert self._source is not None
        stem = self._source.name or self._source.output
        output = self.graph.unique_name(f"{stem}/{op}")
        node = Node(op, tuple(inputs), (output,), attrs, "", output)
        self._made.append(node)
        self.known.add(node)
        return output

    def constant(self, value: Any, like: str) -> str:
        """A number of the element type of a value."""
        dtype = self.known.facts.get(like, Fact()).dtype
        if not dtype:
            raise _KeptError
        return self.weight(np.array(value, onnx.helper.tensor_dtype_to_np_dtype(dtype)))

    def weight(self, array: np.ndarray) -> str:
        """A constant."""
        name = self.graph.unique_name("mari/unfused")
        self.weights[name] = Weight.of(array)
        self.known.facts[name] = Fact(self.weights[name].dtype, array.shape)
        return name

    def rank(self, value: str) -> int:
        """How many axes a value has; where that is not known, the operator stays."""
        shape = self.known.facts.get(value, Fact()).shape
        if shape is None:
            raise _KeptError
        return len(shape)

    @property
    def opset(self) -> int:
        """The version of the standard operators."""
        return self.graph.opset


Writer = Callable[[Build, Node], Sequence[str]]
"""Emits what stands for a node, and returns a value for each of its outputs."""

ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "Relu": (),
    "Tanh": (),
    "Sigmoid": (),
    "Softplus": (),
    "LeakyRelu": ("alpha",),
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
}
"""Activations that are fused, and their attributes in the order in which a convolution lists them."""


def _activated(build: Build, node: Node, value: str, given: Mapping[str, float]) -> str:
    op = str(node.attrs.get("activation", ""))
    if op not in (*ACTIVATIONS, ""):
        raise _KeptError
    return build.emit(op, [value], **given) if op else value


def _gemm(build: Build, node: Node) -> Sequence[str]:
    attrs = {k: v for k, v in node.attrs.items() if k in ("alpha", "beta", "transA", "transB")}
    names = ACTIVATIONS.get(str(node.attrs.get("activation", "")), ())
    given = {n: node.attrs[f"activation_{n}"] for n in names if f"activation_{n}" in node.attrs}
    return [_activated(build, node, build.emit("Gemm", node.inputs, **attrs), given)]


def _conv(build: Build, node: Node) -> Sequence[str]:
    attrs = {k: v for k, v in node.attrs.items() if k not in ("activation", "activation_params")}
    names = ACTIVATIONS.get(str(node.attrs.get("activation", "")), ())
    given = dict(zip(names, node.attrs.get("activation_params", ()), strict=False))
    total = build.emit("Conv", node.inputs[:3], **attrs)
    if node.has_input(3):
        total = build.emit("Add", [total, node.inputs[3]])
    return [_activated(build, node, total, given)]


def _matmul(build: Build, node: Node) -> Sequence[str]:
    operands = [_turned(build, node, value, side) for value, side in zip(node.inputs, "AB", strict=True)]
    product = build.emit("MatMul", operands)
    scale = float(node.attrs.get("alpha", 1.0))
    return [product if scale == 1.0 else build.emit("Mul", [product, build.constant(scale, node.inputs[0])])]


def _turned(build: Build, node: Node, value: str, side: str) -> str:
    """An operand with its last axes exchanged, and its first axis behind those of the batch, as attributes say."""
    swapped, batched = (bool(node.attrs.get(f"{name}{side}", 0)) for name in ("trans", "transBatch"))
    if not swapped and not batched:
        return value
    rank = build.rank(value)
    order = list(range(rank))
    if batched and rank > 2:
        order = [*order[1:-1], 0, rank - 1]
    if swapped and rank > 1:
        order[-2:] = [order[-1], order[-2]]
    return build.emit("Transpose", [value], perm=order)


def _gelu_of(build: Build, value: str) -> str:
    if build.opset >= 20:
        return build.emit("Gelu", [value])
    scaled = build.emit("Div", [value, build.constant(math.sqrt(2.0), value)])
    shifted = build.emit("Add", [build.emit("Erf", [scaled]), build.constant(1.0, value)])
    return build.emit("Mul", [build.emit("Mul", [value, shifted]), build.constant(0.5, value)])


def _gelu(build: Build, node: Node) -> Sequence[str]:
    return [_gelu_of(build, node.inputs[0])]


def _bias_gelu(build: Build, node: Node) -> Sequence[str]:
    return [_gelu_of(build, build.emit("Add", node.inputs[:2]))]


def _fast_gelu(build: Build, node: Node) -> Sequence[str]:
    """With a bias; before there was an operator for it, its steps would stay what they are: a dozen of them."""
    if build.opset < 20:
        raise _KeptError
    value = build.emit("Add", node.inputs[:2]) if node.has_input(1) else node.inputs[0]
    return [build.emit("Gelu", [value], approximate="tanh")]


def _quick_gelu(build: Build, node: Node) -> Sequence[str]:
    value, slope = node.inputs[0], float(node.attrs.get("alpha", 1.702))
    inner = value if slope == 1.0 else build.emit("Mul", [value, build.constant(slope, value)])
    return [build.emit("Mul", [value, build.emit("Sigmoid", [inner])])]


def _skip_layer_norm(build: Build, node: Node) -> Sequence[str]:
    """LayerNorm(input + skip + bias), and the sum itself as the fourth output."""
    bias = [node.inputs[4]] if node.has_input(4) else []
    total = _skipped(build, node, bias)
    weights = [node.inputs[2], *([node.inputs[3]] if node.has_input(3) else [])]
    epsilon = float(node.attrs.get("epsilon", 1e-12))
    if build.opset >= 17:
        normal = build.emit("LayerNormalization", [total, *weights], axis=-1, epsilon=epsilon)
        return _with_sum(node, normal, total)
    return _with_sum(node, _normalized(build, total, weights, epsilon), total)


def _layer_norm(build: Build, node: Node) -> Sequence[str]:
    """LayerNormalization, which ONNX Runtime has in older operator sets as well."""
    axis = int(node.attrs.get("axis", -1))
    if build.opset >= 17 or any(node.outputs[1:]) or axis not in (-1, build.rank(node.inputs[0]) - 1):
        raise _KeptError
    weights = [v for v in node.inputs[1:] if v]
    normal = _normalized(build, node.inputs[0], weights, float(node.attrs.get("epsilon", 1e-5)))
    return [normal, *node.outputs[1:]]


def _normalized(build: Build, value: str, weights: Sequence[str], epsilon: float) -> str:
    """The steps of LayerNormalization with a scale and, perhaps, a shift."""
    wide = _widened(build, value)
    centred = build.emit("Sub", [wide, _mean(build, wide)])
    scaled = build.emit("Mul", [_narrowed(build, _scaled(build, centred, epsilon), value), weights[0]])
    return build.emit("Add", [scaled, *weights[1:]]) if weights[1:] else scaled


def _widened(build: Build, value: str) -> str:
    """What is squared and summed, as ONNX Runtime does it: half precision ends at 65504, the square of 256."""
    return build.emit("Cast", [value], to=onnx.TensorProto.FLOAT) if _is_half(build, value) else value


def _narrowed(build: Build, made: str, value: str) -> str:
    """What was made of a value, in its type."""
    return build.emit("Cast", [made], to=build.known.facts[value].dtype) if _is_half(build, value) else made


def _is_half(build: Build, value: str) -> bool:
    return build.known.facts.get(value, Fact()).dtype in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def _skip_rms_norm(build: Build, node: Node) -> Sequence[str]:
    total = _skipped(build, node, [node.inputs[3]] if node.has_input(3) else [])
    normal = _root_normalized(build, total, float(node.attrs.get("epsilon", 1e-12)))
    return _with_sum(node, build.emit("Mul", [normal, node.inputs[2]]), total)


def _rms_norm(build: Build, node: Node) -> Sequence[str]:
    """SimplifiedLayerNormalization, which ONNX Runtime keeps in the standard domain."""
    axis = int(node.attrs.get("axis", -1))
    if any(node.outputs[1:]) or axis not in (-1, build.rank(node.inputs[0]) - 1):
        raise _KeptError
    normal = _root_normalized(build, node.inputs[0], float(node.attrs.get("epsilon", 1e-5)))
    return [build.emit("Mul", [normal, node.inputs[1]]), *node.outputs[1:]]


def _skipped(build: Build, node: Node, bias: Sequence[str]) -> str:
    if any(node.outputs[1:3]):
        raise _KeptError  # mean and deviation are for training
    value = build.emit("Add", [node.inputs[0], *bias]) if bias else node.inputs[0]
    return build.emit("Add", [value, node.inputs[1]])


def _with_sum(node: Node, normal: str, total: str) -> Sequence[str]:
    return [normal, "", "", total][: len(node.outputs)]


def _root_normalized(build: Build, value: str, epsilon: float) -> str:
    return _narrowed(build, _scaled(build, _widened(build, value), epsilon), value)


def _scaled(build: Build, value: str, epsilon: float) -> str:
    """A value over the root of the mean of its squares."""
    squares = _mean(build, build.emit("Pow", [value, build.constant(2.0, value)]))
    root = build.emit("Sqrt", [build.emit("Add", [squares, build.constant(epsilon, value)])])
    return build.emit("Div", [value, root])


def _average_pool(build: Build, node: Node) -> Sequence[str]:
    """The mean of the last of three axes, which TensorFlow's converter writes so; ONNX Runtime does the same."""
    if build.rank(node.inputs[0]) != 3:
        raise _KeptError
    return [_mean(build, node.inputs[0])]


def _mean(build: Build, value: str) -> str:
    if build.opset < 18:
        return build.emit("ReduceMean", [value], axes=[-1], keepdims=1)
    return build.emit("ReduceMean", [value, build.weight(np.array([-1], np.int64))], keepdims=1)


def _feature_extractor(build: Build, node: Node) -> list[str]:
    """Chosen columns."""
    chosen, rank = build.graph.constant(node.inputs[1]), build.rank(node.inputs[0])
    if chosen is None or rank < 2:  # of a vector it makes a matrix
        raise _KeptError
    return [build.emit("Gather", [node.inputs[0], build.weight(chosen.reshape(-1))], axis=rank - 1)]


def _feature_vectorizer(build: Build, node: Node) -> list[str]:
    """Matrices side by side, as floats; others than as wide as it says are cut, or filled up."""
    facts = [build.known.facts.get(v, Fact()) for v in node.inputs]
    said = node.attrs.get("inputdimensions", ())
    if [f.shape[1] if f.shape is not None and len(f.shape) == 2 else None for f in facts] != list(said):
        raise _KeptError
    joined = build.emit("Concat", node.inputs, axis=1)
    return [build.emit("Cast", [joined], to=onnx.TensorProto.FLOAT)]


def _contrib() -> Iterator[tuple[str, Writer]]:
    yield "FusedGemm", _gemm
    yield "FusedConv", _conv
    yield from ((op, _matmul) for op in ("FusedMatMul", "TransposeMatMul"))
    yield "Gelu", _gelu
    yield "BiasGelu", _bias_gelu
    yield "FastGelu", _fast_gelu
    yield "QuickGelu", _quick_gelu
    yield "SkipLayerNormalization", _skip_layer_norm
    yield "SkipSimplifiedLayerNormalization", _skip_rms_norm


INTEGERS = frozenset({*((CONTRIB, op) for op in CONTRIB_INTEGERS), *(("", op) for op in STANDARD_INTEGERS)})
"""Operators on integers, by domain and operator."""

FUSED: Mapping[tuple[str, str], Writer] = {
    **{(CONTRIB, op): write for op, write in (*_contrib(), *CONTRIB_INTEGERS.items())},
    **{("", op): write for op, write in STANDARD_INTEGERS.items()},
    ("", "SimplifiedLayerNormalization"): _rms_norm,
    ("", "LayerNormalization"): _layer_norm,
    ("", "GlobalAveragePool"): _average_pool,
    (LEARNED, "ArrayFeatureExtractor"): _feature_extractor,
    (LEARNED, "FeatureVectorizer"): _feature_vectorizer,
}
"""By domain and operator."""
