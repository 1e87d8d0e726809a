"""Building blocks of random models that lay tokens end to end, or read them one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.soundness.blocks import Block
from tests.soundness.generate import ONE, B, Builder, Size
from tests.soundness.ranker_blocks import HEADS, WIDTH, keep, named, some_tokens, tokens_and_row


@dataclass
class _Rows:
    """Rows ``[B * count, width]``, a token each."""

    name: str
    count: int
    width: int = WIDTH


def tower(b: Builder) -> None:
    """Layers on the tokens of all candidates as one batch; some of them mix rows, which no rule may overlook."""
    x = some_tokens(b)
    if x is None:
        return
    rows = _Rows(b.raw("Reshape", [x.name, b.integers(-1, WIDTH)])[0], x.shape[1].n)
    for _ in range(1 + b.below(4)):
        b.pick(LAYERS)(b, rows)
        rows.name = b.raw("Tanh", [rows.name])[0]
    if b.chance(4):
        name = b.raw("Reshape", [rows.name, b.integers(-1, rows.count * rows.width)])[0]
        keep(b, named(name, B, Size(rows.count * rows.width), bound=1.0))
        return
    name = b.raw("Reshape", [rows.name, b.integers(-1, rows.count, rows.width)])[0]
    keep(b, named(name, B, Size(rows.count), Size(rows.width), bound=1.0))


def _layer(b: Builder, rows: _Rows) -> None:
    weight = b.weight([rows.width, WIDTH]).name
    product = b.raw(b.pick(["MatMul", "Gemm"]), [rows.name, weight])[0]
    rows.name, rows.width = b.raw("Add", [product, b.weight([WIDTH]).name])[0], WIDTH


def _weighing(b: Builder, rows: _Rows) -> None:
    rows.name = b.raw("Softmax", [rows.name], axis=1)[0]


def _residual(b: Builder, rows: _Rows) -> None:
    inner = b.raw("MatMul", [rows.name, b.weight([rows.width, rows.width]).name])[0]
    rows.name = b.raw("Add", [rows.name, b.raw("Relu", [inner])[0]])[0]


def _words(b: Builder, rows: _Rows) -> str:
    """Each row as a few words of two numbers."""
    return b.raw("Reshape", [rows.name, b.integers(-1, rows.width // 2, 2)])[0]


def _pooled(b: Builder, rows: _Rows) -> None:
    weights = b.raw("MatMul", [words := _words(b, rows), b.weight([2, 1]).name])[0]
    weights = b.raw("Softmax", [weights], axis=-2 if b.setting.opset >= 13 else 1)[0]
    turned = b.raw("Transpose", [weights], perm=[0, 2, 1])[0]
    mixed = b.raw("MatMul", [turned, words])[0]
    rows.name, rows.width = b.raw("Reshape", [mixed, b.integers(-1, 2)])[0], 2


def _recurrent(b: Builder, rows: _Rows) -> None:
    """The rows are the second axis of what a recurrence reads."""
    op, gates = b.pick([("GRU", 3), ("LSTM", 4), ("RNN", 1)])
    sequence = b.raw("Transpose", [_words(b, rows)], perm=[1, 0, 2])[0]
    weights = [b.weight([1, gates * WIDTH, 2]).name, b.weight([1, gates * WIDTH, WIDTH]).name]
    state = b.raw(op, [sequence, *weights], 2, hidden_size=WIDTH)[1]
    rows.name, rows.width = b.raw("Reshape", [state, b.integers(-1, WIDTH)])[0], WIDTH


def _convolved(b: Builder, rows: _Rows) -> None:
    channels = b.raw("Transpose", [_words(b, rows)], perm=[0, 2, 1])[0]
    made = b.raw("Conv", [channels, b.weight([WIDTH, 2, 1]).name])[0]
    rows.name = b.raw("ReduceMax", [made], axes=[2], keepdims=0)[0] if b.setting.opset < 18 else made
    if b.setting.opset >= 18:
        rows.name = b.raw("ReduceMax", [made, b.integers(2)], keepdims=0)[0]
    rows.width = WIDTH


def _heads_first(b: Builder, rows: _Rows) -> None:
    """Rows and heads on one axis, words in front of them, as attention in a layout of its own has it."""
    first = b.raw("Transpose", [_words(b, rows)], perm=[1, 0, 2])[0]
    count = rows.width // 2
    apart = b.raw("Reshape", [first, b.integers(count, -1, 2 // HEADS)])[0]
    left = b.raw("Transpose", [apart], perm=[1, 0, 2])[0]
    right = b.raw("Transpose", [apart], perm=[1, 2, 0])[0]
    mixed = b.raw("MatMul", [b.raw("Tanh", [b.raw("MatMul", [left, right])[0]])[0], left])[0]
    back = b.raw("Reshape", [b.raw("Transpose", [mixed], perm=[1, 0, 2])[0], b.integers(-1, 2)])[0]
    back = b.raw("Reshape", [b.raw("Relu", [back])[0], b.integers(count, -1, 2)])[0]
    back = b.raw("Transpose", [back], perm=[1, 0, 2])[0]
    rows.name = b.raw("Reshape", [back, b.integers(-1, rows.width)])[0]


def _pairs(b: Builder, rows: _Rows) -> None:
    """Two neighbouring tokens as one row."""
    if rows.count % 2 == 0:
        rows.count, rows.width = rows.count // 2, 2 * rows.width
        rows.name = b.raw("Reshape", [rows.name, b.integers(-1, rows.width)])[0]
        _layer(b, rows)


def _halves(b: Builder, rows: _Rows) -> None:
    """Each token as two rows."""
    if rows.width % 4 == 0:
        rows.count, rows.width = rows.count * 2, rows.width // 2
        rows.name = b.raw("Reshape", [rows.name, b.integers(-1, rows.width)])[0]


def _over_rows(b: Builder, rows: _Rows) -> None:
    """What looks at other rows."""
    kind = b.below(3)
    if kind == 0 and b.setting.opset >= 13:
        rows.name = b.raw("Softmax", [rows.name], axis=0)[0]
    elif kind == 1:
        rows.name = b.raw("CumSum", [rows.name, b.constant(np.array(0, np.int64), "c")])[0]
    else:
        turned = b.raw("Transpose", [rows.name], perm=[1, 0])[0]
        alike = b.raw("Tanh", [b.raw("MatMul", [rows.name, turned])[0]])[0]
        rows.name = b.raw("MatMul", [alike, rows.name])[0]


def sequence(b: Builder) -> None:
    """Tokens one after the other: a recurrence, or windows that slide over them; all of it is kept, or the last."""
    x = some_tokens(b)
    if x is None:
        return
    if b.chance():
        name, count = _stepped(b, x.name), x.shape[1].n
    else:
        name, count = _windows(b, x.name, x.shape[1].n)
    if count < 1:
        return
    tamed = b.raw("Tanh", [name])[0]
    if b.chance():
        keep(b, named(tamed, B, Size(count), Size(WIDTH), bound=1.0))
    else:
        keep(b, named(b.raw("Gather", [tamed, b.integers(count - 1)], axis=1)[0], B, ONE, Size(WIDTH), bound=1.0))


def _stepped(b: Builder, x: str) -> str:
    op, gates = b.pick([("GRU", 3), ("LSTM", 4), ("RNN", 1)])
    weights = [b.weight([1, gates * WIDTH, WIDTH]).name for _ in range(2)]
    turned = b.raw("Transpose", [x], perm=[1, 0, 2])[0]
    made = b.raw(op, [turned, *weights], 2, hidden_size=WIDTH, direction=b.pick(["forward", "reverse"]))[0]
    squeezed = b.raw("Reshape", [made, b.integers(0, -1, WIDTH)])[0]
    return b.raw("Transpose", [squeezed], perm=[1, 0, 2])[0]


def _windows(b: Builder, x: str, count: int) -> tuple[str, int]:
    """What slides over the tokens, and how many there are afterwards; there may be none."""
    kernel, stride, step = 1 + b.below(3), 1 + b.below(2), 1 + b.below(2)
    pads = [b.below(kernel), b.below(kernel)]
    pooling = b.chance(3)
    step = 1 if pooling else step
    left = (count + sum(pads) - (kernel - 1) * step - 1) // stride + 1
    if left < 1:
        return x, 0
    channels = b.raw("Transpose", [x], perm=[0, 2, 1])[0]
    if pooling:
        made = b.raw(
            b.pick(["MaxPool", "AveragePool"]), [channels], kernel_shape=[kernel], strides=[stride], pads=pads
        )[0]
    else:
        if b.chance() and b.setting.opset >= 11:
            channels = b.raw("Pad", [channels, b.integers(0, 0, pads[0], 0, 0, pads[1])])[0]
            pads = [0, 0]
        kernels = b.weight([WIDTH, WIDTH, kernel]).name
        made = b.raw("Conv", [channels, kernels], strides=[stride], dilations=[step], pads=pads)[0]
    return b.raw("Transpose", [made], perm=[0, 2, 1])[0], left


def joined(b: Builder) -> None:
    """Tokens and a row for each candidate in one batch, one behind the other, and apart again behind some layers."""
    found = tokens_and_row(b)
    if found is None:
        return
    tokens, count, row = found
    flat, first = b.raw("Reshape", [tokens, b.integers(-1, WIDTH)])[0], b.chance()
    parts = [flat, row] if first else [row, flat]
    rows = _Rows(b.raw("Concat", parts, axis=0)[0], 1)
    for _ in range(1 + b.below(3)):
        b.pick([_layer, _weighing, _residual, _pooled, _recurrent, _convolved, _sized, _over_rows])(b, rows)
        rows.name = b.raw("Tanh", [rows.name])[0]
    border = b.raw("Gather", [b.raw("Shape", [parts[0]])[0], b.integers(0)])[0]
    ends = [b.integers(0), border], [border, b.integers(np.iinfo(np.int64).max)]
    pieces = [b.raw("Slice", [rows.name, *bounds, b.integers(0)])[0] for bounds in ends]
    apart = b.raw("Reshape", [pieces[0 if first else 1], b.integers(-1, count, rows.width)])[0]
    keep(b, named(pieces[1 if first else 0], B, Size(rows.width), bound=1.0))
    keep(b, named(apart, B, Size(count), Size(rows.width), bound=1.0))


def _sized(b: Builder, rows: _Rows) -> None:
    """What is as long as there are rows: the same in each, or the number of each."""
    size = b.raw("Gather", [b.raw("Shape", [rows.name])[0], b.integers(0)])[0]
    if b.chance(3):
        end = b.raw("Reshape", [size, b.constant(np.zeros(0, np.int64), "c")])[0]
        bounds = [b.constant(np.array(n, np.int64), "c") for n in (0, 1)]
        numbers = b.raw("Cast", [b.raw("Range", [bounds[0], end, bounds[1]])[0]], to=1)[0]
        numbers = b.raw("Reshape", [numbers, b.integers(-1, 1)])[0]
        rows.name = b.raw("Add", [rows.name, numbers])[0]
        return
    target = b.raw("Concat", [size, b.integers(rows.width)], axis=0)[0]
    state = b.raw("Expand", [b.weight([rows.width]).name, target])[0]
    rows.name = b.raw(b.pick(["Add", "Mul", "Sub"]), [rows.name, state])[0]


LAYERS = [
    *(_layer, _layer, _weighing, _residual, _pooled, _pooled, _recurrent, _convolved, _heads_first, _pairs, _halves),
    _over_rows,
]
TOWERS: list[Block] = [tower, sequence, joined]
