"""Operators of ONNX Runtime's own are written out, and the result is what the runtime makes of the fused ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mari_onnx import analyze, optimize
from mari_onnx.analysis import Side
from mari_onnx.ir import read_graph, write_model
from mari_onnx.report import summarise
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.unfused import unfuse
from models.catalog import Exported
from tests.committed import MODELS, result_of, users_of
from tests.patterns.support import session

CONTRIB = "com.microsoft"
FLOAT = TensorProto.FLOAT


def single(
    op: str, shapes: list[tuple[int, ...]], outputs: int = 1, opset: int = 17, dtype: int = FLOAT, **attrs: object
):
    """A model of one fused operator, and feeds for it."""
    names = [f"x{k}" if shape else "" for k, shape in enumerate(shapes)]
    made = [f"y{k}" if k in (0, outputs - 1) else "" for k in range(outputs)]
    node = helper.make_node(op, names, made, name="fused", domain=CONTRIB, **attrs)
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    random = np.random.default_rng(0)
    feeds = {n: random.normal(size=s).astype(kind) for n, s in zip(names, shapes, strict=True) if n}
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(n, dtype, a.shape) for n, a in feeds.items()],
        [onnx.ValueInfoProto(name=v) for v in made if v],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9), feeds


def assert_written_out(model: onnx.ModelProto, feeds: dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
    result = write_model(unfuse(read_graph(model)))
    assert all(not node.domain for node in result.graph.node)
    before, after = (session(m).run(None, feeds) for m in (model, result))
    for left, right in zip(before, after, strict=True):
        np.testing.assert_allclose(right, left, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Sigmoid", "LeakyRelu"])
@pytest.mark.parametrize("attrs", [{}, {"transB": 1, "alpha": 0.5}, {"transA": 1, "beta": 2.0}])
def test_fused_gemm(activation: str, attrs: dict[str, float]) -> None:
    left = (4, 3) if attrs.get("transA") else (3, 4)
    right = (5, 4) if attrs.get("transB") else (4, 5)
    more = {"activation_alpha": 0.3} if activation == "LeakyRelu" else {}
    assert_written_out(*single("FusedGemm", [left, right, (5,)], activation=activation, **attrs, **more))


def standard(op: str, shapes: list[tuple[int, ...]], opset: int, **attrs: object):
    """A model of one operator that ONNX Runtime has in the standard domain, and feeds for it."""
    model, feeds = single(op, shapes, opset=opset, **attrs)
    model.graph.node[0].domain = ""
    return model, feeds


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_the_mean_of_the_last_of_three_axes(opset: int) -> None:
    model, feeds = standard("GlobalAveragePool", [(2, 3, 8)], opset)
    assert_written_out(model, feeds)
    assert [n.op for n in unfuse(read_graph(model)).nodes] == ["ReduceMean"]
    picture, _ = standard("GlobalAveragePool", [(2, 3, 8, 8)], opset)
    assert [n.op for n in unfuse(read_graph(picture)).nodes] == ["GlobalAveragePool"]


@pytest.mark.parametrize("opset", [13, 16, 17])
@pytest.mark.parametrize("shapes", [[(2, 3, 8), (8,), (8,)], [(2, 3, 8), (8,)]])
def test_layer_norm_before_it_was_standard(shapes: list[tuple[int, ...]], opset: int) -> None:
    model, feeds = standard("LayerNormalization", shapes, opset, axis=-1, epsilon=1e-3)
    assert_written_out(model, feeds)
    assert ([n.op for n in unfuse(read_graph(model)).nodes] == ["LayerNormalization"]) == (opset == 17)


@pytest.mark.parametrize("op", ["LayerNormalization", "SimplifiedLayerNormalization"])
@pytest.mark.parametrize("opset", [13, 17])
def test_what_the_runtime_saved_is_optimized(op: str, opset: int) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[B,4] user, float[B,2] item) => (float[B,3] y) <float[6] scale, float[6,3] w> {{
            x = Concat<axis = 1>(user, item) n = {op}<axis = -1>(x, scale) y = MatMul(n, w) }}"""
    model = onnx.parser.parse_model(text)
    for name, shape in (("scale", (6,)), ("w", (6, 3))):
        array = np.random.default_rng(0).random(shape, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    result = optimize(model, ["user"])
    assert result.verification is not None
    assert result.verification.passed


@pytest.mark.parametrize("swap", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("rank", [2, 3, 4])
def test_fused_matmul(swap: tuple[int, int], rank: int) -> None:
    batch = (2, 6)[: rank - 2]
    left, right = (3, 4), (4, 5)
    shapes = [(*batch, *(s[::-1] if turn else s)) for s, turn in zip((left, right), swap, strict=True)]
    assert_written_out(*single("FusedMatMul", shapes, transA=swap[0], transB=swap[1], alpha=0.25))


@pytest.mark.parametrize(
    ("attrs", "left", "right"),
    [
        ({"transBatchA": 1}, (3, 2, 6, 4), (2, 6, 4, 5)),
        ({"transBatchB": 1}, (2, 6, 3, 4), (4, 2, 6, 5)),
        ({"transBatchA": 1, "transBatchB": 1}, (3, 2, 6, 4), (4, 2, 6, 5)),
        ({"transBatchA": 1, "transA": 1}, (4, 2, 6, 3), (2, 6, 4, 5)),
        ({"transBatchB": 1, "transB": 1}, (2, 6, 3, 4), (5, 2, 6, 4)),
    ],
)
def test_fused_matmul_whose_batch_lies_behind(
    attrs: dict[str, int], left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    assert_written_out(*single("FusedMatMul", [left, right], **attrs))


@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        ("Gelu", [(2, 8)]),
        ("BiasGelu", [(2, 8), (8,)]),
        ("QuickGelu", [(2, 8)]),
    ],
)
def test_activations(op: str, shapes: list[tuple[int, ...]], opset: int) -> None:
    assert_written_out(*single(op, shapes, opset=opset))


@pytest.mark.parametrize("shapes", [[(2, 8), (8,)], [(2, 8)]])
def test_fast_gelu(shapes: list[tuple[int, ...]]) -> None:
    assert_written_out(*single("FastGelu", shapes, opset=20), tolerance=1e-4)
    model, _ = single("FastGelu", shapes, opset=17)
    assert [n.op for n in unfuse(read_graph(model)).nodes] == ["FastGelu"]


LAYER = [(2, 3, 8), (2, 3, 8), (8,), (8,), (8,)]


@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize(
    ("op", "shapes", "attrs", "fused"),
    [
        ("BiasGelu", [(2, 8), (8,)], {}, "BiasGelu"),
        ("QuickGelu", [(2, 8)], {}, "QuickGelu"),
        ("SkipLayerNormalization", LAYER, {"epsilon": 1e-5}, "SkipLayerNormalization"),
        ("SkipLayerNormalization", LAYER[:4], {"epsilon": 1e-5}, "SkipLayerNormalization"),
        ("SkipSimplifiedLayerNormalization", LAYER[:3], {"epsilon": 1e-5}, "SimplifiedLayerNormalization"),
        ("FusedGemm", [(3, 4), (4, 5), (5,)], {"activation": "Relu"}, "FusedGemm"),
        ("FusedMatMul", [(3, 4), (5, 4)], {"alpha": 0.3, "transB": 1}, "FusedMatMul"),
        ("FusedConv", [(2, 3, 9), (4, 3, 3)], {"activation": "Relu", "kernel_shape": [3]}, "FusedConv"),
    ],
)
def test_the_runtime_fuses_it_again(
    op: str, shapes: list[tuple[int, ...]], attrs: dict[str, Any], fused: str, opset: int, tmp_path: Path
) -> None:
    model, feeds = single(op, shapes, opset=opset, **attrs)
    for name in [n for n, array in feeds.items() if array.ndim == 1]:
        model.graph.initializer.append(onnx.numpy_helper.from_array(feeds[name], name))
        model.graph.input.remove(next(i for i in model.graph.input if i.name == name))
    onnx.save(write_model(unfuse(read_graph(model))), tmp_path / "written.onnx")
    saved = saved_by_the_runtime(tmp_path / "written.onnx", tmp_path / "saved.onnx", "ORT_ENABLE_ALL")
    assert fused in {n.op_type for n in saved.graph.node}


def saved_by_the_runtime(path: Path, target: Path, level: str) -> onnx.ModelProto:
    """The graph as ONNX Runtime would run it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(target)


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("shapes", [[(8,)], [(8,), (8,)], [(8,), (8,), (8,)], [(8,), (), (8,)]])
def test_skip_layer_normalization(shapes: list[tuple[int, ...]], outputs: int, opset: int) -> None:
    model, feeds = single("SkipLayerNormalization", [(2, 3, 8), (2, 3, 8), *shapes], outputs, opset, epsilon=1e-5)
    assert_written_out(model, feeds)


@pytest.mark.parametrize("outputs", [1, 4])
def test_skip_simplified_layer_normalization(outputs: int) -> None:
    shapes = [(2, 3, 8), (2, 3, 8), (8,), (8,)]
    assert_written_out(*single("SkipSimplifiedLayerNormalization", shapes, outputs, epsilon=1e-5))


@pytest.mark.parametrize("op", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
def test_squares_in_half_precision_may_be_too_large_for_it(op: str) -> None:
    """ONNX Runtime sums them as floats; on a GPU it computes those of a model as the model says."""
    model, feeds = single(op, [(2, 3, 8), (2, 3, 8), (8,)], opset=13, dtype=TensorProto.FLOAT16, epsilon=1e-5)
    assert_written_out(model, {**feeds, "x0": feeds["x0"] * 1000}, 2e-3)
    result = write_model(unfuse(read_graph(model)))
    types = {v.name: v.type.tensor_type.elem_type for v in onnx.shape_inference.infer_shapes(result).graph.value_info}
    assert {types[v] for n in result.graph.node if n.op_type in ("Pow", "ReduceMean") for v in n.output} == {FLOAT}


@pytest.mark.parametrize("added", [False, True])
def test_fused_conv(added: bool) -> None:
    shapes = [(2, 3, 9), (4, 3, 3), (4,), *([(2, 4, 9)] if added else [])]
    assert_written_out(*single("FusedConv", shapes, activation="Relu", kernel_shape=[3], pads=[1, 1]))


def test_what_a_loop_makes_has_the_axes_that_its_body_declares() -> None:
    """ONNX Runtime saves no types of values: behind a recurrence that is a Loop, a product turned over was kept."""
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[B,1,4] q, float[B,4] h, int64 n, bool go) => (float[B,1,S] y) {
            last, all = Loop(n, go, h) <body = b (int64 k, bool c, float[N,4] s) =>
                (bool d, float[N,4] t, float[N,4] o) { d = Identity(c) t = Tanh(s) o = Identity(t) }>
            steps = Transpose<perm = [1, 0, 2]>(all)
            y = com.microsoft.FusedMatMul<transB = 1>(q, steps)
        }""")
    graph = unfuse(read_graph(model))
    assert all(not node.domain for node in graph.nodes)
    random = np.random.default_rng(0)
    feeds = {"q": random.normal(size=(3, 1, 4)).astype(np.float32), "h": random.normal(size=(3, 4)).astype(np.float32)}
    assert_written_out(model, feeds | {"n": np.array(5), "go": np.array(True)})


