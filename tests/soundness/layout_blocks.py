"""More building blocks of random models: those that move, cut, repeat and look up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.soundness.blocks import ALONG_AXES, ELEMENTWISE, MASKS, PRODUCTS, Block, broadcast
from tests.soundness.generate import ONE, VOCABULARY, B, Builder, Size, Value

MAX_RANK = 4
FULL_END = 2**63 - 1


def any_value(b: Builder, rank: int = 1, kinds: Sequence[str] = ("float", "int")) -> Value | None:
    return b.find(lambda v: v.kind in kinds and v.rank >= rank)


# -- layout ------------------------------------------------------------------------------------------------------------


def transpose(b: Builder) -> None:
    value = any_value(b, 2)
    if value is None:
        return
    order = sorted(range(value.rank), key=lambda k: (b.below(4), k))
    b.node("Transpose", [value], replace(value, shape=tuple(value.shape[k] for k in order)), perm=order)


def merge(b: Builder) -> None:
    """Reshape that merges neighbouring axes; two axes that both hold candidates stay apart."""
    value = any_value(b, 2)
    if value is None:
        return
    first = b.below(value.rank - 1)
    last = first + 1 + b.below(value.rank - first - 1)
    merged = value.shape[first : last + 1]
    if sum(s.wide for s in merged) > 1:
        return
    whole = Size(int(np.prod([s.n for s in merged])), any(s.wide for s in merged))
    _reshape(b, value, (*value.shape[:first], whole, *value.shape[last + 1 :]))


def part(b: Builder) -> None:
    """Reshape that takes an axis apart: any two factors, the candidates in front, in the middle or behind."""
    value = any_value(b)
    if value is None or value.rank >= MAX_RANK:
        return
    axis = b.below(value.rank)
    size = value.shape[axis]
    factor = b.pick([f for f in range(1, size.n + 1) if size.n % f == 0])
    pair = [Size(factor), Size(size.n // factor)]
    if size.wide:
        place = b.below(2)
        pair[place] = Size(pair[place].n, True)
    _reshape(b, value, (*value.shape[:axis], *pair, *value.shape[axis + 1 :]))


def relay(b: Builder) -> None:
    """Reshape to another order of the same sizes: tears axes apart without moving an entry."""
    value = any_value(b, 2)
    if value is not None:
        order = sorted(range(value.rank), key=lambda k: (b.below(4), k))
        _reshape(b, value, tuple(value.shape[k] for k in order))


def _reshape(b: Builder, value: Value, shape: tuple[Size, ...]) -> None:
    b.node("Reshape", [value, b.sizes(shape, value)], replace(value, shape=shape))


def flatten(b: Builder) -> None:
    value = any_value(b, 2, ("float",))
    if value is None:
        return
    axis = b.below(value.rank + 1)
    halves = value.shape[:axis], value.shape[axis:]
    if any(sum(s.wide for s in half) > 1 for half in halves):
        return
    shape = tuple(Size(int(np.prod([s.n for s in half])), any(s.wide for s in half)) for half in halves)
    b.node("Flatten", [value], replace(value, shape=shape), axis=axis)


def unsqueeze(b: Builder) -> None:
    value = any_value(b, 1, ("float", "int", "bool"))
    if value is None or value.rank >= MAX_RANK:
        return
    axis = b.below(value.rank + 1)
    shape = (*value.shape[:axis], ONE, *value.shape[axis:])
    b.axes_node("Unsqueeze", value, [axis - len(shape) if b.chance() else axis], replace(value, shape=shape))


def squeeze(b: Builder) -> None:
    value = b.find(lambda v: ONE in v.shape and v.rank > 1)
    if value is None:
        return
    ones = [k for k, s in enumerate(value.shape) if s == ONE]
    if b.chance() and b.setting.batch != 1:
        # Left to itself, the node also removes the candidate axis where there is one candidate.
        b.breaks_at_one |= bool(value.axes(True))
        b.node("Squeeze", [value], replace(value, shape=tuple(s for s in value.shape if s != ONE)))
        return
    axis = b.pick(ones)
    b.axes_node("Squeeze", value, [axis], replace(value, shape=value.shape[:axis] + value.shape[axis + 1 :]))


# -- cutting and joining -----------------------------------------------------------------------------------------------


def concat(b: Builder) -> None:
    value = any_value(b)
    if value is None:
        return
    axis = b.below(value.rank)
    others = [
        v
        for v in b.values
        if v.kind == value.kind
        and v.rank == value.rank
        and all(k == axis or s == value.shape[k] for k, s in enumerate(v.shape))
        and v.shape[axis].wide == value.shape[axis].wide
    ]
    parts = [value, *(b.pick(others) for _ in range(1 + b.below(2)))]
    if value.kind == "float" and not value.shape[axis].wide and b.setting.batch is not None and b.chance():
        parts.append(b.weight(value.shape))
    total = Size(sum(p.shape[axis].n for p in parts), value.shape[axis].wide)
    if total.n > 12:
        return
    shape = (*value.shape[:axis], total, *value.shape[axis + 1 :])
    exact, bound = all(p.exact for p in parts), max(p.bound for p in parts)
    like = replace(value, shape=shape, exact=exact, bound=bound)
    b.node("Concat", parts, like, axis=axis - value.rank if b.chance() else axis)


def cut(b: Builder) -> None:
    value = any_value(b)
    if value is None:
        return
    axis = b.below(value.rank)
    size = value.shape[axis]
    if size.wide:
        whole = (0, b.pick([FULL_END, 2**31 - 1, 10**9]), 1, size)
        start, end, step, left = b.pick([whole, whole, (FULL_END, -FULL_END, -1, size), (0, 1, 1, ONE)])
    else:
        start = b.below(size.n)
        end = start + 1 + b.below(size.n - start)
        step, left = 1, Size(end - start)
        if end == size.n and b.chance():
            end = FULL_END
    bounds = [b.integers(v) for v in (start, end, axis - value.rank if b.chance() else axis, step)]
    shape = (*value.shape[:axis], left, *value.shape[axis + 1 :])
    b.node("Slice", [value, *bounds], replace(value, shape=shape))


def split(b: Builder) -> None:
    value = any_value(b, 1, ("float",))
    if value is None:
        return
    axis = b.below(value.rank)
    size = value.shape[axis]
    if size.wide or size.n < 2 or b.setting.opset < 13:
        return
    front = 1 + b.below(size.n - 1)
    sizes = (front, size.n - front)
    names = b.raw("Split", [value.name, b.integers(*sizes)], 2, axis=axis)
    for name, n in zip(names, sizes, strict=True):
        b.values.append(replace(value, name=name, shape=(*value.shape[:axis], Size(n), *value.shape[axis + 1 :])))


def columns(b: Builder) -> None:
    """Gather of some columns, or of a candidate."""
    value = any_value(b)
    if value is None:
        return
    axis = b.below(value.rank)
    size = value.shape[axis]
    scalar = b.chance()
    count = 1 if scalar or size.wide else 1 + b.below(3)
    picked = [0 if size.wide else b.below(size.n) for _ in range(count)]
    indices = b.constant(np.array(picked[0] if scalar else picked, np.int64), "c")
    middle = () if scalar else (Size(count),)
    shape = (*value.shape[:axis], *middle, *value.shape[axis + 1 :])
    b.node("Gather", [value, indices], replace(value, shape=shape), axis=axis)


def pad(b: Builder) -> None:
    value = b.float_value(1)
    if value is None:
        return
    pads = [0 if s.wide else b.below(2) for s in value.shape] * 2
    shape = tuple(s if s.wide else Size(s.n + 2 * p) for s, p in zip(value.shape, pads, strict=False))
    b.node("Pad", [value, b.integers(*pads)], replace(value, shape=shape), mode="constant")


# -- repeating ---------------------------------------------------------------------------------------------------------


def expand(b: Builder) -> None:
    """Repeats along axes of size 1: for each candidate, or a few times."""
    value = b.find(lambda v: v.kind == "float" and v.rank < MAX_RANK)
    if value is None:
        return
    shape = [b.pick([B, Size(2)]) if s == ONE and b.chance() else s for s in value.shape]
    if b.chance(3):
        shape = [b.pick([ONE, Size(2), B]), *shape]
    if sum(s.wide for s in shape) > 1:
        return
    target = [s if s.wide or b.chance() else ONE for s in shape]
    if broadcast(b, target, value.shape) != tuple(shape):
        target = shape
    b.node("Expand", [value, b.sizes(target)], replace(value, shape=tuple(shape)))


def tile(b: Builder) -> None:
    value = b.find(lambda v: v.kind == "float" and v.rank >= 1)
    if value is None:
        return
    repeats = [ONE if b.chance() else Size(2) for _ in value.shape]
    if not value.axes(True) and b.chance():
        repeats[b.below(value.rank)] = B
    if any(r.n * s.n > 12 for r, s in zip(repeats, value.shape, strict=True)):
        return
    shape = tuple(Size(s.n * r.n, s.wide or r.wide) for s, r in zip(value.shape, repeats, strict=True))
    b.node("Tile", [value, b.sizes(repeats)], replace(value, shape=shape))


def constant_of_shape(b: Builder) -> None:
    shape = [B, *(Size(1 + b.below(3)) for _ in range(b.below(2)))]
    shape = shape[::-1] if b.chance(3) else shape
    fill = helper.make_tensor("fill", TensorProto.FLOAT, [1], [float(b.below(3))])
    b.node("ConstantOfShape", [b.sizes(shape)], Value("", tuple(shape), bound=3.0), value=fill)


def numbers(b: Builder) -> None:
    """The numbers of the candidates."""
    limit = b.raw("ReduceMax", [b.batch_size()], keepdims=0)[0]
    ends = [b.constant(np.array(v, np.int64), "c") for v in (0, 1)]
    counted = b.raw("Range", [ends[0], limit, ends[1]])[0]
    b.node("Cast", [counted], Value("", (B,), bound=8.0), to=TensorProto.FLOAT)


def count_of_candidates(b: Builder) -> None:
    """A size used as a number."""
    value = b.float_value()
    if value is not None:
        count = b.raw("Cast", [b.batch_size()], to=TensorProto.FLOAT)[0]
        like = replace(value, shape=value.shape or (ONE,), bound=value.bound * 8)
        b.node("Mul", [b.tamed(value), count], like)


# -- looking up --------------------------------------------------------------------------------------------------------


def embed(b: Builder) -> None:
    ids = b.find(lambda v: v.kind == "int" and v.rank < MAX_RANK)
    if ids is None:
        return
    n = 1 + b.below(4)
    table = b.weight([VOCABULARY, n])
    b.node("Gather", [table, ids], Value("", (*ids.shape, Size(n)), bound=2.0), axis=0)


def stacked_lookup(b: Builder) -> None:
    """Ids of several fields side by side, offsets, one table."""
    ids = b.find(lambda v: v.kind == "int" and v.rank == 2 and not v.shape[1].wide)
    if ids is None:
        return
    other = b.find(lambda v: v.kind == "int" and v.rank == 2 and v.shape[0] == ids.shape[0] and not v.shape[1].wide)
    assert other is not None
    total = ids.shape[1].n + other.shape[1].n
    stacked = b.raw("Concat", [ids.name, other.name], axis=1)[0]
    offsets = b.integers(*(VOCABULARY * k for k in range(total)))
    moved = b.raw("Add", [stacked, offsets])[0]
    table = b.weight([VOCABULARY * total, 2])
    b.node("Gather", [table, moved], Value("", (ids.shape[0], Size(total), Size(2)), bound=2.0), axis=0)


def one_hot(b: Builder) -> None:
    ids = b.find(lambda v: v.kind == "int" and 0 < v.rank < MAX_RANK)
    if ids is None:
        return
    depth = b.constant(np.array(VOCABULARY, np.int64), "c")
    ends = b.constant(np.array([0, 1], np.float32), "c")
    axis = b.below(ids.rank + 1)
    shape = (*ids.shape[:axis], Size(VOCABULARY), *ids.shape[axis:])
    b.node("OneHot", [ids, depth, ends], Value("", shape, bound=1.0), axis=axis)


def gather_elements(b: Builder) -> None:
    """Ids pick from an axis with as many entries as there are ids."""
    ids = b.find(lambda v: v.kind == "int" and v.rank >= 1)
    if ids is None:
        return
    axis = b.below(ids.rank)
    if ids.shape[axis].wide:
        return
    shape = tuple(Size(VOCABULARY) if k == axis else s for k, s in enumerate(ids.shape))
    found = b.find(lambda v: v.kind == "float" and v.shape == shape)
    if found is None:
        narrow = tuple(ONE if s.wide else s for s in shape)
        found = b.node("Expand", [b.weight(narrow), b.sizes(shape)], Value("", shape, bound=2.0))
    b.node("GatherElements", [found, ids], replace(found, shape=ids.shape), axis=axis)


def own_table(b: Builder) -> None:
    """A table made by the graph itself, which may be another one for each candidate."""
    ids = b.find(lambda v: v.kind == "int" and v.rank <= 2)
    table = b.find(lambda v: v.kind == "float" and 1 <= v.rank <= 2 and Size(VOCABULARY) in v.shape)
    if ids is None:
        return
    if table is None:
        row = b.find(lambda v: v.kind == "float" and v.rank == 2 and v.shape[1] == ONE)
        table = b.weight([VOCABULARY, 2])
        if row is not None:
            target = (row.shape[0], Size(VOCABULARY))
            table = b.node("Add", [row, b.weight([VOCABULARY])], replace(row, shape=target, bound=row.bound + 2))
    axis = table.shape.index(Size(VOCABULARY))
    shape = (*table.shape[:axis], *ids.shape, *table.shape[axis + 1 :])
    b.node("Gather", [table, ids], replace(table, shape=shape), axis=axis)


def one_branch(b: Builder) -> None:
    """An If whose branches capture a value."""
    value = b.float_value(1)
    if value is None or not b.chance(4):
        return
    condition = b.constant(np.array(b.chance()), "c")
    inside = [onnx.ValueInfoProto(name=b.name("inside")) for _ in range(2)]
    branches = [
        helper.make_graph([helper.make_node(op, [value.name], [out.name])], out.name, [], [out])
        for op, out in zip(("Neg", "Relu"), inside, strict=True)
    ]
    b.node("If", [condition], value, then_branch=branches[0], else_branch=branches[1])


LAYOUT: list[Block] = [transpose, transpose, merge, merge, part, relay, flatten, unsqueeze, squeeze]
JOINING: list[Block] = [concat, concat, cut, cut, split, columns, pad]
REPEATING: list[Block] = [expand, expand, tile, constant_of_shape, numbers, count_of_candidates]
LOOKUPS: list[Block] = [embed, embed, stacked_lookup, one_hot, own_table, gather_elements]
SUBGRAPHS: list[Block] = [one_branch]

FAMILIES: list[list[Block]] = [
    ELEMENTWISE,
    ELEMENTWISE,
    MASKS,
    ALONG_AXES,
    PRODUCTS,
    PRODUCTS,
    LAYOUT,
    LAYOUT,
    JOINING,
    JOINING,
    REPEATING,
    LOOKUPS,
    SUBGRAPHS,
]
