"""Building blocks of random models with entries of the user in front of, behind or around those of the item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tests.soundness.blocks import Block
from tests.soundness.generate import ONE, B, Builder, Size, Value
from tests.soundness.parts import WIDTH, between, fields, fields_of, joined, product, row_of, sides_drawn

# -- windows -----------------------------------------------------------------------------------------------------------


def _channels(b: Builder) -> Value | None:
    """Positions of both sides behind the channels: ``[B, WIDTH, n]``."""
    parts = []
    for user in sides_drawn(b):
        count = 1 + b.below(4)
        row = row_of(b, user)
        if row is None:
            return None
        flat = b.tamed(product(b, row, WIDTH * count))
        like = replace(flat, shape=(B, Size(WIDTH), Size(count)))
        parts.append(b.node("Reshape", [flat, b.integers(0, WIDTH, count)], like))
    return joined(b, parts, 2)


def windows(b: Builder) -> None:
    """Convolutions and pooling along positions of both sides, padded by themselves or before, up to all of them."""
    x = _channels(b)
    if x is None:
        return
    x = b.tamed(x)
    total = x.shape[2].n
    kernel = total if b.chance(3) else 1 + b.below(min(total, 4))
    stride, step = 1 + b.below(2), 1 + b.below(2)
    pads = [b.below(kernel) if b.chance() else 0 for _ in range(2)]
    pooling = b.chance(3)
    if pooling or kernel == total:
        step = 1
    if kernel == total and b.chance():
        pads = [0, 0]
    left = (total + sum(pads) - (kernel - 1) * step - 1) // stride + 1
    if left < 1:
        return
    if pooling:
        op = b.pick(["MaxPool", "AveragePool"])
        more = {"count_include_pad": b.below(2)} if op == "AveragePool" else {}
        like = replace(x, shape=(B, Size(WIDTH), Size(left)), exact=x.exact and op == "MaxPool")
        made = b.node(op, [x], like, kernel_shape=[kernel], strides=[stride], pads=pads, **more)
    else:
        made = _convolved(b, x, kernel, left, strides=[stride], dilations=[step], pads=pads)
    if b.chance():
        b.node("Gather", [made, b.integers(made.shape[2].n - 1)], replace(made, shape=(*made.shape[:2], ONE)), axis=2)


def _convolved(b: Builder, x: Value, kernel: int, left: int, **attrs: Sequence[int]) -> Value:
    group = b.pick([1, WIDTH])
    out = WIDTH * (1 + b.below(2))
    pads = list(attrs["pads"])
    if b.chance():
        padded = Size(x.shape[2].n + sum(pads))
        fill = [b.constant(np.array(b.pick([0.0, 0.0, -0.0, 1.0]), np.float32))] if b.chance() else []
        axes = [0, 0, pads[0], 0, 0, pads[1]]
        x = b.node("Pad", [x, b.integers(*axes), *fill], replace(x, shape=(*x.shape[:2], padded), bound=x.bound + 1))
        attrs = {**attrs, "pads": [0, 0]}
    weights: list[Value | str] = [b.weight([out, WIDTH // group, kernel])]
    if b.chance():
        weights.append(b.weight([out]))
    like = replace(x, shape=(B, Size(out), Size(left)), bound=x.bound * 2 * WIDTH * kernel + 2)
    return b.node("Conv", [x, *weights], like, group=group, **attrs)


# -- steps -------------------------------------------------------------------------------------------------------------


def steps(b: Builder) -> None:
    """A recurrence along steps of both sides, from a state or from none; all of it is kept, or the last."""
    parts = []
    for user in sides_drawn(b):
        count, row = 1 + b.below(3), row_of(b, user)
        if row is None:
            return
        flat = between(b, product(b, row, WIDTH * count))
        apart = b.node(
            "Reshape", [flat, b.integers(0, count, WIDTH)], replace(flat, shape=(B, Size(count), Size(WIDTH)))
        )
        turned = replace(apart, shape=(Size(count), B, Size(WIDTH)))
        parts.append(b.node("Transpose", [apart], turned, perm=[1, 0, 2]))
    x = joined(b, parts, 0)
    op, gates, states = b.pick([("GRU", 3, 1), ("LSTM", 4, 2), ("RNN", 1, 1)])
    hidden = 1 + b.below(2)
    inputs = [x.name, *(b.weight([1, gates * hidden, n]).name for n in (WIDTH, hidden))]
    inputs.append(b.weight([1, 2 * gates * hidden]).name if b.chance() else "")
    inputs.append("")
    for _ in range(states):
        inputs.append(_state(b, hidden) if b.chance() else "")
    if op == "LSTM" and b.chance(3):
        inputs.append(b.weight([1, 3 * hidden]).name)
    while not inputs[-1]:
        inputs.pop()
    more = {"linear_before_reset": b.below(2)} if op == "GRU" else {}
    direction = b.pick(["forward", "forward", "reverse"])
    names = b.raw(op, inputs, 1 + states, hidden_size=hidden, direction=direction, **more)
    count = x.shape[0]
    whole = Value(names[0], (count, ONE, B, Size(hidden)), exact=False, bound=2.0)
    last = [replace(whole, name=n, shape=(ONE, B, Size(hidden)), bound=10.0) for n in names[1:]]
    b.values += b.pick([[whole], [last[0]], [whole, *last]])


def _state(b: Builder, hidden: int) -> str:
    """What a recurrence begins with: of the user, of the item, or the same for all."""
    row = row_of(b, b.chance()) if b.chance() else None
    if row is None:
        return b.node(
            "Expand", [b.weight([1, 1, hidden]), b.sizes([ONE, B, ONE])], Value("", (ONE, B, Size(hidden)))
        ).name
    flat = between(b, product(b, row, hidden))
    return b.axes_node("Unsqueeze", flat, [0], replace(flat, shape=(ONE, B, Size(hidden)))).name


# -- all of them -------------------------------------------------------------------------------------------------------


def extremes(b: Builder) -> None:
    """The largest or smallest entry along the axis on which both sides are joined, or along another."""
    x = fields(b) if b.chance() else _channels(b)
    if x is None:
        return
    axis, keep = b.pick([1, 1, 2]), b.below(2)
    shape = [ONE if k == axis else s for k, s in enumerate(x.shape) if keep or k != axis]
    op = b.pick(["ReduceMax", "ReduceMin"])
    b.axes_node(op, x, [axis if b.chance() else axis - 3], replace(x, shape=tuple(shape)), 18, keepdims=keep)


def _scores(b: Builder, x: Value) -> Value:
    """How each of some vectors goes with each other one."""
    count = x.shape[1]
    turned = b.node("Transpose", [x], replace(x, shape=(B, x.shape[2], count)), perm=[0, 2, 1])
    like = Value("", (B, count, count), exact=x.exact, bound=x.bound**2 * x.shape[2].n)
    return b.node("MatMul", [x, turned], like)


def written_softmax(b: Builder) -> None:
    """A softmax that is spelled, of scores of any axis, masked or not, and a mean with it."""
    x = fields(b, squashed=True)
    if x is None:
        return
    scores = _scores(b, x)
    rows = scores.shape[1].n
    if b.chance():
        seen = np.tril(np.ones((rows, rows), bool)) if b.chance() else b.rng.integers(0, 2, (rows, rows)) > 0
        seen[:, 0] = True
        hidden = np.float32(b.pick([-np.inf, -1e9, -3.0]))
        scores = b.node("Where", [b.constant(seen), scores, b.constant(np.array(hidden))], scores)
    axis, keep = b.pick([2, 2, 1]), b.chance(3)
    kept = tuple(ONE if k == axis else s for k, s in enumerate(scores.shape))
    dropped = tuple(s for k, s in enumerate(scores.shape) if k != axis)

    def reduced(op: str, value: Value, since: int) -> Value:
        shown = axis - 3 if b.chance() else axis
        if keep:
            return b.axes_node(op, value, [shown], replace(value, shape=kept), since, keepdims=1)
        made = b.axes_node(op, value, [shown], replace(value, shape=dropped), since, keepdims=0)
        return b.axes_node("Unsqueeze", made, [shown], replace(made, shape=kept))

    largest = reduced("ReduceMax", scores, 18)
    less = b.node("Sub", [scores, largest], replace(scores, bound=2 * scores.bound))
    powers = b.node("Exp", [less], replace(scores, exact=False, bound=1.0))
    total = reduced("ReduceSum", replace(powers, bound=float(rows)), 13)
    weights = b.node("Div", [powers, total], powers)
    b.node("MatMul", [weights, x], replace(x, exact=False, bound=float(rows)))


def retention(b: Builder) -> None:
    """Scores that a triangle is multiplied onto, divided by what their rows add up to, and a product with the rows."""
    x = fields(b, squashed=True)
    if x is None:
        return
    scores = _scores(b, x)
    rows = scores.shape[1].n
    seen = np.tril(np.ones((rows, rows))) if not b.chance(3) else b.rng.integers(0, 2, (rows, rows))
    if b.chance():
        seen = seen * b.rng.uniform(0.5, 1, (rows, rows))
    mask = b.constant(seen.astype(np.float32))
    weights = b.node("Mul", [scores, mask] if b.chance() else [mask, scores], scores)
    like = replace(weights, shape=(*scores.shape[:-1], ONE), bound=rows * scores.bound + 1)
    sizes = b.node("Abs", [weights], weights)
    total = b.axes_node("ReduceSum", sizes, [-1 if b.chance() else 2], like, keepdims=1)
    total = b.node("Add", [total, b.constant(np.array(1, np.float32))], total)
    if b.chance():
        weights = b.node("Div", [weights, total], replace(weights, exact=False))
    else:
        share = b.node("Reciprocal", [total], replace(total, exact=False, bound=1.0))
        weights = b.node("Mul", [weights, share] if b.chance() else [share, weights], weights)
    b.node("MatMul", [weights, x], replace(x, exact=False, bound=float(rows)))


def picked_late(b: Builder) -> None:
    """Layers on all fields, of which some are read: a number, a cut, or a list that may name one twice."""
    x = fields(b)
    if x is None:
        return
    side = fields_of(b, b.chance(), 1) if b.chance() else None
    for _ in range(1 + b.below(3)):
        x, kind = b.tamed(x), b.below(5)
        if kind == 0:
            x = product(b, x, WIDTH, bias=b.chance())
        elif kind == 1 and side is not None:
            pair = [x, side] if b.chance() else [side, x]
            x = b.node("Add", pair, replace(x, exact=x.exact and side.exact, bound=x.bound + side.bound))
        elif kind == 2:
            x = b.node("Softmax", [x], replace(x, exact=False, bound=1.0), axis=b.pick([-1, 1, 2]))
        elif kind == 3:
            scores = b.node(
                "Softmax", [_scores(b, x)], Value("", (B, x.shape[1], x.shape[1]), exact=False, bound=1.0), axis=2
            )
            x = b.node("MatMul", [scores, x], replace(x, exact=False))
        else:
            x = b.node("Relu", [x], x)
    count = x.shape[1].n
    kind = b.below(4)
    if kind == 3 and b.setting.opset >= 13:
        _some_outputs(b, x, 1)
    elif kind == 0:
        number = b.constant(np.array(b.below(count) - b.pick([0, count]), np.int64), "c")
        b.node("Gather", [x, number], replace(x, shape=(B, x.shape[2])), axis=1)
    elif kind == 1:
        numbers = [b.below(2 * count) - count for _ in range(1 + b.below(2))]
        b.node("Gather", [x, b.integers(*numbers)], replace(x, shape=(B, Size(len(numbers)), x.shape[2])), axis=1)
    else:
        start = b.below(count)
        bounds = [b.integers(v) for v in (start - b.pick([0, count]), b.pick([count, 2**31]), b.pick([1, -2]))]
        b.node("Slice", [x, *bounds], replace(x, shape=(B, Size(count - start), x.shape[2])))


def _some_outputs(b: Builder, x: Value, axis: int) -> None:
    """The outputs of a Split, of which now and then some are not read."""
    left, sizes = x.shape[axis].n, list[int]()
    while left:
        sizes.append(1 + b.below(left))
        left -= sizes[-1]
    names = b.raw("Split", [x.name, b.integers(*sizes)], len(sizes), axis=axis - b.pick([0, x.rank]))
    for name, size in zip(names, sizes, strict=True):
        if not b.chance(3):
            b.values.append(replace(x, name=name, shape=(*x.shape[:axis], Size(size), *x.shape[axis + 1 :])))


def cut_apart(b: Builder) -> None:
    """A layer of all fields whose columns are cut apart, and pieces of which some fields are read."""
    x = fields(b)
    if x is None or b.setting.opset < 13:
        return
    sizes = [1 + b.below(3) for _ in range(2 + b.below(2))]
    made = product(b, x, sum(sizes), bias=b.chance())
    if b.chance():
        row = b.weight([x.shape[1] if b.chance() else ONE, made.shape[2] if b.chance() else ONE])
        made = b.node("Add", [row, made] if b.chance() else [made, row], replace(made, bound=made.bound + 2))
    names = b.raw("Split", [made.name, b.integers(*sizes)], len(sizes), axis=b.pick([-1, 2]))
    for name, size in zip(names, sizes, strict=True):
        piece = replace(made, name=name, shape=(*made.shape[:2], Size(size)))
        if b.chance():
            number = b.constant(np.array(b.below(x.shape[1].n), np.int64), "c")
            b.node("Gather", [piece, number], replace(piece, shape=(B, piece.shape[2])), axis=1)
        else:
            b.values.append(piece)


POSITIONS: list[Block] = [
    windows,
    windows,
    windows,
    steps,
    steps,
    extremes,
    written_softmax,
    retention,
    retention,
    picked_late,
    picked_late,
    cut_apart,
]
