"""Models that ONNX Runtime's tools have quantized or brought to half precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from mari_onnx import optimize
from mari_onnx.explain import explain
from mari_onnx.ir import read_graph
from mari_onnx.normalise import normalise
from mari_onnx.options import Options

STATIC = """<ir_version: 9, opset_import: ["" : 17]>
g (float[B,48] user_x, float[B,16] item_x) => (float[B,32] y) {
    u = Tanh(user_x)
    x = Concat<axis=1>(u, item_x)
    xq = QuantizeLinear(x, sx, zx)
    xd = DequantizeLinear(xq, sx, zx)
    wd = DequantizeLinear<axis=1>(wq, sw, zw)
    h = MatMul(xd, wd)
    hq = QuantizeLinear(h, sy, zy)
    y = DequantizeLinear(hq, sy, zy)
}"""
DYNAMIC = """<ir_version: 9, opset_import: ["" : 17]>
g (float[B,48] user_x, float[B,16] item_x) => (float[B,32] y) {
    x = Concat<axis=1>(user_x, item_x)
    xq, sx, zx = DynamicQuantizeLinear(x)
    h = MatMulInteger(xq, wq, zx, zw)
    f = Cast<to=1>(h)
    s = Mul(sx, sw)
    y = Mul(f, s)
}"""


def quantized(text: str, per_channel: bool) -> onnx.ModelProto:
    model = parser.parse_model(text)
    random = np.random.default_rng(0)
    kind = np.uint8 if "MatMulInteger" in text else np.int8
    channels = 32 if per_channel else 1
    arrays = {
        "wq": random.integers(1, 100, (64, 32)).astype(kind),
        "sw": np.full(channels, 0.01, np.float32) if per_channel else np.array(0.01, np.float32),
        "zw": np.zeros(channels, kind) if per_channel else np.array(0, kind),
        "sx": np.array(0.02, np.float32),
        "zx": np.array(128, np.uint8),
        "sy": np.array(0.3, np.float32),
        "zy": np.array(128, np.uint8),
    }
    used = {v for n in model.graph.node for v in n.input} - {v for n in model.graph.node for v in n.output}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items() if n in used)
    return model


@pytest.mark.parametrize("per_channel", [False, True])
def test_scales_that_are_fixed(per_channel: bool) -> None:
    result = optimize(quantized(STATIC, per_channel), ["user_x"])
    assert result.verification is not None
    assert result.verification.passed
    assert TensorProto.INT8 in {t.data_type for t in result.model.graph.initializer}
    (tanh,) = [n for n in result.model.graph.node if n.op_type == "Tanh"]
    assert tanh.input[0] == "user_x"


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_quantized_weight_stays_one(per_channel: bool) -> None:
    graph = normalise(read_graph(quantized(STATIC, per_channel)))
    assert [n.op for n in graph.nodes].count("DequantizeLinear") == 3


@pytest.mark.parametrize("per_channel", [False, True])
def test_integers_are_multiplied_in_halves_to_the_last_bit(per_channel: bool) -> None:
    """As ONNX Runtime multiplies them with its own optimizations on."""
    original = quantized(STATIC.replace("float[B,32] y", "uint8[B,32] hq"), per_channel)
    del original.graph.node[-1]
    result = optimize(original, ["user_x"])
    assert [a.rule for a in result.applied].count("quantized-product") == 1
    random = np.random.default_rng(1)
    user, item = (random.normal(size=(rows, width)).astype(np.float32) for rows, width in ((1, 48), (200, 16)))
    expected = running(original, {"user_x": user.repeat(200, axis=0), "item_x": item})
    np.testing.assert_array_equal(running(result.model, {"user_x": user, "item_x": item}), expected)


PAIRS = """<ir_version: 9, opset_import: ["" : 17]>
g (float[B,48] user_x, float[B,16] item_x) => (float[B,32] y) {
    uq = QuantizeLinear(user_x, su, zx) ud = DequantizeLinear(uq, su, zx)
    iq = QuantizeLinear(item_x, si, zi) id = DequantizeLinear(iq, si, zi)
    x = Concat<axis=1>(ud, id)
    xq = QuantizeLinear(x, sx, zx) xd = DequantizeLinear(xq, sx, zx)
    wd = DequantizeLinear<axis=1>(wq, sw, zw) h = MatMul(xd, wd)
    hq = QuantizeLinear(h, sy, zy) y = DequantizeLinear(hq, sy, zy)
}"""
SCALES = {"su": np.array(0.031, np.float32), "si": np.array(0.017, np.float32), "zi": np.array(99, np.uint8)}


def pairs(text: str, per_channel: bool = False) -> onnx.ModelProto:
    """A pair around everything."""
    model = quantized(text, per_channel)
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in SCALES.items())
    return model


def kernels(model: onnx.ModelProto, tmp_path: Path) -> list[str]:
    """The operators that ONNX Runtime makes of a model."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "saved.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [n.op_type for n in onnx.load(tmp_path / "saved.onnx").graph.node]


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_items_half_is_one_kernel_that_rounds_as_before(per_channel: bool, tmp_path: Path) -> None:
    original = pairs(PAIRS, per_channel)
    result = optimize(original, ["user_x"]).model
    made = kernels(result, tmp_path)
    assert made.count("QGemm") == 1
    assert made.count("QLinearConcat") == 1
    assert not {"Gemm", "MatMul", "Concat"} & set(made)
    random = np.random.default_rng(1)
    user, item = (random.normal(size=(rows, width)).astype(np.float32) for rows, width in ((1, 48), (200, 16)))
    expected = running(original, {"user_x": user.repeat(200, axis=0), "item_x": item})
    np.testing.assert_array_equal(running(result, {"user_x": user, "item_x": item}), expected)


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_bias_of_floats_is_rounded_as_the_runtime_does(per_channel: bool, tmp_path: Path) -> None:
    original = pairs(PAIRS.replace("MatMul(xd, wd)", "Gemm(xd, wd, b)"), per_channel)
    random = np.random.default_rng(2)
    original.graph.initializer.append(numpy_helper.from_array(random.normal(size=32).astype(np.float32), "b"))
    result = optimize(original, ["user_x"])
    assert "quantized-product" in [a.rule for a in result.applied]
    assert kernels(result.model, tmp_path).count("QGemm") == 1
    user, item = (random.normal(size=(rows, width)).astype(np.float32) for rows, width in ((1, 48), (200, 16)))
    expected = running(original, {"user_x": user.repeat(200, axis=0), "item_x": item})
    np.testing.assert_array_equal(running(result.model, {"user_x": user, "item_x": item}), expected)


