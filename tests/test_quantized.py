"""Models that ONNX Runtime's tools have quantized or brought to half precision."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from mari_onnx import optimize
from mari_onnx.explain import explain
from mari_onnx.ir import read_graph
from mari_onnx.normalise import normalise
from mari_onnx.pipeline import Options

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


def test_what_stands_before_a_quantized_product() -> None:
    found = explain(quantized(STATIC, False), Options(user_inputs=["user_x"]))
    assert any("multiplies integers" in left.reason for left in found.leftovers)


def test_why_a_quantized_weight_is_not_split() -> None:
    model = quantized(STATIC.replace("xq = Q", "xo = Q").replace("(xq, sx, zx)", "(xo, sx, zx)"), False)
    for node in model.graph.node:
        if node.op_type == "MatMul":
            node.input[0] = "x"
    found = explain(model, Options(user_inputs=["user_x"]))
    assert any("integer product" in one.reason for one in found.refused)


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
