"""MMoE by hand: LayerNorm in two halves, the experts and the gates one product each, the mixtures another.

With m_u the mean of the user's own columns, y = x_i - m_u, m = sum(y) / n and r = 1 / sqrt(var + eps), the normalised
columns are r (y - m) for an item and r (x_u - m_u) - r m for the user, so that
LN(x) W = [r (y - m), r, r m] [W_i; (x_u - m_u) W_u; -1 W_u] once gamma is in W and beta in the bias.
"""

from __future__ import annotations

import numpy as np
import onnx

from models.catalog import Exported
from models.references._graph import Graph, columns, ints, single

TASKS = 2


def build(meta: Exported) -> onnx.ModelProto:
    """The graph, with the weights of an export."""
    g = Graph(meta)
    stacked = g.weights["experts"]
    experts, width, hidden = stacked.shape
    user, item = _sides(g)
    apart, normalised = _normalised(g, user[0], item[0], len(user[1]), width)

    def product(weight: np.ndarray, bias: np.ndarray) -> str:
        """A linear layer of the normalised columns."""
        scaled = weight * g.weights["norm.weight"][:, None]
        once = g.add("MatMul", apart, scaled[user[1]])
        rows = g.add("Concat", scaled[item[1]], once, -scaled[user[1]].sum(0, keepdims=True), axis=0)
        return g.add("Gemm", normalised, rows, g.weights["norm.bias"] @ weight + bias)

    gates = [g.layer(f"gates.{task}") for task in range(TASKS)]
    logits = product(np.concatenate([w for w, _ in gates], 1), np.concatenate([b for _, b in gates]))
    shares = g.add("Softmax", g.add("Reshape", logits, ints(-1, TASKS, experts)), axis=-1)
    flat = stacked.transpose(1, 0, 2).reshape(width, experts * hidden)
    opinions = g.add("Relu", product(flat, g.weights["bias"].reshape(-1)))
    mixed = g.add("MatMul", shares, g.add("Reshape", opinions, ints(-1, experts, hidden)))

    results = []
    for task, part in enumerate(g.split("Split", mixed, ints(*[1] * TASKS), outputs=TASKS, axis=1)):
        *layers, out = g.layers(f"towers.{task}")
        results.append(g.add("Sigmoid", g.add("Gemm", g.rectified(g.add("Squeeze", part, ints(1)), layers), *out)))
    return g.finish(*results)


def _sides(g: Graph) -> tuple[tuple[str, list[int]], tuple[str, list[int]]]:
    """What a user and an item bring, and which columns of the export's Concat these are."""
    user_id, user_city, device, item_id, item_cate = (
        g.lookup(f"tables.{name}", name) for name in ("user_id", "user_city", "ctx_device", "item_id", "item_cate")
    )
    table = g.weights["tables.user_id.weight"].shape[1]
    widths = [g.widths["user_stats"], *[table] * 5, g.widths["item_stats"]]
    user = g.add("Concat", "user_stats", user_id, user_city, device, axis=1)
    item = g.add("Concat", item_id, item_cate, "item_stats", axis=1)
    return (user, columns(widths, 0, 1, 4, 5)), (item, columns(widths, 2, 3, 6))


def _normalised(g: Graph, user: str, item: str, users: int, width: int) -> tuple[str, str]:
    """The user's columns about their own mean, and [r (y - m), r, r m]."""
    own = g.add("ReduceMean", user, ints(1), keepdims=1)
    apart = g.add("Sub", user, own)
    shifted = g.add("Sub", item, own)
    mean = g.add("Mul", g.add("ReduceSum", shifted, ints(1), keepdims=1), single(1 / width))
    centred = g.add("Sub", shifted, mean)
    squares = g.add(
        "Sum",
        g.add("ReduceSumSquare", centred, ints(1), keepdims=1),
        g.add("ReduceSumSquare", apart, ints(1), keepdims=1),
        g.add("Mul", g.add("Mul", mean, mean), single(users)),
    )
    norm = next(node for node in g.export.node if node.op_type == "LayerNormalization")
    epsilon = next(a.f for a in norm.attribute if a.name == "epsilon")
    root = g.add("Sqrt", g.add("Add", g.add("Mul", squares, single(1 / width)), single(epsilon)))
    scale = g.add("Reciprocal", root)
    return apart, g.add("Concat", g.add("Mul", centred, scale), scale, g.add("Mul", scale, mean), axis=1)
