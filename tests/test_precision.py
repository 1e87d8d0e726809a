"""Models in other types than float: doubles, halves, integers with scales, and what ONNX Runtime saves of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from mari_onnx import ModelError, optimize
from mari_onnx.explain import explain
from mari_onnx.options import Options
from models import catalog
from models.catalog import Exported
from tests.committed import MODELS, users_of
from tests.patterns.support import session

RANDOM = np.random.default_rng(0)


def model_of(text: str, opset: int = 17, **weights: Any) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}, "com.microsoft" : 1]> {text}')
    for name, array in weights.items():
        tensor = array if isinstance(array, TensorProto) else numpy_helper.from_array(array, name)
        model.graph.initializer.append(tensor)
    return model


# -- floats of other widths --------------------------------------------------------------------------------------------


def layered(dtype: str) -> onnx.ModelProto:
    """Two layers over user and item in some type; inputs and outputs are floats."""
    kind = getattr(TensorProto, dtype)
    shapes = {"w": (80, 32), "c": (32,), "v": (32, 8)}
    arrays = {n: RANDOM.normal(size=s) / 8 for n, s in shapes.items()}
    return model_of(
        f"""g (float[B,64] user, float[B,16] item) => (float[B,8] y) {{
            u = Cast<to={kind}>(user) i = Cast<to={kind}>(item) x = Concat<axis=1>(u, i)
            h = Gemm(x, w, c) r = Relu(h) p = MatMul(r, v) y = Cast<to=1>(p)
        }}""",
        **{n: a.astype(helper.tensor_dtype_to_np_dtype(kind)) for n, a in arrays.items()},
    )


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model in bfloat16 as one in float32, which ONNX Runtime can run on a CPU."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.value_info[:]
    for tensor in result.graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for node in result.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.BFLOAT16:
                attribute.i = TensorProto.FLOAT
    return result


@pytest.mark.parametrize("dtype", ["DOUBLE", "FLOAT16"])
def test_weights_keep_their_type(dtype: str) -> None:
    result = optimize(layered(dtype), ["user"])
    assert "split-product" in {a.rule for a in result.applied}
    assert result.report.after.flops < 0.5 * result.report.before.flops
    kinds = {t.data_type for t in result.model.graph.initializer if len(t.dims) == 2}
    assert kinds == {getattr(TensorProto, dtype)}


def test_what_the_runtime_cannot_run_is_said() -> None:
    """There are no products in bfloat16 on a CPU: nothing can be compared there, and nothing is claimed."""
    model = layered("BFLOAT16")
    with pytest.raises(ModelError, match=r"original model: ONNX Runtime cannot load it: .*--no-verify"):
        optimize(model, ["user"])
    result = optimize(model, ["user"], verify=False)
    assert {t.data_type for t in result.model.graph.initializer if len(t.dims) == 2} == {TensorProto.BFLOAT16}
    one, other = session(widened(model)), session(widened(result.model))
    user, item = (RANDOM.normal(size=(rows, width)).astype(np.float32) for rows, width in ((1, 64), (5, 16)))
    wanted = one.run(None, {"user": user.repeat(5, 0), "item": item})[0]
    np.testing.assert_allclose(other.run(None, {"user": user, "item": item})[0], wanted, rtol=1e-5, atol=1e-5)


# -- masks in front of a Softmax ---------------------------------------------------------------------------------------


def masked(kind: type, mask: float) -> onnx.ModelProto:
    """Tokens of the user that do not see those of the item."""
    name = {np.float16: "float16", np.float32: "float", np.float64: "double"}[kind]
    table = np.zeros((26, 26))
    table[:20, 20:] = mask
    return model_of(
        f"""g ({name}[B,20,16] user, {name}[B,6,16] item) => ({name}[B,26,16] y) {{
            x = Concat<axis=1>(user, item) q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv)
            t = Transpose<perm=[0,2,1]>(k) s = MatMul(q, t) a = Add(s, m) p = Softmax<axis=-1>(a) y = MatMul(p, v)
        }}""",
        **{n: (RANDOM.normal(size=(16, 16)) / 8).astype(kind) for n in ("wq", "wk", "wv")},
        m=table.astype(kind),
    )


@pytest.mark.parametrize(
    ("kind", "mask", "removes"),
    [
        (np.float16, -np.inf, True),
        (np.float16, -65504.0, True),
        (np.float16, -1e4, False),
        (np.float32, -np.inf, True),
        (np.float32, float(np.finfo(np.float32).min), True),
        (np.float32, -1e9, True),
        (np.float32, -65504.0, False),
        (np.float32, -1e4, False),
        (np.float64, -1e9, True),
    ],
)
def test_which_numbers_stand_for_minus_infinity(kind: type, mask: float, removes: bool) -> None:
    result = optimize(masked(kind, mask), ["user"], batches=(1, 3), seeds=1)
    assert ("masked-product" in {a.rule for a in result.applied}) == removes
    if removes:
        assert result.report.after.flops < 0.3 * result.report.before.flops


@pytest.mark.parametrize(("kind", "mask"), [(np.float16, -65504.0), (np.float32, -1e9)])
def test_what_is_masked_is_exactly_nothing(kind: type, mask: float) -> None:
    """As the rules take it to be: next to scores of thousands, in the runtime's own Softmax."""
    name = "float16" if kind is np.float16 else "float"
    model = model_of(f"g ({name}[4] x, {name}[4] m) => ({name}[4] y) {{ a = Add(x, m) y = Softmax<axis=0>(a) }}")
    feeds = {"x": np.array([-8000, -7999, 8000, 30], kind), "m": np.array([0, 0, mask, mask], kind)}
    assert session(model).run(None, feeds)[0][2:].tolist() == [0.0, 0.0]