def test_what_the_runtime_computes_on_integers_stays_so(tmp_path: Path) -> None:
    """The user's columns are repeated as integers, and no rule joins some of them in floats."""
    text = PAIRS.replace("Concat<axis=1>(ud, id)", "Concat<axis=1>(ud, id, ud)").replace(
        "MatMul(xd, wd)", "Sigmoid(xd)"
    )
    text = text.replace("float[B,32] y", "float[B,112] y").replace("wd = DequantizeLinear<axis=1>(wq, sw, zw)", "")
    original = pairs(text)
    result = optimize(original, ["user_x"]).model
    made = kernels(result, tmp_path)
    assert made.count("QLinearConcat") == 1
    (repeated,) = [n for n in result.graph.node if n.op_type == "Expand"]
    assert {n.op_type for n in result.graph.node if repeated.output[0] in n.input} == {"DequantizeLinear"}


def running(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


def of_floats(op: str, per_channel: bool) -> onnx.ModelProto:
    """Only the weight is quantized."""
    model = quantized(STATIC.replace("xq = Q", "xo = Q").replace("(xq, sx, zx)", "(xo, sx, zx)"), per_channel)
    for node in model.graph.node:
        if node.op_type == "MatMul":
            node.op_type, node.input[0] = op, "x"
    return model


@pytest.mark.parametrize("per_channel", [False, True])
def test_halves_of_a_quantized_weight_are_quantized(per_channel: bool) -> None:
    result = optimize(of_floats("Gemm", per_channel), ["user_x"])
    assert [a.rule for a in result.applied].count("split-product") == 1
    weights = {tuple(t.dims) for t in result.model.graph.initializer if t.data_type == TensorProto.INT8}
    assert {(48, 32), (16, 32)} <= weights


def test_why_a_quantized_weight_is_not_split() -> None:
    """ONNX Runtime rounds what it multiplies by such a weight, unless the product is a Gemm."""
    found = explain(of_floats("MatMul", True), Options(user_inputs=["user_x"]))
    assert any("block by block" in one.reason for one in found.refused)


def test_a_scale_that_is_found_while_it_runs_is_a_barrier() -> None:
    """It depends on all rows of all candidates."""
    model = quantized(DYNAMIC, False)
    result = optimize(model, ["user_x"])
    assert result.verification is not None
    assert result.verification.passed
    found = explain(model, Options(user_inputs=["user_x"]))
    assert any("its scale depends on all rows" in left.reason for left in found.leftovers)


@pytest.mark.parametrize("half", [np.float16])
def test_half_precision_inside_is_judged_as_such(half: type) -> None:
    """Inputs and outputs are floats, all that lies between is not."""
    model = parser.parse_model("""<ir_version: 9, opset_import: ["" : 17]>
    g (float[B,96] user_x, float[B,16] item_x) => (float[B,8] y) {
        x = Concat<axis=1>(user_x, item_x) c = Cast<to=10>(x) h = MatMul(c, w) r = Relu(h) p = MatMul(r, v)
        y = Cast<to=1>(p)
    }""")
    random = np.random.default_rng(0)
    for name, shape in {"w": (112, 64), "v": (64, 8)}.items():
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(half), name))
    result = optimize(model, ["user_x"])
    assert [a.rule for a in result.applied].count("split-product") == 1
    assert {t.data_type for t in result.model.graph.initializer} >= {TensorProto.FLOAT16}
    assert TensorProto.FLOAT not in {t.data_type for t in result.model.graph.initializer if len(t.dims) == 2}
    assert helper.tensor_dtype_to_np_dtype(TensorProto.FLOAT16) == half
