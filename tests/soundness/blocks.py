"""Building blocks of random models, by family of operators: each adds a few nodes, or none where nothing fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np
from onnx import TensorProto

from tests.soundness.generate import LIMIT, ONE, VOCABULARY, Builder, Size, Value

Block = Callable[[Builder], object]

UNARY = "Sigmoid Tanh Erf Softplus Sin Cos Elu".split()
EXACT_UNARY = "Relu Neg Abs".split()
COMPARISONS = "Less Greater Equal".split()


def broadcast(builder: Builder, *shapes: Sequence[Size]) -> tuple[Size, ...] | None:
    """The shape of several broadcast together, `None` where they do not fit at every number of candidates."""
    rank = max(map(len, shapes))
    result = [ONE] * rank
    for shape in shapes:
        for k, size in enumerate(shape, rank - len(shape)):
            if result[k] == ONE:
                result[k] = size
            elif size not in (ONE, result[k]):
                batch = builder.setting.batch
                if batch is None or size.at(batch) != result[k].at(batch):
                    return None
                result[k] = max(size, result[k], key=lambda s: s.wide)
    return tuple(result)


def partner(builder: Builder, value: Value, kind: str = "float", exact: bool = False) -> Value:
    """Something that broadcasts with a value: another one, or a weight."""
    found = builder.find(
        lambda v: v.kind == kind and (v.exact or not exact) and broadcast(builder, v.shape, value.shape) is not None
    )
    if found is not None and not builder.chance(4):
        return found
    sizes = [s if not s.wide else (s if builder.setting.batch and builder.chance() else ONE) for s in value.shape]
    return builder.weight(sizes[builder.below(len(sizes) + 1) :])


# -- element by element ------------------------------------------------------------------------------------------------


def unary(b: Builder) -> None:
    value = b.float_value()
    if value is None:
        return
    if b.chance():
        b.node(b.pick(EXACT_UNARY), [value], value)
    else:
        b.node(b.pick(UNARY), [value], replace(value, exact=False, bound=max(1.0, value.bound)))


def binary(b: Builder) -> None:
    left = b.float_value()
    if left is None:
        return
    left = b.tamed(left)
    right = b.tamed(partner(b, left))
    op = b.pick(["Add", "Sub", "Mul", "Max", "Min", "Add", "Sub", "Mul", "Mean"])
    pair = [left, right] if b.chance() else [right, left]
    shape = broadcast(b, left.shape, right.shape)
    assert shape is not None
    bound = left.bound * right.bound if op == "Mul" else left.bound + right.bound
    b.node(op, pair, Value("", shape, exact=left.exact and right.exact and op != "Mean", bound=bound))


def divide(b: Builder) -> None:
    value = b.float_value()
    if value is None:
        return
    b.node("Div", [value, b.constant(np.array([4.0], np.float32))], replace(value, exact=False))


def clip(b: Builder) -> None:
    value = b.float_value()
    if value is None:
        return
    bounds = [b.constant(np.array(x, np.float32)) for x in (-3, 5)]
    b.node("Clip", [value, *bounds], replace(value, bound=min(value.bound, 5.0)))


def activation_with_weight(b: Builder) -> None:
    value = b.float_value(1)
    if value is not None and not value.shape[-1].wide:
        slope = b.weight([value.shape[-1]])
        b.node("PRelu", [value, slope], replace(value, bound=value.bound * 2))


def compare(b: Builder) -> None:
    left = b.float_value(exact=True)
    if left is None:
        return
    right = partner(b, left, exact=True)
    shape = broadcast(b, left.shape, right.shape)
    if right.exact and shape is not None:
        b.node(b.pick(COMPARISONS), [left, right], Value("", shape, "bool"))


def logic(b: Builder) -> None:
    left = b.find(lambda v: v.kind == "bool")
    if left is None:
        return
    right = b.find(lambda v: v.kind == "bool" and broadcast(b, v.shape, left.shape) is not None)
    assert right is not None
    shape = broadcast(b, left.shape, right.shape)
    assert shape is not None
    if b.chance(3):
        b.node("Not", [left], left)
    else:
        b.node(b.pick(["And", "Or"]), [left, right], Value("", shape, "bool"))


def where(b: Builder) -> None:
    mask = b.find(lambda v: v.kind == "bool")
    if mask is None:
        return
    value = b.find(lambda v: v.kind == "float" and broadcast(b, v.shape, mask.shape) is not None)
    if value is None:
        return
    other = b.constant(np.array(b.pick([0.0, -2.0, -8.0]), np.float32))
    third = b.find(
        lambda v: v.kind == "float" and broadcast(b, v.shape, mask.shape, value.shape) is not None and not b.chance(3)
    )
    shape = broadcast(b, mask.shape, value.shape, third.shape if third is not None else ())
    assert shape is not None
    bound = max(value.bound, 8.0, third.bound if third is not None else 0)
    exact = value.exact and (third is None or third.exact)
    operands = [mask, value, third.name if third is not None else other]
    b.node("Where", operands if b.chance() else [mask, operands[2], value], Value("", shape, exact=exact, bound=bound))


def cast(b: Builder) -> None:
    value = b.find(lambda v: v.kind != "float")
    if value is not None:
        b.node("Cast", [value], replace(value, kind="float", bound=max(value.bound, 1.0)), to=TensorProto.FLOAT)


# -- along axes --------------------------------------------------------------------------------------------------------


def reduce(b: Builder) -> None:
    value = b.float_value(1)
    if value is None:
        return
    value = b.tamed(value)
    axes = sorted({b.below(value.rank) for _ in range(1 + b.below(2))})
    op = b.pick(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2", "ReduceSumSquare"])
    keep = b.below(2)
    kept = [(ONE if k in axes else s) for k, s in enumerate(value.shape) if keep or k not in axes]
    entries = prod(value.shape[k].n * (b.setting.batch or 8 if value.shape[k].wide else 1) for k in axes)
    bound = value.bound * entries if op in ("ReduceSum", "ReduceL2") else value.bound
    bound = value.bound**2 * entries if op == "ReduceSumSquare" else bound
    exact = value.exact and op not in ("ReduceMean", "ReduceL2")
    if b.chance():
        axes = [a - value.rank for a in axes]
    like = Value("", tuple(kept), exact=exact, bound=bound)
    b.axes_node(op, value, axes, like, 13 if op == "ReduceSum" else 18, keepdims=keep)


def softmax(b: Builder) -> None:
    value = b.float_value(1)
    if value is None:
        return
    value = b.tamed(value)
    op = b.pick(["Softmax", "Softmax", "LogSoftmax"])
    b.node(op, [value], replace(value, exact=False, bound=max(1.0, 2 * value.bound)), axis=_any_axis(b, value))


def cumulative(b: Builder) -> None:
    value = b.float_value(1)
    if value is None:
        return
    axis = b.below(value.rank)
    along = b.constant(np.array(axis, np.int64), "c")
    bound = value.bound * value.shape[axis].at(8)
    b.node("CumSum", [value, along], replace(value, bound=bound), exclusive=b.below(2), reverse=b.below(2))


def layer_norm(b: Builder) -> None:
    value = b.float_value(2)
    if value is None or value.shape[-1].wide or value.shape[-1].n < 2 or b.setting.opset < 17:
        return
    value = b.tamed(value)
    scale, shift = b.weight([value.shape[-1]]), b.weight([value.shape[-1]])
    like = replace(value, exact=False, bound=10.0)
    b.node("LayerNormalization", [value, scale, shift], like, axis=-1, epsilon=0.1)


def batch_norm(b: Builder) -> None:
    value = b.float_value(2)
    if value is None or (value.shape[1].wide and b.setting.batch is None):
        return
    channels = value.shape[1]
    rows = [b.weight([channels]) for _ in range(3)]
    spread = b.constant(np.arange(1, channels.at(b.setting.batch or 1) + 1).astype(np.float32))
    like = replace(value, exact=False, bound=value.bound * 2 + 4)
    b.node("BatchNormalization", [value, *rows, spread], like)


def arg_max(b: Builder) -> None:
    value = b.float_value(1, exact=True)
    if value is None or value.shape == () or not value.exact:
        return
    axis, keep = b.below(value.rank), b.below(2)
    shape = [(ONE if k == axis else s) for k, s in enumerate(value.shape) if keep or k != axis]
    result = b.raw(b.pick(["ArgMax", "ArgMin"]), [value.name], axis=axis, keepdims=keep)[0]
    b.node("Cast", [result], Value("", tuple(shape), bound=64.0), to=TensorProto.FLOAT)


def top_k(b: Builder) -> None:
    value = b.float_value(1, exact=True)
    if value is None:
        return
    axis = b.below(value.rank)
    k = 1 if value.shape[axis].wide else 1 + b.below(value.shape[axis].n)
    names = b.raw("TopK", [value.name, b.integers(k)], 2, axis=axis, largest=b.below(2))
    shape = tuple(Size(k) if i == axis else s for i, s in enumerate(value.shape))
    b.values.append(replace(value, name=names[0], shape=shape))
    b.node("Cast", [names[1]], Value("", shape, bound=64.0), to=TensorProto.FLOAT)


def _any_axis(b: Builder, value: Value) -> int:
    axis = b.below(value.rank)
    return axis - value.rank if b.chance() else axis


# -- products ----------------------------------------------------------------------------------------------------------


def linear(b: Builder) -> None:
    value = b.float_value(2)
    if value is None or value.shape[-1].wide:
        return
    value = b.tamed(value)
    k, n = value.shape[-1].n, 1 + b.below(4)
    like = replace(value, shape=(*value.shape[:-1], Size(n)), bound=value.bound * 2 * k)
    hidden = b.node("MatMul", [value, b.weight([k, n])], like)
    if b.chance():
        b.node("Add", [hidden, b.weight([n])], replace(hidden, bound=hidden.bound + 2))


def gemm(b: Builder) -> None:
    value = b.float_value(2)
    if value is None or value.rank != 2:
        return
    value = b.tamed(value)
    across = 1 if b.chance(4) else 0
    rows, columns = value.shape[across], value.shape[1 - across]
    if columns.wide and b.setting.batch is None:
        return
    n = 1 + b.below(4)
    turned = b.below(2)
    weight = b.weight([n, columns] if turned else [columns, n])
    choices: list[list[Size | int]] = [[n], [1], [1, n], [], [1, 1]]
    bias = b.weight(b.pick(choices))
    attrs = {"transA": across, "transB": turned, "alpha": b.pick([1.0, 2.0]), "beta": b.pick([1.0, 3.0])}
    bound = value.bound * 4 * columns.at(b.setting.batch or 8) + 6
    like = Value("", (rows, Size(n)), exact=value.exact, bound=bound)
    b.node("Gemm", [value, weight, bias] if b.chance() else [value, weight], like, **attrs)


def wide_layer(b: Builder) -> None:
    """The shape of a ranker: parts of user and item side by side, then a product with a weight."""
    first = b.find(lambda v: v.kind == "float" and v.rank >= 2 and not v.shape[-1].wide)
    if first is None:
        return
    parts = [first]
    for _ in range(1 + b.below(3)):
        part = b.find(
            lambda v: v.kind == "float" and v.shape[:-1] == first.shape[:-1] and v.rank > 1 and not v.shape[-1].wide
        )
        parts.append(part if part is not None else first)
    parts = [b.tamed(p) for p in parts]
    total, n = sum(p.shape[-1].n for p in parts), 1 + b.below(5)
    bound, exact = max(p.bound for p in parts), all(p.exact for p in parts)
    stacked = b.node("Concat", parts, Value("", (*first.shape[:-1], Size(total)), exact=exact, bound=bound), axis=-1)
    weight = b.weight([total, n])
    like = Value("", (*first.shape[:-1], Size(n)), exact=exact, bound=bound * 2 * total)
    if first.rank == 2 and b.chance():
        b.node("Gemm", [stacked, weight, b.weight([n])], replace(like, bound=like.bound + 2))
    else:
        b.node("MatMul", [stacked, weight], like)


def batched_product(b: Builder) -> None:
    """Rows of one against rows of the other, now and then summed over the candidates."""
    left = b.float_value(2)
    if left is None:
        return
    left = b.tamed(left)
    right = b.find(lambda v: v.kind == "float" and v.rank >= 2 and v.shape[-1] == left.shape[-1])
    if b.setting.batch is not None and left.rank == 3 and b.chance(4):
        right = b.weight([left.shape[0], 2, left.shape[2]])
    assert right is not None
    right = b.tamed(right)
    outside = broadcast(b, left.shape[:-2], right.shape[:-2]) if max(left.rank, right.rank) > 2 else ()
    if outside is None:
        return
    order = [*range(right.rank - 2), right.rank - 1, right.rank - 2]
    turned = b.node("Transpose", [right], replace(right, shape=tuple(right.shape[k] for k in order)), perm=order)
    bound = left.bound * right.bound * left.shape[-1].at(8)
    like = Value("", (*outside, left.shape[-2], right.shape[-2]), exact=left.exact and right.exact, bound=bound)
    b.node("MatMul", [left, turned], like)


def with_vector(b: Builder) -> None:
    value = b.float_value(2)
    if value is None or value.shape[-1].wide:
        return
    value = b.tamed(value)
    like = replace(value, shape=value.shape[:-1], bound=value.bound * 2 * value.shape[-1].n)
    b.node("MatMul", [value, b.weight([value.shape[-1]])], like)


def einsum(b: Builder) -> None:
    value = b.float_value(2)
    if value is None:
        return
    value = b.tamed(value)
    letters = "abcdefg"[: value.rank]
    others = [v for v in b.values if v.kind == "float" and 1 <= v.rank <= 3 and v.bound <= LIMIT]
    other = b.pick(others) if others else value
    if other.bound > LIMIT:
        return
    free = iter("uvwxyz")
    term = ""
    for size in other.shape:
        same = [c for c, s in zip(letters, value.shape, strict=True) if s == size and c not in term]
        term += b.pick(same) if same and not b.chance(4) else next(free)
    sizes = dict(zip(term, other.shape, strict=True)) | dict(zip(letters, value.shape, strict=True))
    output = "".join(c for c in sizes if not b.chance(3))
    output = "".join(sorted(output, key=lambda c: (b.below(4), c)))
    if len(output) > 4:
        return
    summed = prod(s.at(8) for c, s in sizes.items() if c not in output)
    like = Value(
        "",
        tuple(sizes[c] for c in output),
        exact=value.exact and other.exact,
        bound=value.bound * other.bound * summed,
    )
    equation = f"{letters},{term}->{output}"
    b.node("Einsum", [value, other], like, equation=equation)


def convolution(b: Builder) -> None:
    value = b.find(lambda v: v.kind == "float" and v.rank == 3 and not v.shape[1].wide and not v.shape[2].wide)
    if value is None:
        return
    value = b.tamed(value)
    channels, n = value.shape[1].n, 1 + b.below(3)
    like = replace(value, shape=(value.shape[0], Size(n), value.shape[2]), bound=value.bound * 2 * channels)
    b.node("Conv", [value, b.weight([n, channels, 1])], like, kernel_shape=[1])


def pooling(b: Builder) -> None:
    value = b.find(lambda v: v.kind == "float" and v.rank == 3)
    if value is None:
        return
    op = b.pick(["GlobalAveragePool", "GlobalMaxPool"])
    exact = value.exact and op == "GlobalMaxPool"
    b.node(op, [value], replace(value, shape=(*value.shape[:2], ONE), exact=exact))


def recurrent(b: Builder) -> None:
    value = b.find(lambda v: v.kind == "float" and v.rank == 3 and not v.shape[2].wide)
    if value is None:
        return
    value = b.tamed(value)
    op, gates = b.pick([("GRU", 3), ("LSTM", 4), ("RNN", 1)])
    hidden, width = 2, value.shape[2].n
    weights = [b.weight([1, gates * hidden, width]), b.weight([1, gates * hidden, hidden])]
    operands = [value.name, *(w.name for w in weights)]
    batch = value.shape[1]
    if b.chance():
        target = b.sizes([ONE, batch, Size(hidden)])
        start = b.raw("ConstantOfShape", [target])[0] if b.chance() else None
        operands += ["", "", start or b.raw("Expand", [b.weight([1, 1, hidden]).name, target])[0]]
    names = b.raw(op, operands, 2, hidden_size=hidden)
    whole = Value(names[0], (value.shape[0], ONE, batch, Size(hidden)), exact=False, bound=1.0)
    b.values += [whole, replace(whole, name=names[1], shape=(ONE, batch, Size(hidden)))]


ELEMENTWISE: list[Block] = [unary, binary, binary, binary, divide, clip, activation_with_weight]
MASKS: list[Block] = [compare, logic, where, where, cast]
ALONG_AXES: list[Block] = [reduce, reduce, softmax, cumulative, layer_norm, batch_norm, arg_max, top_k]
PRODUCTS: list[Block] = [
    linear,
    gemm,
    wide_layer,
    wide_layer,
    wide_layer,
    batched_product,
    with_vector,
    einsum,
    convolution,
    pooling,
    recurrent,
]
assert VOCABULARY < LIMIT