def test_what_is_not_known_stays() -> None:
    model, _ = single("FusedGemm", [(3, 4), (4, 5), (5,)], activation="Relu")
    model.graph.node[0].attribute[0].s = b"Celu"
    assert [n.op for n in unfuse(read_graph(model)).nodes] == ["FusedGemm"]
    model, _ = single("SkipLayerNormalization", [(2, 3, 8), (2, 3, 8), (8,)])
    model.graph.node[0].output.extend(["mean"])
    assert [n.op for n in unfuse(read_graph(model)).nodes] == ["SkipLayerNormalization"]


SAVED = [m for m in MODELS if m.name.endswith("ts17")]


@pytest.mark.parametrize("meta", SAVED, ids=lambda meta: meta.name)
def test_a_graph_that_the_runtime_saved_is_optimized_like_the_export(meta: Exported, tmp_path: Path) -> None:
    saved = saved_by_the_runtime(meta.path, tmp_path / "saved.onnx", "ORT_ENABLE_EXTENDED")
    export = summarise(result_of(meta.path), CostModel())
    result = optimize(saved, users_of(meta), batches=(5,) if meta.fixed_batch is None else (meta.fixed_batch,), seeds=1)
    assert result.verification is not None
    assert result.verification.passed
    assert not any(node.domain == CONTRIB for node in result.model.graph.node)
    assert result.report.after.flops <= 1.1 * export.after.flops


