"""DLRM by hand: pairs of user vectors end in a bias, pairs with an item are one product with the user's vectors."""

from __future__ import annotations

import onnx

from models.catalog import Exported
from models.references._graph import Graph, ints, single


def build(meta: Exported) -> onnx.ModelProto:
    """The graph, with the weights of an export."""
    g = Graph(meta)
    width, last = g.weights["tables.user_id.weight"].shape[1], 4 + g.widths["user_interests"]
    numbers = _numbers(g)
    items = {0: numbers, 2: g.lookup("tables.item_id", "item_id"), last: g.lookup("tables.item_cate", "item_cate")}
    users = [row for row in range(last) if row not in items]
    (weight, bias), *hidden, out = g.layers("top")

    def rows(pairs: list[tuple[int, int]]) -> list[int]:
        """Where the first top layer reads pairs: after the numbers, the lower triangle row by row."""
        return [width + max(p) * (max(p) - 1) // 2 + min(p) for p in pairs]

    user = _user(g)
    across = g.add("Transpose", user, perm=[1, 0])
    once = [(r, c) for r in range(len(users)) for c in range(r)]
    chosen = ints(*(r * len(users) + c for r, c in once))
    gram = g.add("Reshape", g.add("MatMul", user, across), ints(1, -1))
    base = g.add(
        "Gemm", g.add("Gather", gram, chosen, axis=1), weight[rows([(users[r], users[c]) for r, c in once])], bias
    )

    stacked = g.add("Reshape", g.add("Concat", *items.values(), axis=1), ints(-1, width))
    mixed = g.add("Reshape", g.add("MatMul", stacked, across), ints(-1, 3 * len(users)))
    own = [(2, 0), (last, 0), (last, 2)]
    inner = [g.add("ReduceSum", g.add("Mul", items[a], items[b]), ints(1), keepdims=1) for a, b in own]
    order = [*range(width), *rows([(i, u) for i in items for u in users]), *rows(own)]
    x = g.add("Relu", g.add("Gemm", g.add("Concat", numbers, mixed, *inner, axis=1), weight[order], base))
    score = g.add("Sigmoid", g.add("Gemm", g.rectified(x, hidden), *out))
    return g.finish(g.add("Squeeze", score, ints(1)))


def _numbers(g: Graph) -> str:
    """The bottom perceptron."""
    wide = g.widths["user_stats"]
    first, *others = g.layers("bottom")
    item = range(wide, wide + g.widths["item_stats"])
    return g.rectified(g.add("Relu", g.halves(first, ("user_stats", range(wide)), ("item_stats", item))), others)


def _user(g: Graph) -> str:
    """The user's vectors, one a row."""
    present = g.add("Cast", g.add("Cast", "user_tags", to=onnx.TensorProto.BOOL), to=onnx.TensorProto.FLOAT)
    vectors = g.add("Squeeze", g.lookup("tables.user_tags", "user_tags"), ints(0))
    number = g.add("Max", g.add("ReduceSum", present, ints(1), keepdims=1), single(1))
    tags = g.add("Div", g.add("MatMul", present, vectors), number)
    interests = g.add("Squeeze", g.lookup("tables.user_interests", "user_interests"), ints(0))
    return g.add("Concat", g.lookup("tables.user_id", "user_id"), tags, interests, axis=0)
