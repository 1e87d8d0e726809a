"""What operators do for all steps of a loop at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from mari_onnx.analysis.facts import Content, Fact
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.ir.dims import Dim, difference, is_size, product, same
from mari_onnx.ir.graph import Node
from mari_onnx.steps.progressions import progression
from mari_onnx.steps.values import STEP, DependentError, Numbers, Rows, Value, Whole
from mari_onnx.steps.written import Written

Values: TypeAlias = Sequence[Value | None]
Batched: TypeAlias = Callable[[Written, Dim, Node, Values], Value]
"""The result of a node at every step, from its inputs and the number of steps."""


def elementwise(written: Written, count: Dim, node: Node, inputs: Values) -> Value:
    """Entries of a step meet entries of the same step: what all steps share has to have no more axes than they do."""
    names = [_read(node, v) for v in inputs]
    own = {len(written.shape(v.name)) - 1 for v in inputs if isinstance(v, Rows)}
    shared = [len(written.shape(v.name)) for v in inputs if isinstance(v, Whole)]
    if len(own) > 1 or max(shared, default=0) > max(own):
        raise DependentError(f"{node.where()} repeats what a step makes")
    return Rows(_mean(written, node, names) or written.call(node.op, names, node.attrs))


def _mean(written: Written, node: Node, names: Sequence[str]) -> str | None:
    """A sum divided by the number of its terms, written as the mean that it is."""
    maker = written.maker(names[0]) if node.op == "Div" else None
    divisor = written.constant(names[1]) if maker is not None and maker.op == "ReduceSum" else None
    axes = _axes(written, maker) if maker is not None else None
    if maker is None or divisor is None or axes is None or divisor.dtype.kind in "iu" or divisor.size != 1:
        return None
    terms = product([written.shape(maker.inputs[0])[a] for a in axes])
    if not isinstance(terms, int) or not np.all(divisor == terms):
        return None
    return _on_axes(written, "ReduceMean", maker.inputs[0], axes, int(maker.attrs.get("keepdims", 1)))


def reduction(written: Written, count: Dim, node: Node, inputs: Values) -> Value:
    data = _row(node, inputs[0])
    rank = len(written.shape(data)) - 1
    axes = _named_axes(written, node, inputs)
    if rank == 0 or (axes is None and node.attrs.get("noop_with_empty_axes", 0)):
        raise DependentError(f"the axes of {node.where()} are not known")
    moved = sorted(a % rank + 1 for a in (range(rank) if axes is None else axes))
    return Rows(_on_axes(written, node.op, data, moved, int(node.attrs.get("keepdims", 1))))


AXES_AS_INPUT = {"ReduceSum": 13, "Squeeze": 13, "Unsqueeze": 13}
"""Since which operator set the axes are an input; 18 for other reductions."""


def _on_axes(written: Written, op: str, data: str, axes: Sequence[int], keep: int | None = None) -> str:
    attrs: dict[str, object] = {} if keep is None else {"keepdims": keep}
    if written.graph.opset < AXES_AS_INPUT.get(op, 18):
        return written.call(op, [data], {**attrs, "axes": list(axes)})
    return written.call(op, [data, written.numbers(np.array(axes, np.int64))], attrs)


def _axes(written: Written, node: Node) -> list[int] | None:
    axes = written.constant(node.inputs[1]) if node.has_input(1) else node.attrs.get("axes")
    return None if axes is None else [int(a) for a in axes]


def _named_axes(written: Written, node: Node, inputs: Values) -> list[int] | None:
    """The axes that a node of the body names, ``None`` where it names none."""
    given = inputs[1] if len(inputs) > 1 else None
    numbers = [int(a) for a in node.attrs.get("axes", ())] if given is None else _integers(written, given)
    if numbers is None:
        raise DependentError(f"the axes of {node.where()} are not known")
    return numbers or None


def _integers(written: Written, value: Value) -> list[int] | None:
    if not isinstance(value, (Numbers, Whole)):
        return None
    known = (value.fact if isinstance(value, Numbers) else written.fact(value.name)).integers
    return None if known is None else list(known)


def layout(written: Written, count: Dim, node: Node, inputs: Values) -> Value:
    """Squeeze and Unsqueeze."""
    data, axes = _row(node, inputs[0]), _named_axes(written, node, inputs)
    if axes is None:
        raise DependentError(f"the axes of {node.where()} are not known")
    rank = len(written.shape(data)) - 1 + (len(axes) if node.op == "Unsqueeze" else 0)
    return Rows(_on_axes(written, node.op, data, sorted(a % rank + 1 for a in axes)))


def gather(written: Written, count: Dim, node: Node, inputs: Values) -> Value:
    """Looks up in a table what each step asks for, or an entry of what each step has, or the entry of the step."""
    data, indices = inputs[0], inputs[1]
    axis = int(node.attrs.get("axis", 0))
    if isinstance(data, Whole) and isinstance(indices, Rows) and axis % len(written.shape(data.name)) == 0:
        return Rows(written.call("Gather", [data.name, indices.name], {"axis": 0}))
    if isinstance(data, Rows) and isinstance(indices, Whole):
        rank = len(written.shape(data.name)) - 1
        return Rows(written.call("Gather", [data.name, indices.name], {"axis": axis % rank + 1}))
    if isinstance(data, Whole) and isinstance(indices, Numbers) and axis % len(written.shape(data.name)) == 0:
        index = indices.content.items[0] if indices.content.shape == () else None
        number = None if index is None else _listed(written, count, data.name, index)
        if number is not None:
            return Numbers(Fact(written.fact(data.name).dtype, (), content=Content((), (number,))))
        if index is not None and same(index, STEP) and same(written.shape(data.name)[0], count):
            return Rows(data.name)
    raise DependentError(f"{node.where()} picks entries in a way that is not known")


def _listed(written: Written, count: Dim, data: str, index: Dim) -> Dim | None:
    """An entry of an evenly spaced list, which has one for each step."""
    found = progression(written.graph, written.facts, data) if data in written.facts else None
    shift = difference(index, STEP)
    if found is None or not isinstance(shift, int) or shift < 0:
        return None
    left = difference(found.count, count + shift)
    return found.at(index) if is_size(left) else None


def cut(written: Written, count: Dim, node: Node, inputs: Values) -> Value:
    """The piece of a list that belongs to the step: all pieces have one size, and nothing is left."""
    data, bounds = inputs[0], [i.content.items if isinstance(i, Numbers) else () for i in inputs[1:3]]
    if not isinstance(data, Whole) or [len(b) for b in bounds] != [1, 1]:
        raise DependentError(f"{node.where()} cuts in a way that is not known")
    ((start,), (end,)), shape = bounds, written.shape(data.name)
    axes, steps = ([default] if i is None else _integers(written, i) for i, default in _optional(inputs))
    if axes not in ([0], [-len(shape)]) or steps != [1]:
        raise DependentError(f"{node.where()} cuts in a way that is not known")
    size = difference(end, start)
    if len(shape) == 1 and size == 1:
        number = _listed(written, count, data.name, start)
        if number is not None:
            return Numbers(Fact(written.fact(data.name).dtype, (1,), content=Content((1,), (number,))))
    pieces = isinstance(size, int) and size > 0 and same(start, size * STEP)
    if not pieces or not same(shape[0], size * count) or not all(isinstance(d, int) and d > 0 for d in shape[1:]):
        raise DependentError(f"{node.where()} cuts pieces of different sizes")
    target = written.numbers(np.array([-1, size, *shape[1:]], np.int64))
    return Rows(written.call("Reshape", [data.name, target], {}))


def _optional(inputs: Values) -> list[tuple[Value | None, int]]:
    """The axes and the steps of a Slice, each with what it is where it is left out."""
    axes, steps, *_ = (*inputs[3:5], None, None)
    return [(axes, 0), (steps, 1)]


def _row(node: Node, value: Value | None) -> str:
    if not isinstance(value, Rows):
        raise DependentError(f"{node.where()} works on what is not known for each step")
    return value.name


def _read(node: Node, value: Value | None) -> str:
    if not isinstance(value, (Rows, Whole)):
        raise DependentError(f"{node.where()} works on what is not known for each step")
    return value.name


BATCHED: Mapping[str, Batched] = {
    **dict.fromkeys((*UNARY, *BROADCASTING), elementwise),
    **dict.fromkeys(REDUCTIONS, reduction),
    "Squeeze": layout,
    "Unsqueeze": layout,
    "Gather": gather,
    "Slice": cut,
}
"""By operator of ai.onnx."""
