"""Small rankers for the tests of the command line and of files: a user's row, B items, one score each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

HEADER = '<ir_version: 9, opset_import: ["" : 17]>'
WIDTH = 16

BODY = """
ranker (float[B,64] user_x, float[B,4] item_x) => (float[B,1] score) {
  x = Concat<axis=1>(user_x, item_x)
  h = Gemm(x, w, b)
  r = Relu(h)
  score = MatMul(r, v)
}
"""


def weights(**shapes: tuple[int, ...]) -> list[TensorProto]:
    rng = np.random.default_rng(0)
    return [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]


def text(body: str, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    """A model in ONNX text with random weights of these shapes."""
    model = parser.parse_model(f"{HEADER} {body}")
    model.graph.initializer.extend(weights(**shapes))
    return model


def ranker() -> onnx.ModelProto:
    """[user, item] W + b, an activation, a score."""
    return text(BODY, w=(68, 32), b=(32,), v=(32, 1))


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def external(name: str, dims: tuple[int, ...], offset: int, location: str, length: int | None = None) -> TensorProto:
    size = 4 * int(np.prod(dims)) if length is None else length
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def with_tables(folder: Path, rows: int = 2048, location: str = "tables.bin", name: str = "model.onnx") -> Path:
    """A ranker whose two tables of embeddings lie in a file of their own, which is all holes.

    Returns:
        The model's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / location
    data.parent.mkdir(parents=True, exist_ok=True)
    half = rows // 2
    with data.open("wb") as file:
        file.truncate(2 * half * WIDTH * 4)
        file.seek(0)
        file.write(np.arange(3 * WIDTH, dtype=np.float32).tobytes())
    nodes = [
        helper.make_node("Gather", ["user_table", "user_id"], ["u"], name="user_rows"),
        helper.make_node("Gather", ["item_table", "item_id"], ["i"], name="item_rows"),
        helper.make_node("Concat", ["u", "i"], ["x"], name="concat", axis=1),
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="fc"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "v"], ["score"], name="out"),
    ]
    graph = helper.make_graph(
        nodes,
        "ranker",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["B"]) for n in ("user_id", "item_id")],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B", 1])],
        [
            external("user_table", (half, WIDTH), 0, location),
            external("item_table", (half, WIDTH), half * WIDTH * 4, location),
            *weights(w=(2 * WIDTH, 64), b=(64,), v=(64, 1)),
        ],
    )
    return save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / name)
