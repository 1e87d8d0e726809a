"""DCN V2 by hand. A cross layer multiplies by x0 each time, so x_k = x0 s_k with s_k = 1 + sum of U_j h_j + b_j.

The user's columns of s after the last layer are read by the head alone, which is one number per item: they are never
made, since head_u . (x0_u (U h + b)) = h . (U_u diag(x0_u) head_u) + a number of the user's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, takewhile

import numpy as np
import onnx

from models.catalog import Exported
from models.references._graph import Graph, Layer, columns, ints, single


@dataclass(frozen=True)
class _Net:
    """Both sides with their columns in the export's Concat, and what the layers weigh them with."""

    user: tuple[str, list[int]]
    item: tuple[str, list[int]]
    down: list[np.ndarray]
    up: list[Layer]
    head: Layer


def build(meta: Exported) -> onnx.ModelProto:
    """User columns as wide as they are in all layers but the last: best for few candidates."""
    g = Graph(meta)
    net = _net(g)
    user, users = net.user
    inner = [_first(g, net)]
    wide = ""
    growth = ""
    items = ""
    for layer, (weight, bias) in enumerate(net.up):
        items, growth = _items(g, net, layer, growth, inner[-1])
        if layer + 1 == len(net.up):
            break
        before = g.add("Add", wide, bias[users]) if wide else bias[users] + 1
        wide = g.add("Gemm", inner[-1], weight[:, users], before)
        once = g.add("MatMul", g.add("Mul", user, wide), net.down[layer + 1][users])
        inner.append(g.add("Gemm", items, net.down[layer + 1][net.item[1]], once))
    weighed = g.add("Mul", user, net.head[0][users].T)
    weight, bias = net.up[-1]
    last = g.add("MatMul", weighed, weight[:, users].T)
    before = g.add("Add", wide, bias[users]) if wide else bias[users] + 1
    rest = g.add("MatMul", before, g.add("Reshape", weighed, ints(-1, 1)))
    return _score(g, net, items, inner[-1:], last, rest)


def build_behind_the_rank(meta: Exported) -> onnx.ModelProto:
    """User columns never made: U_u diag(x0_u) V_u is a small matrix for two layers; best for many candidates."""
    g = Graph(meta)
    net = _net(g)
    user, users = net.user
    inner = [_first(g, net)]
    growth = ""
    items = ""
    for layer in range(len(net.up)):
        items, growth = _items(g, net, layer, growth, inner[-1])
        ups = np.concatenate([weight[:, users] for weight, _ in net.up[: layer + 1]])
        rest = sum((bias[users] for _, bias in net.up[: layer + 1]), single(1))
        if layer + 1 == len(net.up):
            break
        weighed = g.add("Mul", net.down[layer + 1][users].T, user)
        between = g.add("Gemm", ups, weighed, transB=1)
        base = g.add("Gemm", rest[None], weighed, transB=1)
        so_far = g.add("Concat", *inner, axis=1) if layer else inner[0]
        inner.append(g.add("Gemm", items, net.down[layer + 1][net.item[1]], g.add("Gemm", so_far, between, base)))
    weighed = g.add("Mul", user, net.head[0][users].T)
    last, number = g.add("MatMul", weighed, ups.T), g.add("MatMul", weighed, rest[:, None])
    return _score(g, net, items, inner, last, number)


def _net(g: Graph) -> _Net:
    user_id, device, item_id, brand = (
        g.lookup(f"tables.{name}", name) for name in ("user_id", "ctx_device", "item_id", "item_brand")
    )
    table = g.weights["tables.user_id.weight"].shape[1]
    widths = [table, g.widths["user_stats"], table, table, g.widths["item_stats"], table]
    layers = [f"crosses.{n}" for n in takewhile(lambda n: f"crosses.{n}.up.bias" in g.weights, count())]
    return _Net(
        user=(g.add("Concat", "user_stats", user_id, device, axis=1), columns(widths, 1, 3, 5)),
        item=(g.add("Concat", item_id, brand, "item_stats", axis=1), columns(widths, 0, 2, 4)),
        down=[g.weights[f"{layer}.down.weight"].T for layer in layers],
        up=[g.layer(f"{layer}.up") for layer in layers],
        head=g.layer("head"),
    )


def _first(g: Graph, net: _Net) -> str:
    """V_0 x0."""
    once = g.add("MatMul", net.user[0], net.down[0][net.user[1]])
    return g.add("Gemm", net.item[0], net.down[0][net.item[1]], once)


def _items(g: Graph, net: _Net, layer: int, growth: str, inner: str) -> tuple[str, str]:
    """The item's columns of x and of s after a layer."""
    weight, bias = net.up[layer]
    item, items = net.item
    before = g.add("Add", growth, bias[items]) if growth else bias[items] + 1
    grown = g.add("Gemm", inner, weight[:, items], before)
    return g.add("Mul", item, grown), grown


def _score(g: Graph, net: _Net, items: str, inner: list[str], weights: str, rest: str) -> onnx.ModelProto:
    """The head over the item's columns, the deep half and the inner vectors; their weights are the user's."""
    weight, bias = net.head
    first, *others = g.layers("deep")
    deep = g.rectified(g.add("Relu", g.halves(first, net.user, net.item)), others)
    own = len(net.user[1]) + len(net.item[1])
    rows = g.add("Concat", weight[net.item[1]], weight[own:], g.add("Reshape", weights, ints(-1, 1)), axis=0)
    x = g.add("Concat", items, deep, *inner, axis=1)
    score = g.add("Sigmoid", g.add("Gemm", x, rows, g.add("Add", rest, bias)))
    return g.finish(g.add("Squeeze", score, ints(1)))
