"""Products in half precision are written so that ONNX Runtime survives them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from mari_onnx.half_products import with_products_before_transposes
from mari_onnx.ir import read_graph, write_model
from mari_onnx.normalise import normalise, without_dead_nodes
from tests.patterns.support import model_of, session


def written(order: list[int], shape: str, result: str, kind: str = "float16", **weights: np.ndarray) -> onnx.ModelProto:
    """A product of moved rows with two matrices, as it is written."""
    perm = ", ".join(map(str, order))
    text = f"""score ({kind}[{shape}] x) => ({kind}[{result}] y, {kind}[{result}] z) {{
        t = Transpose<perm = [{perm}]>(x) y = MatMul(t, w) z = MatMul(t, v)
    }}"""
    model = model_of(text, **weights)
    return write_model(without_dead_nodes(with_products_before_transposes(normalise(read_graph(model)))))


def weights(dtype: type) -> dict[str, np.ndarray]:
    return {"w": np.arange(16).reshape(4, 4).astype(dtype), "v": np.ones((4, 4), dtype)}


def first_operators(model: onnx.ModelProto) -> set[str]:
    """The operators that read the input."""
    return {n.op_type for n in model.graph.node if "x" in n.input}


@pytest.mark.parametrize(
    ("order", "shape", "result"),
    [([1, 0, 2], "B,3,4", "3,B,4"), ([1, 2, 0, 3], "B,3,2,4", "3,2,B,4")],
)
def test_rows_are_multiplied_before_they_are_moved(order: list[int], shape: str, result: str) -> None:
    """A session with the runtime's own optimizations ends the process otherwise, so none is made here."""
    model = written(order, shape, result, **weights(np.float16))
    assert first_operators(model) == {"MatMul"}
    sizes = [5 if size == "B" else int(size) for size in shape.split(",")]
    rows = np.random.default_rng(0).integers(-4, 5, sizes).astype(np.float16)
    for found, matrix in zip(session(model).run(None, {"x": rows}), weights(np.float16).values(), strict=True):
        np.testing.assert_array_equal(found, rows.transpose(order) @ matrix)


@pytest.mark.parametrize(
    ("order", "shape", "result", "dtype"),
    [
        ([1, 0, 2], "B,3,4", "3,B,4", np.float32),
        ([0, 2, 1], "B,4,3", "B,3,4", np.float16),
        ([1, 0, 2, 3], "B,2,3,4", "2,B,3,4", np.float16),
        ([0, 2, 1, 3], "B,2,3,4", "B,3,2,4", np.float16),
        ([1, 0], "4,B", "B,4", np.float16),
    ],
)
def test_others_stay(order: list[int], shape: str, result: str, dtype: type) -> None:
    kind = {np.float16: "float16", np.float32: "float"}[dtype]
    assert first_operators(written(order, shape, result, kind, **weights(dtype))) == {"Transpose"}


def test_a_result_is_loaded() -> None:
    """What the rules leave of a Transpose and a product, with all that the runtime does when it loads a model."""
    model = written([1, 0, 2], "B,3,4", "3,B,4", **weights(np.float16))
    loaded = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert len(loaded.get_outputs()) == 2
