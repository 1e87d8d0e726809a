"""Building blocks of random models that are what rankers are made of: tokens, attention, pairs, experts, mixing."""

from __future__ import annotations

import math

import numpy as np

from tests.soundness.blocks import Block
from tests.soundness.generate import ONE, B, Builder, Size, Value
from tests.soundness.parts import row_of

WIDTH = 4
"""Of every token."""
HEADS = 2


def named(name: str, *shape: Size, bound: float = 50.0) -> Value:
    return Value(name, shape, exact=False, bound=bound)


def _linear(b: Builder, value: Value, width: int) -> str:
    return b.raw("MatMul", [value.name, b.weight([value.shape[-1], width]).name])[0]


def _tokens_of(b: Builder, user: bool, count: int) -> str | None:
    row = row_of(b, user)
    if row is None:
        return None
    flat = b.raw("Tanh", [_linear(b, row, count * WIDTH)])[0]
    return b.raw("Reshape", [flat, b.integers(0, count, WIDTH)])[0]


def _join(b: Builder) -> Value | None:
    """Tokens of both sides, scattered."""
    sides = [[True, False], [True, True, False], [False, True], [True, False, True], [False, True, False]]
    counts = [(user, 1 + b.below(3)) for user in b.pick(sides)]
    made = [_tokens_of(b, user, count) for user, count in counts]
    if None in made:
        return None
    name = b.raw("Concat", [m for m in made if m], axis=1)[0]
    return named(name, B, Size(sum(c for _, c in counts)), Size(WIDTH))


def some_tokens(b: Builder) -> Value | None:
    def fits(v: Value) -> bool:
        return v.kind == "float" and v.rank == 3 and v.shape[0] == B and v.shape[2] == Size(WIDTH) and v.bound <= 50

    found = b.find(lambda v: fits(v) and not v.shape[1].wide and v.shape[1].n > 1)
    return found if found is not None and b.chance() else _join(b)


def tokens_and_row(b: Builder) -> tuple[str, int, str] | None:
    """A few tokens of one side, how many, and a row of the other, or of the same."""
    user, count = b.chance(), 1 + b.below(3)
    tokens, row = _tokens_of(b, user, count), row_of(b, user if b.chance(6) else not user)
    return None if tokens is None or row is None else (tokens, count, _linear(b, row, WIDTH))


def keep(b: Builder, value: Value) -> Value:
    b.values.append(value)
    return value


def tokens(b: Builder) -> None:
    joined = _join(b)
    if joined is not None:
        keep(b, joined)


def token_layer(b: Builder) -> None:
    """A layer for each token, a residual, a normalization, or a cut."""
    x = some_tokens(b)
    if x is None:
        return
    kind = b.below(5)
    if kind == 0:
        hidden = b.raw("Relu", [_linear(b, x, WIDTH)])[0]
        keep(b, named(b.raw("Tanh", [b.raw("Add", [x.name, hidden])[0]])[0], *x.shape, bound=1.0))
    elif kind == 1 and b.setting.opset >= 17:
        scale, shift = b.weight([WIDTH]), b.weight([WIDTH])
        keep(b, named(b.raw("LayerNormalization", [x.name, scale.name, shift.name], epsilon=0.1)[0], *x.shape))
    elif kind == 2:
        weight = b.weight([x.shape[1], WIDTH, WIDTH])
        keep(b, named(b.raw("Einsum", [x.name, weight.name], equation="btd,tde->bte")[0], *x.shape, bound=400))
    elif kind == 3:
        picked = [b.below(x.shape[1].n) for _ in range(1 + b.below(4))]
        name = b.raw("Gather", [x.name, b.integers(*picked)], axis=1)[0]
        keep(b, named(name, B, Size(len(picked)), Size(WIDTH)))
    else:
        start = b.below(x.shape[1].n)
        cut = [b.integers(start), b.integers(x.shape[1].n), b.integers(1)]
        keep(b, named(b.raw("Slice", [x.name, *cut])[0], B, Size(x.shape[1].n - start), Size(WIDTH)))


