"""Operators that pick entries by index."""

from __future__ import annotations

from mari_onnx.analysis.transfer.call import OVER_CANDIDATES, TWO_AXES, UNKNOWN_RANK, Call, Claim, Table


def gather(call: Call) -> Claim:
    data, indices = call.fact(0), call.fact(1)
    if data.rank is None or indices.rank is None:
        return call.opaque(UNKNOWN_RANK)
    along = call.positive(int(call.attr("axis", 0)))
    if data.axis is not None and indices.axis is not None:
        return call.opaque("each candidate looks into a table of its own")
    if indices.axis is not None:
        return call.moved(indices.axis.at(indices.axis.index + along))
    if data.axis is not None and data.axis.index == along and _is_first(call):
        return call.moved(None)
    if data.axis is None or data.axis.index == along:
        return call.opaque("picks certain candidates")
    shift = 0 if data.axis.index < along else indices.rank - 1
    return call.moved(data.axis.at(data.axis.index + shift))


def _is_first(call: Call) -> bool:
    """Whether the first of candidates is picked that are all the same: a single one is it as well."""
    data, numbers = call.fact(0), call.integers(1)
    return data.is_user and data.axis is not None and data.axis.is_whole and bool(numbers) and set(numbers or ()) == {0}


def gather_elements(call: Call) -> Claim:
    data, indices = call.fact(0), call.fact(1)
    if data.axis is None or data.axis != indices.axis or data.rank is None:
        return call.opaque(TWO_AXES)
    if call.positive(int(call.attr("axis", 0))) == data.axis.index:
        return call.opaque("picks certain candidates")
    return call.moved(data.axis)


def gather_nd(call: Call) -> Claim:
    data, indices, batched = call.fact(0), call.fact(1), int(call.attr("batch_dims", 0))
    if data.axis is not None:
        if data.axis == indices.axis and data.axis.index < batched:
            return call.moved(data.axis)
        taken = indices.shape[-1] if indices.shape else None
        if indices.axis is None and isinstance(taken, int) and data.axis.index >= batched + taken:
            return call.moved(data.axis.at(data.axis.index - batched - taken + len(indices.shape or ()) - 1))
        return call.opaque("picks certain candidates")
    if indices.axis is None or indices.rank is None or indices.axis.index == indices.rank - 1 or batched:
        return call.opaque(OVER_CANDIDATES)
    return call.moved(indices.axis)


def scatter_elements(call: Call) -> Claim:
    axis = call.axis(0)
    if axis is None or any(call.axis(i) != axis for i in (1, 2)) or call.fact(0).rank is None:
        return call.opaque(TWO_AXES)
    if call.positive(int(call.attr("axis", 0))) == axis.index:
        return call.opaque("writes to certain candidates")
    return call.moved(axis)


def compress(call: Call) -> Claim:
    """Keeps entries of one axis; without an axis, of the tensor laid out as one row."""
    axis, along = call.axis(0), call.attr("axis", None)
    if axis is None or along is None or call.positive(int(along)) == axis.index:
        return call.opaque("picks certain candidates")
    return call.only([0], "a condition") or call.moved(axis)


def one_hot(call: Call) -> Claim:
    indices = call.fact(0)
    if indices.axis is None or indices.rank is None:
        return call.opaque("its depth or values have a candidate axis")
    added = call.positive(int(call.attr("axis", -1)), indices.rank + 1)
    shift = int(added <= indices.axis.index)
    return call.only([0], "a depth or value") or call.moved(indices.axis.at(indices.axis.index + shift))


def reverse_sequence(call: Call) -> Claim:
    axis, lengths = call.axis(0), call.axis(1)
    if axis is None or int(call.attr("time_axis", 0)) == axis.index:
        return call.opaque("reverses the candidates")
    if int(call.attr("batch_axis", 1)) == axis.index:
        if lengths is None or lengths != axis.at(0):
            return call.opaque("its lengths have no candidate axis")
    elif lengths is not None:
        return call.opaque(TWO_AXES)
    return call.moved(axis)


TABLE: Table = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
    "Compress": compress,
    "OneHot": one_hot,
    "ReverseSequence": reverse_sequence,
}
