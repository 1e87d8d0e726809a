"""What operators demand of their inputs: one table, operator -> function that records into the constraints.

Lookups bound their indices by the size of what they look into; comparisons reveal lengths and padding masks; encoders
name the keys that they know. An operator that is not in the table demands nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from mari_onnx.verification.constraints import Constraints
from mari_onnx.verification.source import Array
from mari_onnx.verification.traces import CONSTANT, Trace, Value

Demand = Callable[[onnx.NodeProto, Sequence[Value], Constraints], None]

MOST_TRIPS = 4  # of a Loop whose trip count is an input


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute, or the default."""
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def _axis_size(node: onnx.NodeProto, data: Value, default: int = 0) -> int | None:
    axis = attribute(node, "axis", default)
    if data.shape is None or not -len(data.shape) <= axis < len(data.shape):
        return None
    return int(data.shape[axis])


def _gather(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
    data, indices = inputs[0], inputs[1]
    rows = _axis_size(node, data)
    if rows and indices.trace is not None:
        found.table_rows(indices.trace, rows)


def _last_axis_lookup(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
    data, indices = inputs[0], inputs[1]
    if data.shape and indices.trace is not None:
        found.table_rows(indices.trace, data.shape[-1])


def _nd_lookup(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
    """GatherND, ScatterND: the k-th number of an index tuple selects on axis batch_dims + k."""
    data, indices = inputs[0], inputs[1]
    if indices.trace is None or not indices.shape or data.shape is None:
        return
    first = attribute(node, "batch_dims", 0)
    sizes = np.array(data.shape[first : first + indices.shape[-1]])
    if sizes.size == indices.shape[-1]:
        found.table_rows(indices.trace, np.broadcast_to(sizes, indices.shape).ravel())


def _one_hot(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
    indices, depth = inputs[0], inputs[1].const
    if indices.trace is not None and depth is not None:
        found.table_rows(indices.trace, int(depth.ravel()[0]))


def _lengths(slot: int, data_axis: Callable[[onnx.NodeProto], int]) -> Demand:
    """The input at `slot` holds sequence lengths of the first input."""

    def record(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
        data = inputs[0]
        if len(inputs) <= slot or (trace := inputs[slot].trace) is None or data.shape is None:
            return
        found.within(trace, 1, data.shape[data_axis(node)])

    return record


def _trip_count(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
    if inputs[0].trace is not None:
        found.within(inputs[0].trace, 1, MOST_TRIPS)


def _keys(*names: str) -> Demand:
    def record(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
        trace = inputs[0].trace
        keys = next((value for name in names if (value := attribute(node, name)) is not None), None)
        if trace is None or keys is None:
            return
        if isinstance(keys, onnx.TensorProto):
            keys = onnx.numpy_helper.to_array(keys)
        values = [key.decode() if isinstance(key, bytes) else key for key in np.asarray(keys).ravel().tolist()]
        if values:
            found.keyed(trace, np.array(values))

    return record


_MIRRORED = {"Less": "Greater", "LessOrEqual": "GreaterOrEqual", "Greater": "Less", "GreaterOrEqual": "LessOrEqual"}


def _sides(inputs: Sequence[Value]) -> tuple[Trace, Array, bool] | None:
    """A comparison of traced elements with constants, both flat and broadcast; True when the constants stand left."""
    for traced, other, constant_left in ((inputs[0], inputs[1], False), (inputs[1], inputs[0], True)):
        if traced.trace is None or traced.shape is None or other.const is None:
            continue
        shape = np.broadcast_shapes(traced.shape, other.const.shape)
        return traced.trace.spread(traced.shape, shape), np.broadcast_to(other.const, shape).ravel(), constant_left
    return None


def _equal(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
    sides = _sides(inputs)
    if sides is None:
        return
    trace, constants, _ = sides
    if constants.dtype.kind not in "biuf":
        found.keyed(trace, np.unique(constants.astype(str)))
        return
    constants = constants.astype(np.float64)
    single, low, high = _spans(trace, constants)
    _record_spans(trace, constants, (single, low, high), found)


def _compared(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
    """`position < length` over consecutive positions bounds a length; a lone constant is a mask or a threshold."""
    sides = _sides(inputs)
    if sides is None or sides[1].dtype.kind not in "biuf":
        return
    trace, constants, constant_left = sides
    constants = constants.astype(np.float64)
    strict, shift = _strictness(node.op_type, constant_left)
    single, low, high = _spans(trace, constants)
    step = 1.0 if strict else 0.0
    _record_spans(trace, constants + shift, (single, low + step, high + step), found)


def _record_spans(trace: Trace, padding: Array, spans: tuple[Array, Array, Array], found: Constraints) -> None:
    """A lone constant marks padding, a run of them is a range, anything else only a place where something happens."""
    single, low, high = spans
    several = ~single & np.isfinite(low)
    found.within(trace.take(np.flatnonzero(several)), low[several], high[several])
    found.padded(trace.take(np.flatnonzero(single)), padding[single])
    rest = ~single & ~several
    found.near(trace.take(np.flatnonzero(rest)), padding[rest])


def _strictness(op_type: str, constant_left: bool) -> tuple[bool, int]:
    """(whether the boundary is `constant < element`, shift from the constant to the padding value)."""
    as_left = op_type if constant_left else _MIRRORED[op_type]
    # constant < x, and its complement constant >= x, share the boundary "x > constant"; the others "x >= constant".
    boundary_strict = as_left in ("Less", "GreaterOrEqual")
    return boundary_strict, 0 if boundary_strict else -1


def _spans(trace: Trace, constants: Array) -> tuple[Array, Array, Array]:
    """Per element: is it compared with one constant only; else the first and last of a run of consecutive integers.

    The run is NaN where the constants are not consecutive integers (bucket boundaries, say), or the element is none.
    """
    count = constants.size
    low, high = np.full(count, np.nan), np.full(count, np.nan)
    single = np.zeros(count, dtype=bool)
    live = np.flatnonzero((trace.source != CONSTANT) & np.isfinite(constants))
    if not live.size:
        return single, low, high
    # One input element may meet the constants at several offsets; each is a comparison of its own.
    keys = np.stack([trace.source[live], trace.offset[live]])
    member = np.unique(keys, axis=1, return_inverse=True)[1].ravel()
    pairs = np.unique(np.stack([member, constants[live]]), axis=1)
    counts = np.bincount(pairs[0].astype(np.int64))
    ends = np.searchsorted(pairs[0], np.arange(counts.size), side="right") - 1
    first, last = pairs[1, ends - counts + 1], pairs[1, ends]
    consecutive = (counts > 1) & (last - first == counts - 1) & (first == np.floor(first))
    single[live] = counts[member] == 1
    low[live] = np.where(consecutive, first, np.nan)[member]
    high[live] = np.where(consecutive, last, np.nan)[member]
    return single, low, high


def _truth(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
    """Cast to bool: zero means padding."""
    if inputs[0].trace is not None and attribute(node, "to") == onnx.TensorProto.BOOL:
        found.padded(inputs[0].trace, 0.0)


def _limits(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
    """Clip to [0, 1] makes a mask of ids; any other finite end is worth passing."""
    trace = inputs[0].trace
    if trace is None:
        return
    low, high = (clip_end(node, inputs, slot) for slot in (1, 2))
    if (low, high) == (0, 1):
        found.padded(trace, 0.0)
    elif np.isfinite(high):
        found.near(trace, 2 * high)


def clip_end(node: onnx.NodeProto, inputs: Sequence[Value], slot: int) -> float:
    """The lower (slot 1) or upper (slot 2) end of a Clip of any opset; infinite when absent or not constant."""
    const = inputs[slot].const if len(inputs) > slot else None
    if const is not None and const.size == 1:
        return float(const.ravel()[0])
    value = attribute(node, "min" if slot == 1 else "max")
    return float(value) if value is not None else (-np.inf if slot == 1 else np.inf)


def _divided(node: onnx.NodeProto, inputs: Sequence[Value], found: Constraints) -> None:
    """A count divided by a constant is worth drawing beyond that constant."""
    trace, divisor = inputs[0].trace, inputs[1].const
    if trace is not None and divisor is not None and divisor.size == 1:
        found.near(trace, 4 * abs(float(divisor.ravel()[0])))


DEMANDS: dict[str, Demand] = {
    "Gather": _gather,
    "GatherElements": _gather,
    "ScatterElements": _gather,
    "Scatter": _gather,
    "ArrayFeatureExtractor": _last_axis_lookup,
    "GatherND": _nd_lookup,
    "ScatterND": _nd_lookup,
    "OneHot": _one_hot,
    "ReverseSequence": _lengths(1, lambda node: attribute(node, "time_axis", 0)),
    "RNN": _lengths(4, lambda node: attribute(node, "layout", 0)),
    "GRU": _lengths(4, lambda node: attribute(node, "layout", 0)),
    "LSTM": _lengths(4, lambda node: attribute(node, "layout", 0)),
    "Loop": _trip_count,
    "Equal": _equal,
    "Less": _compared,
    "LessOrEqual": _compared,
    "Greater": _compared,
    "GreaterOrEqual": _compared,
    "Cast": _truth,
    "Clip": _limits,
    "Div": _divided,
    "LabelEncoder": _keys("keys_tensor", "keys_strings", "keys_int64s", "keys_floats", "classes_strings"),
    "CategoryMapper": _keys("cats_strings", "cats_int64s"),
    "OneHotEncoder": _keys("cats_strings", "cats_int64s"),
    "StringNormalizer": _keys("stopwords"),
    "TfIdfVectorizer": _keys("pool_strings", "pool_int64s"),
}