def _heads(b: Builder, value: str, count: int, turned: bool) -> str:
    apart = b.raw("Reshape", [value, b.integers(0, count, HEADS, WIDTH // HEADS)])[0]
    return b.raw("Transpose", [apart], perm=[0, 2, 3, 1] if turned else [0, 2, 1, 3])[0]


def _masked(b: Builder, scores: str, rows: int, columns: int) -> str:
    """Scores with something hidden; an odd number is no mask and must not be taken for one."""
    kind = b.below(6)
    hidden = np.float32(b.pick([-np.inf, -1e9, -1e4, -50.0, np.finfo(np.float32).min, -3.0]))
    if kind < 2:
        return scores
    if kind == 2 and rows == columns:
        seen = np.tril(np.ones((rows, columns), bool))
    elif kind == 3:
        seen = b.rng.integers(0, 2, (rows, columns)).astype(bool)
    else:
        seen = np.broadcast_to(b.rng.integers(0, 2, columns).astype(bool), (rows, columns)).copy()
    seen[:, b.below(columns)] = True
    if kind == 4:
        mask = b.constant(seen)
        return b.raw("Where", [mask, scores, b.constant(np.array(hidden))])[0]
    return b.raw("Add", [scores, b.constant(np.where(seen, np.float32(0), hidden).astype(np.float32))])[0]


def attention(b: Builder) -> None:
    """Among all tokens, or of the tokens of one side to all of them."""
    x = some_tokens(b)
    if x is None:
        return
    count = rows = x.shape[1].n
    query = x.name
    if b.chance(3):
        rows = 1 + b.below(2)
        query = _tokens_of(b, b.chance(), rows) or query
        rows = count if query == x.name else rows
    projected = b.chance()
    q, k, v = (
        (b.raw("MatMul", [value, b.weight([WIDTH, WIDTH]).name])[0] if projected else value)
        for value in (query, x.name, x.name)
    )
    if b.chance():
        q, k, v = _heads(b, q, rows, False), _heads(b, k, count, True), _heads(b, v, count, False)
        back = True
    else:
        k, back = b.raw("Transpose", [k], perm=[0, 2, 1])[0], False
    scores = b.raw("Mul", [b.raw("MatMul", [q, k])[0], b.constant(np.array(0.2, np.float32))])[0]
    if b.chance(4):
        # weights that are no probabilities, hidden by zeros
        weights = b.raw("Sigmoid", [scores])[0]
        seen = np.tril(np.ones((rows, count), np.float32)) if rows == count else b.rng.integers(0, 2, (rows, count))
        weights = b.raw("Mul", [weights, b.constant(seen.astype(np.float32))])[0]
    else:
        weights = b.raw("Softmax", [_masked(b, scores, rows, count)], axis=-1 if b.setting.opset >= 13 else 2 + back)[0]
    mixed = b.raw("MatMul", [weights, v])[0]
    if back:
        mixed = b.raw("Transpose", [mixed], perm=[0, 2, 1, 3])[0]
        mixed = b.raw("Reshape", [mixed, b.integers(0, rows, WIDTH)])[0]
    keep(b, named(b.raw("Tanh", [mixed])[0], B, Size(rows), Size(WIDTH), bound=1.0))


def pairs(b: Builder) -> None:
    """Products of each pair of tokens."""
    x = some_tokens(b)
    if x is None or x.shape[1].n < 2:
        return
    count = x.shape[1].n
    left, right = np.triu_indices(count, 1)
    if b.chance(3):
        # Any lists: one may be what the other is in another order.
        left, right = b.rng.integers(0, count, (2, 2 + b.below(3)))
    if b.chance():
        a, c = (b.raw("Gather", [x.name, b.integers(*i)], axis=1)[0] for i in (left, right))
        if b.chance():
            a = b.raw("Einsum", [a, b.weight([len(left), WIDTH, WIDTH]).name], equation="bpd,pde->bpe")[0]
        name = b.raw("Flatten", [b.raw("Mul", [a, c])[0]], axis=1)[0]
        size = len(left) * WIDTH
    else:
        turned = b.raw("Transpose", [x.name], perm=[0, 2, 1])[0]
        flat = b.raw("Flatten", [b.raw("MatMul", [x.name, turned])[0]], axis=1)[0]
        name = b.raw("Gather", [flat, b.integers(*(left * count + right))], axis=1)[0]
        size = len(left)
    b.node("MatMul", [name, b.weight([size, 3])], named("", B, Size(3), bound=1e4))


def experts(b: Builder) -> None:
    sides = [row_of(b, user) for user in (True, False)]
    if None in sides:
        return
    rows = [v for v in sides if v is not None]
    width = sum(v.shape[1].n for v in rows)
    x = named(b.raw("Concat", [v.name for v in rows], axis=1)[0], B, Size(width), bound=4.0)
    stack = b.raw("Einsum", [x.name, b.weight([3, width, 2]).name], equation="bd,edh->beh")[0]
    gate = b.raw("Softmax", [_linear(b, x, 3)], axis=1)[0]
    b.node("Einsum", [gate, b.raw("Relu", [stack])[0]], named("", B, Size(2), bound=200.0), equation="be,beh->bh")


def target_attention(b: Builder) -> None:
    """An item set beside each of the user's tokens."""
    count = 2 + b.below(2)
    history, item = _tokens_of(b, True, count), _tokens_of(b, False, 1)
    if history is None or item is None:
        return
    if b.chance():
        query = b.raw("Tile", [item, b.integers(1, count, 1)])[0]
    else:
        query = b.raw("Concat", [item] * count, axis=1)[0]
    parts = [query, history, b.raw("Sub", [query, history])[0], b.raw("Mul", [query, history])[0]]
    wide = b.raw("Concat", parts, axis=2)[0]
    hidden = b.raw("Sigmoid", [b.raw("MatMul", [wide, b.weight([4 * WIDTH, 3]).name])[0]])[0]
    weights = b.raw("MatMul", [hidden, b.weight([3, 1]).name])[0]
    turned = b.raw("Transpose", [weights], perm=[0, 2, 1])[0]
    keep(b, named(b.raw("MatMul", [turned, history])[0], B, ONE, Size(WIDTH)))


def mixing(b: Builder) -> None:
    """Pieces of all tokens form new tokens, some entries of which are set to zero."""
    x = some_tokens(b)
    if x is None:
        return
    count = x.shape[1].n
    apart = b.raw("Reshape", [x.name, b.integers(0, count, HEADS, WIDTH // HEADS)])[0]
    turned = b.raw("Transpose", [apart], perm=[0, 2, 1, 3])[0]
    width = count * WIDTH // HEADS
    name = b.raw("Reshape", [turned, b.integers(0, HEADS, width)])[0]
    if b.chance():
        name = b.raw("Mul", [name, b.constant(b.rng.integers(0, 2, (HEADS, width)).astype(np.float32))])[0]
    mixed = named(name, B, Size(HEADS), Size(width))
    keep(b, named(b.raw("Tanh", [_linear(b, mixed, WIDTH)])[0], B, Size(HEADS), Size(WIDTH), bound=1.0))


def outer_products(b: Builder) -> None:
    """Each field with each other one, and a convolution over all of them."""
    x = some_tokens(b)
    if x is None or x.shape[1].n > 4:
        return
    count = x.shape[1].n
    outer = b.raw("Einsum", [x.name, x.name], equation="bhd,bfd->bhfd")[0]
    flat = b.raw("Reshape", [outer, b.integers(0, count * count, WIDTH)])[0]
    kernel = b.weight([3, count * count, 1]).name
    keep(b, named(b.raw("Tanh", [b.raw("Conv", [flat, kernel])[0]])[0], B, Size(3), Size(WIDTH), bound=1.0))


def spelled_attention(b: Builder) -> None:
    """Attention as products that are spelled letter by letter, in any order of the axes of the keys."""
    x = some_tokens(b)
    if x is None:
        return
    rows = x.shape[1].n
    keys, letters = x.name, "bjd"
    if b.chance():
        keys, letters = b.raw("Transpose", [x.name], perm=[0, 2, 1])[0], "bdj"
    scores = b.raw("Einsum", [x.name, keys], equation=f"bid,{letters}->bij")[0]
    scores = b.raw("Mul", [scores, b.constant(np.array(0.2, np.float32))])[0]
    weights = b.raw("Softmax", [_masked(b, scores, rows, rows)], axis=-1 if b.setting.opset >= 13 else 2)[0]
    operands, equation = b.pick([([weights, x.name], "bij,bjd->bid"), ([x.name, weights], "bjd,bij->bid")])
    mixed = b.raw("Einsum", operands, equation=equation)[0]
    keep(b, named(b.raw("Tanh", [mixed])[0], B, Size(rows), Size(WIDTH), bound=1.0))


def added_twice(b: Builder) -> None:
    """A product over tokens of the user with weights of each candidate, and sums in which the same occurs again."""
    rows = _tokens_of(b, True, 2)
    item = _tokens_of(b, False, 1)
    if rows is None or item is None:
        return
    turned = b.raw("Transpose", [item], perm=[0, 2, 1])[0]
    product = b.raw("MatMul", [rows, b.raw("Mul", [turned, b.weight([WIDTH, WIDTH]).name])[0]])[0]
    shared = b.raw("MatMul", [rows, b.weight([WIDTH, WIDTH]).name])[0]
    total = product
    for _ in range(1 + b.below(3)):
        total = b.raw("Add", b.pick([[total, item], [item, total], [total, shared], [total, total]]))[0]
    keep(b, named(b.raw("Tanh", [total])[0], B, Size(2), Size(WIDTH), bound=1.0))


def wide_norm(b: Builder) -> None:
    """A normalization over columns of both sides, some of them far from zero."""
    sides = [row_of(b, user) for user in (True, False)]
    if None in sides or b.setting.opset < 17:
        return
    rows = [v for v in sides if v is not None]
    far = b.constant(np.array(b.pick([0.0, 3.0, 100.0]), np.float32))
    parts = [b.raw("Add", [v.name, far])[0] for v in rows]
    width = sum(v.shape[1].n for v in rows)
    x = b.raw("Concat", parts, axis=1)[0]
    scale, shift = (b.weight([width]).name for _ in range(2))
    normal = b.raw("LayerNormalization", [x, scale, shift], axis=-1, epsilon=0.1)[0]
    b.node("MatMul", [normal, b.weight([width, 3])], named("", B, Size(3), bound=4.0 * math.sqrt(width) * width))


def asked_of_tokens(b: Builder) -> None:
    """A row of one side, repeated for each token of the other, layers on it, and both put together."""
    side, count = b.chance(), 2 + b.below(3)
    row, tokens_ = row_of(b, side), _tokens_of(b, not side, count)
    if row is None or tokens_ is None:
        return
    once = b.raw("Reshape", [b.raw("Tanh", [_linear(b, row, WIDTH)])[0], b.integers(0, 1, WIDTH)])[0]
    kind = b.below(3)
    if kind == 0:
        query = b.raw("Expand", [once, b.integers(1, count, 1)])[0]
    elif kind == 1:
        query = b.raw("Tile", [once, b.integers(1, count, 1)])[0]
    else:
        query = b.raw("Concat", [once] * count, axis=1)[0]
    for _ in range(b.below(3)):
        weight = b.weight([WIDTH, WIDTH]).name if b.chance() else ""
        query = b.raw("MatMul", [query, weight])[0] if weight else b.raw("Softmax", [query], axis=2)[0]
        query = b.raw(b.pick(["Relu", "Tanh", "Neg"]), [query])[0]
    joined = b.raw(b.pick(["Mul", "Sub", "Add"]), [query, tokens_])[0]
    if b.chance():
        joined = b.raw("Concat", [query, joined, tokens_], axis=2)[0]
        joined = b.raw("MatMul", [joined, b.weight([3 * WIDTH, WIDTH]).name])[0]
    keep(b, named(b.raw("Tanh", [joined])[0], B, Size(count), Size(WIDTH), bound=1.0))


def _features(b: Builder) -> tuple[str, int] | None:
    """Columns of both sides next to each other, and how many there are."""
    sides = [row_of(b, True), row_of(b, False)]
    rows = [side for side in sides if side is not None]
    if len(rows) < len(sides):
        return None
    joined = b.raw("Concat", [b.raw("Tanh", [side.name])[0] for side in rows], axis=1)[0]
    return joined, sum(side.shape[1].n for side in rows)


def residual_blocks(b: Builder) -> None:
    """Features of both sides, blocks that add to all of them, and heads that read what comes of it."""
    features = _features(b)
    if features is None:
        return
    x, width = features
    for _ in range(1 + b.below(2)):
        rank = 1 + b.below(3)
        inner = b.raw(b.pick(["Relu", "Tanh"]), [b.raw("MatMul", [x, b.weight([width, rank]).name])[0]])[0]
        bias = [b.weight([width]).name] if b.chance() else []
        added = b.raw("Gemm", [inner, b.weight([rank, width]).name, *bias])[0]
        x = b.raw("Add", b.pick([[x, added], [added, x]]))[0]
    heads = [b.raw("Gemm", [x, b.weight([width, 3]).name])[0] for _ in range(1 + b.below(3))]
    total = heads[0] if len(heads) == 1 else b.raw("Sum", [b.raw("Neg", [head])[0] for head in heads])[0]
    keep(b, named(b.raw("Tanh", [total])[0], B, Size(3), bound=1.0))


def cross_layers(b: Builder) -> None:
    """Features of both sides, layers that add them to what they read, times a number, and a head behind it."""
    features = _features(b)
    if features is None:
        return
    first, width = features
    x = first
    for _ in range(1 + b.below(3)):
        number = b.raw(b.pick(["Tanh", "Neg"]), [b.raw("MatMul", [x, b.weight([width, 1]).name])[0]])[0]
        scaled = b.raw("Mul", b.pick([[first, number], [number, first], [x, number]]))[0]
        added = b.raw(b.pick(["Add", "Sub"]), [scaled, b.weight([width]).name])[0] if b.chance() else scaled
        x = b.raw(b.pick(["Add", "Sub"]), b.pick([[x, added], [added, x]]))[0]
    beside = b.raw("Tanh", [b.raw("MatMul", [first, b.weight([width, 2]).name])[0]])[0]
    columns, more = b.pick([(x, 0), (b.raw("Concat", [beside, x], axis=1)[0], 2)])
    head = b.raw("Gemm", [columns, b.weight([width + more, 3]).name, b.weight([3]).name])[0]
    keep(b, named(b.raw("Tanh", [head])[0], B, Size(3), bound=1.0))


def normalised_layers(b: Builder) -> None:
    """Layers over features of both sides with a normalisation in front, behind, or both."""
    features = _features(b)
    if features is None:
        return
    x, width = features

    def normalised(value: str, columns: int) -> str:
        parameters = [b.weight([columns]).name for _ in range(3)]
        return b.raw("BatchNormalization", [value, *parameters, b.raw("Exp", [b.weight([columns]).name])[0]])[0]

    x = normalised(x, width) if b.chance() else x
    heads = []
    for _ in range(1 + b.below(2)):
        bias = [b.weight([3]).name] if b.chance() else []
        made = b.raw("Gemm", [x, b.weight([width, 3]).name, *bias])[0]
        heads.append(b.raw(b.pick(["Tanh", "Relu"]), [normalised(made, 3) if b.chance() else made])[0])
    total = b.raw("Tanh", [b.raw("Sum", heads)[0]])[0]
    keep(b, named(total, B, Size(3), bound=1.0))


RANKERS: list[Block] = [
    tokens,
    token_layer,
    token_layer,
    attention,
    attention,
    pairs,
    experts,
    target_attention,
    asked_of_tokens,
    mixing,
    outer_products,
    spelled_attention,
    added_twice,
    wide_norm,
    residual_blocks,
    cross_layers,
    normalised_layers,
]
