"""DIN by hand: the attention's first layer is one product of the history with a matrix for each item.

[q, k, q - k, q k] W + b = [k, 1] [W_2 - W_3 + diag(q) W_4; q (W_1 + W_3) + b], and what an item multiplies is then as
long as the vectors, not as the history.
"""

from __future__ import annotations

import numpy as np
import onnx

from models.catalog import Exported
from models.references._graph import Graph, ints, single


def build(meta: Exported) -> onnx.ModelProto:
    """The graph, with the weights of an export."""
    g = Graph(meta)
    return _build(g, _history(g), _present(g))


def build_without_padding(meta: Exported) -> onnx.ModelProto:
    """The history cut to the steps there are: a step with a score of -1e9 has no weight.

    Where there are none all steps weigh the same, so all are kept.
    """
    g = Graph(meta)
    steps = g.add("Where", g.add("Cast", "user_hist_len", to=onnx.TensorProto.BOOL), "user_hist_len", ints(_steps(g)))
    cut = [g.add("Slice", whole, ints(0), steps, ints(0)) for whole in (_history(g), _present(g))]
    return _build(g, *cut)


def _build(g: Graph, history: str, present: str) -> onnx.ModelProto:
    """The graph over a history [T, d] and whether its steps are there [T]."""
    query = g.add("Concat", g.lookup("items", "item_id"), g.lookup("cates", "item_cate"), axis=1)
    scores = g.add("Where", present, _scores(g, query, history), single(-1e9))
    interest = g.add("MatMul", g.add("Softmax", scores, axis=-1), history)
    first, *hidden, out = g.layers("head")
    width = g.weights["users.weight"].shape[1]
    middle = range(width, 5 * width)
    user = g.add("Concat", g.lookup("users", "user_id"), g.lookup("hours", "ctx_hour"), axis=1)
    item = g.add("Concat", interest, query, axis=1)
    ends = [*range(width), *range(5 * width, 6 * width)]
    x = g.add("Relu", g.halves(first, (user, ends), (item, middle)))
    score = g.add("Sigmoid", g.add("Gemm", g.rectified(x, hidden), *out))
    return g.finish(g.add("Squeeze", score, ints(1)))


def _scores(g: Graph, query: str, history: str) -> str:
    """What each item says to each step, [B, T]."""
    weights = [g.weights[n.input[1]] for n in g.export.node if n.op_type == "MatMul" and n.input[1] in g.weights]
    biases = [g.weights[f"attention.score.{2 * k}.bias"] for k in range(len(weights))]
    of_query, of_key, of_difference, of_product = np.split(weights[0], 4)
    tall = g.add("Unsqueeze", query, ints(2))
    matrix = g.add("Add", g.add("Mul", tall, of_product), of_key - of_difference)
    row = g.add("Unsqueeze", g.add("Gemm", query, of_query + of_difference, biases[0]), ints(1))
    steps = g.add("Shape", history, start=0, end=1)
    ones = g.add("Expand", np.ones((1, 1), np.float32), g.add("Concat", steps, ints(1), axis=0))
    x = g.add("MatMul", g.add("Concat", history, ones, axis=1), g.add("Concat", matrix, row, axis=1))
    slope = next(g.weights[n.input[1]].item() for n in g.export.node if n.op_type == "PRelu")
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        x = g.add("Add", g.add("MatMul", g.add("LeakyRelu", x, alpha=slope), weight), bias)
    return g.add("Squeeze", x, ints(2))


def _history(g: Graph) -> str:
    """The vectors of the user's history, [T, d]."""
    names = {"items": "user_hist_item", "cates": "user_hist_cate"}
    looked = [g.lookup(table, ids) for table, ids in names.items()]
    return g.add("Squeeze", g.add("Concat", *looked, axis=2), ints(0))


def _present(g: Graph) -> str:
    """Which steps there are, [T]."""
    return g.add("Less", np.arange(_steps(g), dtype=np.int64), "user_hist_len")


def _steps(g: Graph) -> int:
    return g.widths["user_hist_item"]
