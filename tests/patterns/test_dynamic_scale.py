"""Q([u, i]) W = Q(u) W_u + Q(i) W_i, with the scale of [u, i]."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from mari_onnx import optimize
from tests.patterns.support import apply

RULE = "dynamic-scale"
DECLARED = "<{kind}[24,8] w, {kind} zw, float sw>"
BODY = """score (float[B,16] user, float[B,8] item) => (float[B,8] y) {declared} {{
    x = Concat<axis = 1>(user, item)
    q, s, z = DynamicQuantizeLinear(x)
    m = MatMulInteger(q, w, z, zw)
    f = Cast<to = 1>(m)
    k = Mul(s, sw)
    y = Mul(f, k)
}}"""


def weights(kind: type = np.int8, columns: int = 8) -> dict[str, object]:
    limits = np.iinfo(kind)
    random = np.random.default_rng(0)
    drawn = random.integers(limits.min, limits.max + 1, (24, columns)).astype(kind)
    return {"w": drawn, "zw": kind(3), "sw": np.float32(0.01)}


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_both_halves_have_the_scale_of_all(kind: type, opset: int) -> None:
    text = BODY.format(declared=DECLARED.format(kind=kind.__name__))
    outcome = apply(RULE, text, opset=opset, **weights(kind))
    assert outcome.times == 1
    assert outcome.ops["MatMulInteger"] == outcome.ops["QuantizeLinear"] == 2
    (scaling,) = outcome.of("DynamicQuantizeLinear")
    assert outcome.size_of(scaling.input[0]) == (4, 1)
    rows = {outcome.size_of(n.input[0])[0] for n in outcome.of("MatMulInteger")}
    assert 1 in rows


def test_products_that_share_a_scale() -> None:
    text = BODY.replace("float[B,8] y)", "float[B,8] y, int32[B,4] o)").replace("y = Mul(f, k)", "y = Mul(f, k) {more}")
    text = text.format(declared="<int8[24,8] w, int8 zw, float sw, int8[24,4] v>", more="o = MatMulInteger(q, v, z)")
    given = {**weights(), "v": weights(columns=4)["w"]}
    outcome = apply(RULE, text, **given)
    assert outcome.times == 1
    assert outcome.ops["MatMulInteger"] == 4
    assert outcome.ops["QuantizeLinear"] == 2


def test_rows_of_tokens_and_a_zero_point_for_each_column() -> None:
    text = BODY.replace("[B,", "[B,3,").replace("axis = 1", "axis = 2")
    text = text.format(declared="<int8[24,8] w, int8[8] zw, float[8] sw>")
    given = {**weights(), "zw": np.arange(8, dtype=np.int8), "sw": np.linspace(0.01, 0.02, 8, dtype=np.float32)}
    assert apply(RULE, text, **given).times == 1


@pytest.mark.parametrize("spread", [1.0, 1e-30, 1e30])
def test_floats_come_out_as_the_runtime_computes_them(spread: float) -> None:
    """To the last bit, with its own optimizations on both sides."""
    text = BODY.replace("float[B,16]", "float[B,400]").replace("y = Mul(f, k)", "g = Mul(f, k) y = Add(g, b)")
    text = text.format(declared="<int8[408,8] w, int8 zw, float sw, float[8] b>")
    random = np.random.default_rng(0)
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> {text}')
    del model.graph.value_info[:]
    given = {"w": random.integers(-128, 128, (408, 8)).astype(np.int8), "zw": np.int8(0), "sw": np.float32(0.01)}
    given["b"] = random.normal(size=8).astype(np.float32)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in given.items())
    result = optimize(model, ["user"])
    assert RULE in [a.rule for a in result.applied]
    user, item = (random.normal(size=s).astype(np.float32) * np.float32(spread) for s in ((1, 400), (300, 8)))
    expected = running(model, {"user": user.repeat(300, axis=0), "item": item})
    np.testing.assert_array_equal(running(result.model, {"user": user, "item": item}), expected)


def running(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Concat<axis = 1>(user, item)", "Concat<axis = 1>(item, item, item)"),
        # The integers are read by something else.
        ("y = Mul(f, k)", "p = DequantizeLinear(q, s, z) t = ReduceSum<keepdims = 1>(p) h = Mul(f, k) y = Add(h, t)"),
        # Another zero point than that of the scale.
        ("MatMulInteger(q, w, z, zw)", "MatMulInteger(q, w, o, zw)"),
        ("MatMulInteger(q, w, z, zw)", "MatMulInteger(q, w)"),
    ],
)
def test_what_is_no_product_of_both(old: str, new: str) -> None:
    text = BODY.replace(old, new).format(declared="<int8[24,8] w, int8 zw, float sw, uint8 o>")
    assert apply(RULE, text, o=np.uint8(7), **weights()).times == 0


def test_tokens_that_are_joined() -> None:
    text = BODY.replace("float[B,16] user, float[B,8] item", "float[B,2,24] user, float[B,1,24] item")
    text = text.replace("float[B,8] y", "float[B,3,8] y").format(declared=DECLARED.format(kind="int8"))
    assert apply(RULE, text, **weights()).times == 0
