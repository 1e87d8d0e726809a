"""Building blocks with loops: over the rows of the request, as exporters write bags of embeddings, and over steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.soundness.blocks import Block
from tests.soundness.generate import LIMIT, VOCABULARY, B, Builder, Size, Value

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


def _typed(name: str, dtype: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def recurrence(b: Builder) -> None:
    """A Loop or a Scan over the steps of a sequence, written as frameworks write their recurrent layers.

    Steps, the state and what the body reads besides may each be of the user, of the items or of both. Now and then a
    step mixes the candidates, and nothing can be proven of it.
    """
    steps = b.find(lambda v: v.kind == "float" and v.rank == 3 and v.shape[0] == B and not v.shape[2].wide)
    state = b.find(lambda v: v.kind == "float" and v.rank == 2 and v.shape[0] == B and not v.shape[1].wide)
    if steps is None or state is None or steps.shape[1].wide:
        return
    steps, state = b.tamed(steps), b.tamed(state)
    besides = b.find(lambda v: v.kind == "float" and v.shape == state.shape and v.bound <= LIMIT)
    count, width, body = steps.shape[1].n, steps.shape[2].n, _Body(b)
    old, typed = b.name("state"), [b.setting.batch or "N", state.shape[1].n]
    in_loop = b.chance()
    index, part = b.name("step"), b.name("part")
    own = body.add("Gather", steps.name, index, axis=1) if in_loop else part
    new = body.add("Add", old, body.add("MatMul", own, b.weight([width, state.shape[1]]).name))
    if besides is not None and b.chance():
        new = body.add(b.pick(["Add", "Mul"]), new, besides.name)
    if b.chance(8):
        new = body.add("Add", new, body.on_axes("ReduceSum", new, 0, 13, keepdims=1))
    new = body.add("Tanh", new)
    stack = body.add("Identity", old if b.chance(4) else new)
    given, made = [_typed(old, TensorProto.FLOAT, typed)], [_typed(v, TensorProto.FLOAT, typed) for v in (new, stack)]
    if in_loop:
        going, yes = b.name("going"), b.constant(np.array(True), "c")
        given = [_typed(index, TensorProto.INT64, []), _typed(going, TensorProto.BOOL, []), *given]
        made = [_typed(body.add("Identity", going), TensorProto.BOOL, []), *made]
        graph = helper.make_graph(body.nodes, b.name("body"), given, made)
        last, every = b.raw("Loop", [b.constant(np.array(count), "c"), yes, state.name], outputs=2, body=graph)
    else:
        given.append(_typed(part, TensorProto.FLOAT, [typed[0], width]))
        graph = helper.make_graph(body.nodes, b.name("body"), given, made)
        along = {"num_scan_inputs": 1, "scan_input_axes": [1]}
        last, every = b.raw("Scan", [state.name, steps.name], outputs=2, body=graph, **along)
    b.values.append(Value(last, state.shape, exact=False, bound=1.0))
    if b.chance():
        every = b.raw("Transpose", [every], perm=[1, 0, 2])[0]
        bound = max(state.bound, 1.0)
        b.values.append(Value(every, (B, Size(count), state.shape[1]), exact=False, bound=bound))


LOOPS: list[Block] = [bags, recurrence]