# -- weights in blocks, and tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "width"), [("INT8", 7), ("INT4", 7), ("UINT4", 15)])
@pytest.mark.parametrize(("axis", "block"), [(0, 32), (1, 16), (0, 48), (1, 0)])
def test_quantized_weights_are_left_to_the_runtime(kind: str, width: int, axis: int, block: int) -> None:
    """It multiplies with the integers themselves, whatever their blocks are."""
    weight = RANDOM.integers(0 if kind == "UINT4" else -width, width, (96, 32))
    scales = {0: (96 // max(block, 1), 32), 1: (96, 32 // block) if block else (32,)}[axis]
    blocked = f", block_size={block}" if block else ""
    model = model_of(
        f"""g (float[B,64] user, float[B,32] item) => (float[B,32] y) {{
            u = Tanh(user) x = Concat<axis=1>(u, item) w = DequantizeLinear<axis={axis}{blocked}>(wq, sc)
            y = MatMul(x, w)
        }}""",
        opset=21,
        wq=helper.make_tensor("wq", getattr(TensorProto, kind), weight.shape, weight.ravel().tolist()),
        sc=(np.abs(RANDOM.normal(size=scales)) / 50 + 0.01).astype(np.float32),
    )
    result = optimize(model, ["user"])
    (dequantized,) = [n for n in result.model.graph.node if n.op_type == "DequantizeLinear"]
    assert list(dequantized.input) == ["wq", "sc"]
    assert [n.op_type for n in result.model.graph.node].count("MatMul") == 1
    (tanh,) = [n for n in result.model.graph.node if n.op_type == "Tanh"]
    assert tanh.input[0] == "user"
    found = explain(model, Options(user_inputs=["user"]))
    assert any("block by block" in one.reason for one in found.refused)


def test_a_quantized_table_of_all_fields() -> None:
    """The rows are integers, and made floats behind the look-up."""
    model = model_of(
        """g (int64[B,4] user, int64[B,1] item) => (float[B,8] y) {
            ids = Concat<axis=1>(user, item) q = Gather<axis=0>(table, ids) e = DequantizeLinear(q, scale, zero)
            f = Flatten(e) y = MatMul(f, w)
        }""",
        table=RANDOM.integers(-100, 100, (50, 16)).astype(np.int8),
        scale=np.array(0.05, np.float32),
        zero=np.array(3, np.int8),
        w=RANDOM.normal(size=(80, 8)).astype(np.float32),
    )
    result = optimize(model, ["user"])
    assert result.report.after.flops < 0.25 * result.report.before.flops


# -- what ONNX Runtime's own tools make of exports ---------------------------------------------------------------------


class _Requests:
    """Requests to find scales on."""

    def __init__(self, meta: Exported) -> None:
        self._left = [catalog.draw(meta, meta.fixed_batch or 8, seed=seed)[1] for seed in range(2)]

    def get_next(self) -> Any:
        return self._left.pop() if self._left else None


def _dynamic(meta: Exported, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(meta.path), str(target), weight_type=QuantType.QInt8)


def _static(form: str, per_channel: bool) -> Callable[[Exported, Path], None]:
    def made(meta: Exported, target: Path) -> None:
        from onnxruntime.quantization import QuantFormat, quantize_static

        quantize_static(
            str(meta.path), str(target), _Requests(meta), quant_format=QuantFormat[form], per_channel=per_channel
        )

    return made


TOOLS: dict[str, Callable[[Exported, Path], None]] = {
    "dynamic": _dynamic,
    "pairs": _static("QDQ", False),
    "pairs by channel": _static("QDQ", True),
    "operators": _static("QOperator", False),
}
EXPORTS = [m for m in MODELS if m.name in ("dcnv2_ts17", "bst_ts17", "deepfm_ts17")]


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("meta", EXPORTS, ids=lambda meta: meta.name)
def test_quantized_exports(meta: Exported, tool: str, saved: bool, tmp_path: Path) -> None:
    path = tmp_path / "quantized.onnx"
    TOOLS[tool](meta, path)
    if saved:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(tmp_path / "saved.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        path = tmp_path / "saved.onnx"
    result = optimize(path, users_of(meta), batches=(1, 7), seeds=1)
    assert result.verification is not None
    assert result.verification.passed
    before, after = (graph_kinds(m.graph) for m in (onnx.load(path), result.model))
    assert {k for k in after if k.startswith("com.microsoft")} <= {k for k in before if k.startswith("com.microsoft")}
    assert result.report.after.flops <= result.report.before.flops


def graph_kinds(graph: onnx.GraphProto) -> set[str]:
    return {f"{node.domain}.{node.op_type}".lstrip(".") for node in graph.node}


def weight(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32) / 4


def read_text() -> onnx.ModelProto:
    """A text of the user in front of an item's numbers, as tools that fuse transformers leave it."""
    return model_of(
        """g (int32[B,6] words, int32[B,6] mask, float[B,8] item) => (float[B,1] y) {
            rows, left = com.microsoft.EmbedLayerNormalization(words, , w, p, , c, c, mask)
            seen = com.microsoft.Attention<num_heads=2>(rows, a, b, left)
            x = com.microsoft.SkipLayerNormalization(rows, seen, c, c)
            first = Gather<axis=1>(x, zero) z = Concat<axis=1>(first, item) y = MatMul(z, h)
        }""",
        w=weight(50, 16),
        p=weight(8, 16),
        c=weight(16),
        a=weight(16, 48),
        b=weight(48),
        h=weight(24, 1),
        zero=np.array(0),
    )


def quantized_history() -> onnx.ModelProto:
    """A history of the user in a quantized LSTM, and an item's numbers."""
    whole = {n: RANDOM.integers(-9, 9, (1, k, 16)).astype(np.int8) for n, k in (("w", 8), ("r", 4))}
    return model_of(
        """g (float[B,6,8] words, float[B,8] item) => (float[B,1] y) {
            steps = Transpose<perm=[1,0,2]>(words)
            every, last, cell = com.microsoft.DynamicQuantizeLSTM<hidden_size=4>(steps, w, r, , , , , , s, o, s, o)
            state = Squeeze(last, zero) z = Concat<axis=1>(state, item) y = MatMul(z, h)
        }""",
        **whole,
        s=np.array([0.02], np.float32),
        o=np.zeros(1, np.int8),
        h=weight(12, 1),
        zero=np.array([0]),
    )


@pytest.mark.parametrize("model", [read_text(), quantized_history()], ids=["text", "history"])
def test_the_user_is_read_once_by_operators_of_such_tools(model: onnx.ModelProto) -> None:
    users = [i.name for i in model.graph.input if i.name != "item"]
    result = optimize(model, users, batches=(1, 7), seeds=2)
    assert result.verification is not None
    assert result.verification.passed
    assert {i.name for i in result.model.graph.input if i.type.tensor_type.shape.dim[0].dim_value == 1} == set(users)
    assert result.report.after.flops < result.report.before.flops / 50


@pytest.mark.parametrize(
    ("tool", "reason"),
    [
        ("dynamic", "its scale depends on all rows"),
        ("pairs", "rounds to integers"),
        ("operators", "multiplies integers"),
    ],
)
def test_barriers_are_named(tool: str, reason: str, tmp_path: Path) -> None:
    meta = next(m for m in EXPORTS if m.name == "dcnv2_ts17")
    TOOLS[tool](meta, tmp_path / "quantized.onnx")
    found = explain(tmp_path / "quantized.onnx", Options(user_inputs=users_of(meta)))
    assert any(reason in left.reason for left in found.leftovers)


def test_halves_in_half_precision_are_added_in_single_precision(tmp_path: Path) -> None:
    """ONNX Runtime computes in 32 bits on a processor, and nothing between the halves asks for a rounding."""
    text = "x = Concat<axis=1>(user, item) y = MatMul(x, w)"
    text = f"g (float16[B,96] user, float16[B,16] item) => (float16[B,8] y) {{ {text} }}"
    model = model_of(text, w=RANDOM.normal(size=(112, 8)).astype(np.float16))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "saved.onnx")
    result = optimize(model, ["user"]).model
    onnxruntime.InferenceSession(result.SerializeToString(), options, providers=["CPUExecutionProvider"])
    saved = onnx.load(tmp_path / "saved.onnx").graph
    makers = {v: n for n in saved.node for v in n.output}
    (item_half,) = [n for n in saved.node if n.op_type == "Gemm"]
    user_half = makers[item_half.input[2]]
    assert user_half.op_type == "MatMul"
    assert makers[user_half.input[0]].op_type == "Cast"
