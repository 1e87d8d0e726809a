"""How traces pass through operators: one table, operator -> transfer function.

Layout operators move elements without looking at them. So they are run, by the reference implementation of ONNX, on the
*positions* of the elements in place of the elements; that is right for each opset without a line of shape code here.
Position 0 stands for "filled in by the operator", as Pad and Trilu do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from mari_onnx.verification.demands import clip_end
from mari_onnx.verification.source import Array
from mari_onnx.verification.traces import CONSTANT, Trace, Value

TRACKED_ELEMENTS = 1 << 19  # beyond this a tensor is no longer followed

# Layout operators and the inputs that hold data; the rest are sizes, axes and indices. None: every input.
MOVED: dict[str, tuple[int, ...] | None] = {
    "Concat": None,
    "Compress": (0,),
    "DepthToSpace": (0,),
    "Expand": (0,),
    "Flatten": (0,),
    "Gather": (0,),
    "GatherElements": (0,),
    "GatherND": (0,),
    "Identity": (0,),
    "Pad": (0, 2),
    "Reshape": (0,),
    "ReverseSequence": (0,),
    "Slice": (0,),
    "SpaceToDepth": (0,),
    "Split": (0,),
    "Squeeze": (0,),
    "Tile": (0,),
    "Transpose": (0,),
    "Trilu": (0,),
    "Unsqueeze": (0,),
}


@dataclass(frozen=True)
class Step:
    """One node with what is known of its inputs, and the opsets to read it by."""

    node: onnx.NodeProto
    inputs: tuple[Value, ...]
    opsets: tuple[onnx.OperatorSetIdProto, ...]


Transfer = Callable[[Step], Trace | None]


def run_reference(step: Step, arrays: Sequence[Array | None]) -> list[Array] | None:
    """Runs one node on given input arrays; None when the reference implementation cannot."""
    graph = onnx.GraphProto(name="node")
    graph.node.append(step.node)
    feeds = {}
    for name, array in zip(step.node.input, arrays, strict=True):
        if name and name not in feeds:
            graph.input.add().name = name
            feeds[name] = array
    for name in step.node.output:
        if name:
            graph.output.add().name = name
    model = onnx.helper.make_model(graph, opset_imports=list(step.opsets))
    try:
        with np.errstate(all="ignore"):
            return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, feeds)]
    except Exception:  # an operator or type that it lacks: the walk goes on with what it knows
        return None


def moved(step: Step) -> list[Trace] | None:
    """The traces of a layout operator's outputs, or None when it is none or cannot be followed."""
    slots = MOVED.get(step.node.op_type, ())
    data = range(len(step.inputs)) if slots is None else slots
    fill = Trace.of_constant(np.zeros(1))
    pieces, first = [fill], 1
    arrays: list[Array | None] = []
    for slot, (name, value) in enumerate(zip(step.node.input, step.inputs, strict=True)):
        if not name:
            arrays.append(None)
        elif slot not in data:
            if value.const is None:
                return None
            arrays.append(value.const)
        else:
            trace = value.traced()
            if trace is None or value.shape is None:
                return None
            # Pad's fill value is a scalar input: it must arrive as one position.
            arrays.append(np.arange(first, first + trace.source.size).reshape(value.shape))
            pieces.append(trace)
            first += trace.source.size
    if not data or first > TRACKED_ELEMENTS:
        return None
    outputs = run_reference(step, arrays)
    elements = Trace.joined(pieces)
    return None if outputs is None else [elements.take(output) for output in outputs]


def _operands(step: Step) -> tuple[tuple[int, ...], list[Value]] | None:
    shapes = [value.shape for value in step.inputs]
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        return None
    try:
        return np.broadcast_shapes(*known), list(step.inputs)
    except ValueError:
        return None


def _spread(value: Value, shape: tuple[int, ...]) -> Trace | None:
    return value.trace.spread(value.shape, shape) if value.trace is not None and value.shape is not None else None


def _numbers(value: Value, shape: tuple[int, ...]) -> Array | None:
    if value.const is None or value.const.dtype.kind not in "biuf":
        return None
    return np.broadcast_to(value.const, shape).ravel().astype(np.float64)


