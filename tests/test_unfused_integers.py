"""Operators on integers are written out, and ONNX Runtime makes the same integers of what stands for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from mari_onnx import optimize
from mari_onnx.ir import read_graph, write_model
from mari_onnx.unfused import unfuse

CONTRIB = "com.microsoft"
KINDS = (np.uint8, np.int8)
FLOAT = onnx.TensorProto.FLOAT


class Quantized:
    """A graph of operators on integers: floats come in and go out."""

    def __init__(self, kind: type, seed: int = 0) -> None:
        self.kind = kind
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.feeds: dict[str, np.ndarray] = {}

    def weight(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def pair(self, scale: float | None = None) -> list[str]:
        """A scale and a zero point."""
        number = self.random.uniform(0.01, 0.1) if scale is None else scale
        limits = np.iinfo(self.kind)
        zero = self.random.integers(limits.min, limits.max + 1)
        return [self.weight(np.float32(number)), self.weight(self.kind(zero))]

    def add(self, op: str, inputs: list[str], domain: str = CONTRIB, **attrs: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, domain=domain, **attrs))
        return name

    def operand(self, name: str, *shape: int) -> list[str]:
        """Integers that were made of an input, and their scale and zero point."""
        self.inputs.append(helper.make_tensor_value_info(name, FLOAT, ["B", *shape[1:]]))
        self.feeds[name] = self.random.normal(size=shape, scale=4).astype(np.float32)
        pair = self.pair()
        return [self.add("QuantizeLinear", [name, *pair], domain=""), *pair]

    def model(self, integers: str, pair: list[str], opset: int = 17) -> onnx.ModelProto:
        """The graph, with floats made of the integers as its output."""
        if pair:
            self.add("DequantizeLinear", [integers, *pair], domain="")
        self.nodes[-1].output[0] = "y"
        output = helper.make_tensor_value_info("y", FLOAT, None)
        graph = helper.make_graph(self.nodes, "g", self.inputs, [output], self.weights)
        imports = [helper.make_opsetid("", opset), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=9)


def running(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """As ONNX Runtime runs it with its own optimizations on."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


def assert_same_integers(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    result = write_model(unfuse(read_graph(model)))
    assert all(not n.domain and not n.op_type.startswith("QL") for n in result.graph.node)
    np.testing.assert_array_equal(running(result, feeds), running(model, feeds))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_two_operands(op: str, kind: type) -> None:
    build = Quantized(kind)
    operands = [*build.operand("x", 64, 9), *build.operand("z", 64, 9)]
    pair = build.pair()
    assert_same_integers(build.model(build.add(op, [*operands, *pair]), pair), build.feeds)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("op", "attrs"),
    [("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.1}), ("QLinearSoftmax", {"axis": -1, "opset": 17})],
)
def test_one_operand(op: str, attrs: dict[str, Any], kind: type) -> None:
    build = Quantized(kind)
    operand = build.operand("x", 64, 9)
    pair = [build.weight(np.float32(1 / 256)), build.weight(kind(np.iinfo(kind).min))]
    assert_same_integers(build.model(build.add(op, [*operand, *pair], **attrs), pair), build.feeds)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_that_are_joined(kind: type) -> None:
    build = Quantized(kind)
    pair, parts = build.pair(), [*build.operand("x", 64, 9), *build.operand("z", 64, 3)]
    assert_same_integers(build.model(build.add("QLinearConcat", [*pair, *parts], axis=1), pair), build.feeds)


@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["QLinearMatMul", "QGemm", "turned QGemm", "QGemm to floats"])
def test_products(form: str, kind: type, per_column: bool) -> None:
    build = Quantized(kind)
    operand, columns = build.operand("x", 64, 33), 16
    weight = build.random.integers(-127, 128, (33, columns)).astype(np.int8)
    turned = form == "turned QGemm"
    shape = (columns,) if per_column else ()
    scales = build.random.uniform(0.001, 0.1, shape).astype(np.float32)
    right = [weight.T.copy() if turned else weight, scales, np.zeros(shape, np.int8)]
    pair = build.pair(1.5)
    inputs = [*operand, *map(build.weight, right)]
    if form == "QLinearMatMul":
        assert_same_integers(build.model(build.add(form, [*inputs, *pair], domain=""), pair), build.feeds)
        return
    inputs.append(build.weight(build.random.integers(-9000, 9000, columns).astype(np.int32)))
    rounded = [] if form == "QGemm to floats" else pair
    product = build.add("QGemm", [*inputs, *rounded], transB=int(turned))
    assert_same_integers(build.model(product, rounded), build.feeds)


@pytest.mark.parametrize("kind", KINDS)
def test_integers_that_are_moved_and_read_twice(kind: type) -> None:
    """Signed ones become unsigned: ONNX Runtime would make no integers of them again."""
    build = Quantized(kind)
    operand, pair, last = build.operand("x", 64, 8), build.pair(1.5), build.pair(2.0)
    operand[0] = build.add("Reshape", [operand[0], build.weight(np.array([-1, 4]))], domain="")
    products = []
    for _ in range(2):
        numbers = build.random.integers(-127, 128, (4, 4)).astype(np.int8)
        weight = [build.weight(v) for v in (numbers, np.float32(0.1), np.int8(0))]
        products += [build.add("QLinearMatMul", [*operand, *weight, *pair], domain=""), *pair]
    assert_same_integers(build.model(build.add("QLinearAdd", [*products, *last]), last), build.feeds)


def test_scaling_under_the_name_of_the_runtime() -> None:
    build = Quantized(np.uint8)
    build.inputs.append(helper.make_tensor_value_info("x", FLOAT, ["B", 4]))
    pair = build.pair()
    made = build.add("DequantizeLinear", [build.add("QuantizeLinear", ["x", *pair]), *pair])
    feeds = {"x": build.random.normal(size=(8, 4)).astype(np.float32)}
    assert_same_integers(build.model(made, []), feeds)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_of_integers_is_split(kind: type) -> None:
    """To the last bit, as the runtime computes both."""
    build = Quantized(kind)
    parts, pair, last = [*build.operand("user", 64, 200), *build.operand("item", 64, 40)], build.pair(), build.pair(1.5)
    joined = build.add("QLinearConcat", [*pair, *parts], axis=1)
    weight = build.random.integers(-127, 128, (240, 64)).astype(np.int8)
    right = [build.weight(v) for v in (weight, np.float32(0.01), np.int8(0), np.arange(64, dtype=np.int32))]
    model = build.model(build.add("QGemm", [joined, *pair, *right, *last]), last)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, ["B", 64]))
    result = optimize(model, ["user"])
    assert [a.rule for a in result.applied].count("quantized-product") == 1
    build.feeds["user"][:] = build.feeds["user"][:1]
    once = {"user": build.feeds["user"][:1], "item": build.feeds["item"]}
    np.testing.assert_array_equal(running(result.model, once), running(model, build.feeds))