# -- operators that stay what they are ---------------------------------------------------------------------------------


def ranker(body: str, weights: dict[str, np.ndarray], tokens: int = 6) -> onnx.ModelProto:
    """The user's tokens, the item's row, and fused operators."""
    text = f"""<ir_version: 10, opset_import: ["" : 17, "{CONTRIB}" : 1]>
    g (float[B,{tokens},8] user, int32[B,{tokens}] user_mask, float[B,1,8] item) => (float[B,1,8] y) {{ {body} }}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in weights.items())
    return model


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def test_attention_among_the_users_tokens_runs_once() -> None:
    body = f"""
        h = {CONTRIB}.MultiHeadAttention<num_heads=2>(user, user, user, bias, user_mask)
        s = {CONTRIB}.Attention<num_heads=2>(h, w, bias, user_mask)
        m = ReduceMean<axes=[1], keepdims=1>(s)
        y = Mul(m, item)
    """
    model = ranker(body, {"bias": numbers(24), "w": numbers(8, 24)})
    assert analyze(model, ["user*"]).facts["m"].side is Side.USER
    result = optimize(model, ["user*"])
    fused = [n for n in result.model.graph.node if n.domain]
    assert [n.op_type for n in fused] == ["MultiHeadAttention", "Attention"]
    assert list(fused[0].input) == ["user", "user", "user", "bias", "user_mask"]
    assert result.report.after.flops < result.report.before.flops / 100


def test_integer_products_of_the_user_run_once() -> None:
    body = f"""
        h = {CONTRIB}.DynamicQuantizeMatMul(user, wq, sw, zw)
        m = ReduceMean<axes=[1], keepdims=1>(h)
        y = Mul(m, item)
    """
    weight = np.random.default_rng(0).integers(0, 255, (8, 8)).astype(np.uint8)
    model = ranker(body, {"wq": weight, "sw": np.array(0.01, np.float32), "zw": np.array(128, np.uint8)})
    result = optimize(model, ["user*"])
    (fused,) = [n for n in result.model.graph.node if n.domain]
    assert fused.input[0] == "user"
    assert result.report.after.flops < result.report.before.flops / 100


def learned(text: str, **feeds: np.ndarray) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    header = '<ir_version: 9, opset_import: ["" : 17, "ai.onnx.ml" : 3]>'
    return onnx.parser.parse_model(f"{header} {text}"), feeds


def test_columns_that_a_pipeline_chooses() -> None:
    text = """g (float[B,4] x) => (float[B,3] y) <int64[1,3] chosen = {2, 0, 2}> {
        y = ai.onnx.ml.ArrayFeatureExtractor(x, chosen)
    }"""
    assert_written_out(*learned(text, x=np.arange(8, dtype=np.float32).reshape(2, 4)))


def test_columns_that_a_pipeline_joins() -> None:
    text = """g (int64[B,2] x, int64[B,1] n) => (float[B,3] y) {
        y = ai.onnx.ml.FeatureVectorizer<inputdimensions = [2, 1]>(x, n)
    }"""
    assert_written_out(*learned(text, x=np.arange(6).reshape(3, 2), n=np.array([[3], [4], [5]])))


@pytest.mark.parametrize(
    "text",
    [
        "g (float[4] x) => (float[1,2] y) <int64[2] c = {2, 0}> { y = ai.onnx.ml.ArrayFeatureExtractor(x, c) }",
        "g (float[B,4] x, int64[2] c) => (float[B,2] y) { y = ai.onnx.ml.ArrayFeatureExtractor(x, c) }",
        """g (float[B,2] x, float[B,1] n) => (float[B,2] y) {
            y = ai.onnx.ml.FeatureVectorizer<inputdimensions = [1, 1]>(x, n)
        }""",
    ],
)
def test_what_is_not_a_plain_choice_of_columns_stays(text: str) -> None:
    model, _ = learned(text)
    assert [n.domain for n in unfuse(read_graph(model)).nodes] == ["ai.onnx.ml"]


def test_a_pipeline_on_columns_of_both_sides() -> None:
    model, _ = learned(
        """g (float[B,5] x) => (float[B,1] y)
            <int64[3] numbers = {0, 3, 4}, int64[2] codes = {1, 2}, float[5,1] w = {1, 2, 3, 4, 5}> {
            a = ai.onnx.ml.ArrayFeatureExtractor(x, numbers)
            s = ai.onnx.ml.Scaler<offset = [1.0, 2.0, 3.0], scale = [2.0, 2.0, 0.5]>(a)
            c = ai.onnx.ml.ArrayFeatureExtractor(x, codes)
            f = ai.onnx.ml.FeatureVectorizer<inputdimensions = [3, 2]>(s, c)
            y = MatMul(f, w)
        }"""
    )
    result = optimize(model, user_inputs=["x[:, 0,1,3]"])
    assert result.verification is not None
    assert result.verification.passed
    assert "ArrayFeatureExtractor" not in [n.op_type for n in result.model.graph.node]