def _with_constant(apply: Callable[[Trace, Array, bool], Trace | None]) -> Transfer:
    """A binary operator between a traced tensor and a constant; `apply` also learns if the trace stands left."""

    def transfer(step: Step) -> Trace | None:
        operands = _operands(step)
        if operands is None or len(operands[1]) != 2:
            return None
        shape, values = operands
        for left in (True, False):
            traced, other = values if left else values[::-1]
            trace, constants = _spread(traced, shape), _numbers(other, shape)
            if trace is not None and constants is not None:
                return apply(trace, constants, left)
        return None

    return transfer


def _divide(trace: Trace, divisor: Array, left: bool) -> Trace | None:
    return trace.times(1.0 / divisor) if left and divisor.all() else None


def _modulo(trace: Trace, divisor: Array, left: bool) -> Trace | None:
    """The result lies in [0, divisor), which frees the input; where it wraps does not matter here."""
    return trace.clipped(np.zeros_like(divisor), divisor - 1) if left and (divisor > 0).all() else None


def _product(step: Step) -> Trace | None:
    """An id times a 0/1 mask is that id, or a row that is valid anyway."""
    operands = _operands(step)
    if operands is None or len(step.inputs) != 2:
        return None
    for traced, other in (step.inputs, step.inputs[::-1]):
        if other.binary and other.const is None and traced.trace is not None:
            return _spread(traced, operands[0])
    return _with_constant(lambda trace, factor, _: trace.times(factor))(step)


def is_masked(values: Sequence[Value]) -> bool:
    """Whether a product of these is one of them, and 0 where a mask that is not constant says so."""
    return any(value.binary and value.const is None for value in values)


def _sum(step: Step) -> Trace | None:
    """A sum with a constant; or ``a * mask + b * (1 - mask)``, which is how a choice is written without Where."""
    operands = _operands(step)
    if operands is None or not all(value.masked for value in step.inputs):
        return _with_constant(lambda trace, term, _: trace.plus(term))(step)
    traces = [trace for value in step.inputs if (trace := _spread(value, operands[0])) is not None]
    return traces[0] if len(traces) == 1 else _either(*traces) if traces else None


def _same(step: Step) -> Trace | None:
    return step.inputs[0].trace


def _clip(step: Step) -> Trace | None:
    trace = step.inputs[0].trace
    if trace is None:
        return None
    ends = [np.full(trace.source.size, clip_end(step.node, step.inputs, slot)) for slot in (1, 2)]
    return trace.clipped(ends[0], ends[1])


def _where(step: Step) -> Trace | None:
    """Either branch: the traced one beats a constant, and of `x` and `x + n` (wrapped indices) the plain one."""
    operands = _operands(step)
    if operands is None:
        return None
    shape, (_, chosen, other) = operands
    traces = [
        trace.spread(value.shape, shape)
        for value in (chosen, other)
        if (trace := value.traced()) is not None and value.shape is not None
    ]
    if len(traces) < 2 or all((trace.source == CONSTANT).all() for trace in traces):
        return traces[0] if traces and chosen.const is None and other.const is None else None
    return _either(*traces)


def _either(one: Trace, two: Trace) -> Trace:
    same = one.source == two.source
    second = (one.source == CONSTANT) | (same & (np.abs(two.offset) < np.abs(one.offset)))
    size = one.source.size
    return Trace.joined([one, two]).take(np.arange(size) + np.where(second, size, 0))


TRANSFERS: dict[str, Transfer] = {
    "Abs": _same,
    "Add": _sum,
    "Cast": _same,
    "CastLike": _same,
    "Ceil": _same,
    "Clip": _clip,
    "Div": _with_constant(_divide),
    "Dropout": _same,
    "Floor": _same,
    "Max": _with_constant(lambda trace, low, _: trace.clipped(low, np.full_like(low, np.inf))),
    "Min": _with_constant(lambda trace, high, _: trace.clipped(np.full_like(high, -np.inf), high)),
    "Mod": _with_constant(_modulo),
    "Mul": _product,
    "Neg": lambda step: trace.times(np.full(trace.source.size, -1.0)) if (trace := _same(step)) else None,
    "Round": _same,
    "StringNormalizer": _same,
    "Sub": _with_constant(
        lambda trace, term, left: trace.plus(-term) if left else trace.times(np.full_like(term, -1.0)).plus(term)
    ),
    "Where": _where,
}
