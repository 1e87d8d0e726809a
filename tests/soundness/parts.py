"""What building blocks of random models put together: rows and fields of each side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tests.soundness.generate import ONE, VOCABULARY, B, Builder, Size, Value

WIDTH = 3
"""Of every field."""


def row_of(b: Builder, user: bool) -> Value | None:
    """Numbers of one side side by side, of whatever input has the candidates in front."""
    given = [i.value for i in b.inputs if i.user == user and i.columns is None and i.value.shape[0] == B]
    if not given:
        return None
    value = b.pick(given)
    if value.kind == "int":
        width = 1 + b.below(2)
        table = b.weight([VOCABULARY, width])
        value = b.node("Gather", [table, value], Value("", (*value.shape, Size(width)), bound=2.0), axis=0)
    if value.rank == 1:
        return b.axes_node("Unsqueeze", value, [1 if b.chance() else -1], replace(value, shape=(B, ONE)))
    width = int(np.prod([s.n for s in value.shape[1:]]))
    if value.rank > 2:
        value = b.node("Flatten", [value], replace(value, shape=(B, Size(width))), axis=1)
    return value


def product(b: Builder, value: Value, width: int, bias: bool = False) -> Value:
    """A layer of one side, whose numbers stay small integers."""
    value = b.tamed(value)
    weight = b.weight([value.shape[-1], width])
    like = replace(value, shape=(*value.shape[:-1], Size(width)), bound=value.bound * 2 * value.shape[-1].n + 2)
    if value.rank == 2 and b.chance():
        return b.node("Gemm", [value, weight, b.weight([width])] if bias else [value, weight], like)
    made = b.node("MatMul", [value, weight], like)
    return b.node("Add", [made, b.weight([width])], like) if bias else made


def fields_of(b: Builder, user: bool, count: int, squashed: bool = False) -> Value | None:
    """Vectors of one side: ``[B, count, WIDTH]``, of any size or between -1 and 1."""
    row = row_of(b, user)
    if row is None:
        return None
    flat = product(b, row, count * WIDTH)
    flat = between(b, flat) if squashed else b.tamed(flat)
    return b.node("Reshape", [flat, b.integers(0, count, WIDTH)], replace(flat, shape=(B, Size(count), Size(WIDTH))))


def sides_drawn(b: Builder) -> Sequence[bool]:
    """Which side each of several parts is of: both occur, now and then scattered."""
    return b.pick([[True, False], [True, True, False], [False, True], [True, False, True], [False, True, False]])


def joined(b: Builder, parts: Sequence[Value], axis: int) -> Value:
    total = Size(sum(p.shape[axis].n for p in parts))
    shape = (*parts[0].shape[:axis], total, *parts[0].shape[axis + 1 :])
    like = replace(parts[0], shape=shape, exact=all(p.exact for p in parts), bound=max(p.bound for p in parts))
    return b.node("Concat", parts, like, axis=axis - len(shape) if b.chance() else axis)


def between(b: Builder, value: Value) -> Value:
    """The value between -1 and 1."""
    return b.node("Tanh", [value], replace(value, exact=False, bound=1.0))


def fields(b: Builder, squashed: bool = False) -> Value | None:
    """Vectors of both sides: ``[B, n, WIDTH]``."""
    made = [fields_of(b, user, 1 + b.below(3), squashed) for user in sides_drawn(b)]
    parts = [m for m in made if m is not None]
    return joined(b, parts, 1) if len(parts) == len(made) else None