# -- stays -------------------------------------------------------------------------------------------------------------


def stays(model: onnx.ModelProto, op: str) -> bool:
    return op in [n.op for n in unfuse(read_graph(model)).nodes]


@pytest.mark.parametrize("kind", KINDS)
def test_integers_that_come_from_a_table(kind: type) -> None:
    """ONNX Runtime makes no integers of products of signed ones again on x86, and would multiply floats."""
    build = Quantized(kind)
    build.inputs.append(helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["B"]))
    table, pair = build.weight(np.ones((9, 8), kind)), build.pair()
    rows = build.add("Gather", [table, "ids"], domain="")
    weight = [build.weight(v) for v in (np.ones((8, 4), np.int8), np.float32(0.1), np.int8(0))]
    model = build.model(build.add("QLinearMatMul", [rows, *build.pair(), *weight, *pair], domain=""), pair)
    assert stays(model, "QLinearMatMul") == (kind is np.int8)


def test_signed_integers_that_are_an_output() -> None:
    build = Quantized(np.int8)
    operand, pair = build.operand("x", 64, 8), build.pair()
    model = build.model(build.add("QLinearSigmoid", [*operand, *pair]), [])
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    assert stays(model, "QLinearSigmoid")


@pytest.mark.parametrize("change", ["alpha", "open scale", "bias that is computed", "softmax of other axes"])
def test_what_is_used_in_another_way(change: str) -> None:
    build = Quantized(np.uint8)
    operand, pair = build.operand("x", 64, 8), build.pair()
    if change == "open scale":
        build.inputs.append(helper.make_tensor_value_info("scale", FLOAT, []))
        operand[1] = "scale"
    weight = [build.weight(v) for v in (np.ones((8, 4), np.int8), np.float32(0.1), np.int8(0))]
    if change == "softmax of other axes":
        model = build.model(build.add("QLinearSoftmax", [*operand, *pair], axis=-1, opset=12), pair)
        assert stays(model, "QLinearSoftmax")
        return
    bias = build.weight(np.ones(4, np.int32))
    if change == "bias that is computed":
        bias = build.add("Abs", [bias], domain="")
    attrs = {"alpha": 0.5} if change == "alpha" else {}
    assert stays(build.model(build.add("QGemm", [*operand, *weight, bias, *pair], **attrs), pair), "QGemm")


def test_a_scale_for_each_column_before_there_was_one() -> None:
    build = Quantized(np.uint8)
    operand, pair = build.operand("x", 64, 8), build.pair()
    weight = [build.weight(v) for v in (np.ones((8, 4), np.int8), np.ones(4, np.float32), np.zeros(4, np.int8))]
    model = build.model(build.add("QLinearMatMul", [*operand, *weight, *pair], domain=""), pair, opset=12)
    assert stays(model, "QLinearMatMul")
