"""Building blocks with loops over the rows of the request, as exporters write bags of embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.soundness.blocks import Block
from tests.soundness.generate import VOCABULARY, B, Builder, Size, Value

FAR = 2**63 - 1
WIDTH = 3
"""Of the rows of a table."""


@dataclass
class _Body:
    """The nodes of a loop's body."""

    b: Builder
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def add(self, op: str, *inputs: str, **attrs: Any) -> str:
        name = self.b.name(f"body_{op.lower()}")
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attrs))
        return name

    def on_axes(self, op: str, value: str, axis: int, since: int, **attrs: Any) -> str:
        if self.b.setting.opset >= since:
            return self.add(op, value, self.b.integers(axis), **attrs)
        return self.add(op, value, axes=[axis], **attrs)


def bags(b: Builder) -> None:
    """Cuts a row, or a part of it, out of all rows laid end to end, looks it up, and pools it."""
    rows = b.find(lambda v: v.kind in ("int", "float") and v.rank == 2 and v.shape[0] == B and not v.shape[1].wide)
    if rows is None or rows.bound > 50:
        return
    width = rows.shape[1].n
    size = b.pick([width, width, b.pick([d for d in range(1, width + 1) if width % d == 0])])
    flat = b.raw("Reshape", [rows.name, b.integers(-1)])[0]
    length = b.raw("Shape", [flat])[0]
    zero = b.constant(np.array(0), "c")
    total = b.raw("Gather", [length, zero], axis=0)[0]
    starts = b.raw("Range", [zero, total, b.constant(np.array(size), "c")])[0]
    bounds = b.raw("Concat", [starts, length], axis=0)[0]
    ends = b.raw("Slice", [bounds, b.integers(1), b.integers(FAR), b.integers(0)])[0]
    count = b.raw("Gather", [b.raw("Shape", [ends])[0], zero], axis=0)[0]

    step, body = b.name("step"), _Body(b)
    start = body.on_axes("Unsqueeze", body.add("Gather", bounds, step, axis=0), 0, 13)
    end = body.on_axes("Unsqueeze", body.add("Gather", ends, step, axis=0), 0, 13)
    own = body.add("Slice", flat, start, b.integers(FAR) if b.chance(6) else end, b.integers(0))
    found, keep = _looked_up(b, body, own, rows.kind), b.below(2)
    pooled = _pooled(b, body, found, keep)
    inner = ([1] if keep else []) + ([WIDTH] if rows.kind == "int" else [])
    result = _looped(b, body, step, count, pooled, inner)
    shape = (Size(width // size, True), *(Size(n) for n in inner))
    b.values.append(Value(b.raw("Tanh", [result])[0], shape, exact=False, bound=1.0))


def _looked_up(b: Builder, body: _Body, own: str, kind: str) -> str:
    found = body.add("Gather", b.weight([VOCABULARY, WIDTH]).name, own, axis=0) if kind == "int" else own
    choice = b.below(4)
    if choice == 0:
        return body.add("Tanh", found)
    if choice == 1:
        return body.add("Mul", found, b.weight([WIDTH] if kind == "int" else []).name)
    return body.add("Add", found, found) if choice == 2 else found


def _pooled(b: Builder, body: _Body, found: str, keep: int) -> str:
    op = b.pick(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"])
    return body.on_axes(op, found, 0, 13 if op == "ReduceSum" else 18, keepdims=keep)


def _looped(b: Builder, body: _Body, step: str, count: str, pooled: str, inner: list[int]) -> str:
    """The loop around the body; now and then it carries what it has made so far, and has to stay."""
    going, carried = b.name("going"), b.name("carried")
    yes = b.constant(np.array(True), "c")
    given = [_typed(step, TensorProto.INT64, []), _typed(going, TensorProto.BOOL, [])]
    made = [_typed(body.add("Identity", yes), TensorProto.BOOL, [])]
    inputs = [count, yes]
    running = b.chance(6)
    if running:
        inputs.append(b.weight(inner).name)
        given.append(_typed(carried, TensorProto.FLOAT, inner))
        pooled = body.add("Max", carried, pooled)
        made.append(_typed(body.add("Identity", pooled), TensorProto.FLOAT, inner))
    made.append(_typed(pooled, TensorProto.FLOAT, inner))
    graph = helper.make_graph(body.nodes, b.name("body"), given, made)
    return b.raw("Loop", inputs, outputs=2 if running else 1, body=graph)[-1]


def _typed(name: str, dtype: int, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


LOOPS: list[Block] = [bags]
