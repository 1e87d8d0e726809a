"""Operators that move or repeat entries: where the candidate axis goes, and their sizes for one candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mari_onnx.analysis.facts import CandidateAxis, Content, Shape
from mari_onnx.analysis.transfer.call import (
    OVER_CANDIDATES,
    UNKNOWN_RANK,
    Call,
    Change,
    Claim,
    Lane,
    SetAttribute,
    SetEntry,
    SetInput,
    Table,
)
from mari_onnx.analysis.transfer.layouts import follow_reshape, resolve_target
from mari_onnx.ir.dims import CANDIDATES, Dim, mentions_candidates, quotient, same
from mari_onnx.ir.orders import order_of

SIZES_UNKNOWN = "the sizes it is given could not be followed"
SIZING: dict[str, tuple[int, ...]] = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "ConstantOfShape": (0,),
    "Range": (0, 1, 2),
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 3),
    "Split": (1,),
    "TopK": (1,),
    "OneHot": (1,),
    "DFT": (1,),
}
"""Inputs whose entries decide how large an output is."""


def transpose(call: Call) -> Claim:
    axis, rank = call.axis(0), call.fact(0).rank
    if axis is None or rank is None:
        return call.opaque(UNKNOWN_RANK)
    order = order_of(call.node, rank)
    return call.moved(axis.at(order.index(axis.index)))


def reshape(call: Call) -> Claim:
    fact, axis, content = call.fact(0), call.axis(0), call.content(1)
    if call.axis(1) is not None or axis is None or fact.shape is None or fact.single_shape is None:
        return call.opaque(UNKNOWN_RANK)
    if content is None or call.shapes[0] is None:
        return call.opaque(SIZES_UNKNOWN)
    found = _followed(call, axis, call.shapes[0])
    if found is None:
        return call.opaque("the reshape tears the candidate axis apart")
    wanted = (*call.shapes[0][: found.index], found.single, *call.shapes[0][found.index + 1 :])
    allow_zero = call.attr("allowzero", 0) == 1
    changes: list[Change] = []
    entries = list(content.items)
    for index, entry in enumerate(entries):
        copied = isinstance(entry, int) and entry == 0 and not allow_zero
        left_over = isinstance(entry, int) and entry == -1
        if copied and index >= len(fact.single_shape):
            return call.opaque(SIZES_UNKNOWN)
        if left_over or same(fact.single_shape[index] if copied else entry, wanted[index]):
            continue
        changes.append(SetEntry(1, index, wanted[index]))
        entries[index] = wanted[index]
    resolved = resolve_target(fact.single_shape, entries, allow_zero)
    if resolved is None or not all(map(same, resolved, wanted)):
        return call.opaque(SIZES_UNKNOWN)
    return call.moved(found, *changes)


def flatten(call: Call) -> Claim:
    fact, axis, target = call.fact(0), call.axis(0), call.shapes[0]
    if axis is None or fact.shape is None or target is None:
        return call.opaque(UNKNOWN_RANK)
    found = _followed(call, axis, target)
    return call.moved(found) if found is not None else call.opaque("the sizes it flattens are unknown")


def _followed(call: Call, axis: CandidateAxis, target: Shape) -> CandidateAxis | None:
    """The candidate axis of the first input laid out anew, in blocks of any size where all its entries are alike."""
    shape = call.fact(0).shape or ()
    ways = dict.fromkeys((axis, axis.in_blocks, axis.by_candidate))
    return next(filter(None, (follow_reshape(shape, way, target, call.batch) for way in ways)), None)


def _given_axes(call: Call) -> tuple[int, ...] | None:
    if "axes" in call.node.attrs:
        return tuple(int(a) for a in call.node.attrs["axes"])
    return call.integers(1)


def squeeze(call: Call) -> Claim:
    fact, axis = call.fact(0), call.axis(0)
    if axis is None or fact.shape is None:
        return call.opaque(UNKNOWN_RANK)
    axes = _given_axes(call)
    changes: tuple[Change, ...] = ()
    if axes is None and len(call.inputs) > 1 and call.inputs[1] is not None:
        return call.opaque("the axes it removes are not constant")
    if axes is None:
        others = [d for i, d in enumerate(fact.shape) if i != axis.index]
        if any(not isinstance(d, int) for d in others):
            return call.opaque("which axes it removes depends on sizes that are not known")
        # Left to itself, the node would remove the candidate axis as well when it runs for one candidate.
        axes = tuple(i for i, d in enumerate(fact.shape) if i != axis.index and d == 1)
        if not axes:  # no axes would mean all of size 1
            return call.opaque("it removes nothing, which cannot be said of a single candidate")
        changes = (SetInput(1, axes) if call.opset >= 13 else SetAttribute("axes", list(axes)),)
    removed = [call.positive(a) for a in axes]
    if axis.index in removed:
        return call.opaque("removes the candidate axis")
    return call.moved(axis.at(axis.index - sum(a < axis.index for a in removed)), *changes)


def unsqueeze(call: Call) -> Claim:
    fact, axis, axes = call.fact(0), call.axis(0), _given_axes(call)
    if axis is None or fact.rank is None or axes is None:
        return call.opaque("the axes it adds are not constant")
    rank = fact.rank + len(axes)
    added = {call.positive(a, rank) for a in axes}
    kept = [i for i in range(rank) if i not in added]
    return call.moved(axis.at(kept[axis.index]))


def _candidate_entries(items: Sequence[Dim]) -> list[int]:
    return [i for i, d in enumerate(items) if mentions_candidates(d)]


def expand(call: Call) -> Claim:
    fact, axis, content = call.fact(0), call.axis(0), call.content(1)
    if fact.shape is None or content is None:
        return call.opaque(SIZES_UNKNOWN)
    entries, shift = content.items, len(fact.shape) - len(content.items)
    wide = _candidate_entries(entries)
    if axis is not None:
        index = axis.index - min(shift, 0)
        entry = index - max(shift, 0)
        if any(e != entry for e in wide):
            return call.opaque("repeats along a second axis as often as there are candidates")
        if entry < 0 or same(entries[entry], 1):
            return call.moved(axis.at(index))
        if not call.is_all(entries[entry], axis):
            # With one candidate, the axis would be stretched to a number of entries that is not that of candidates.
            return call.opaque("repeats to a size that may not be the number of candidates")
        return call.moved(axis.at(index), SetEntry(1, entry, 1))
    if len(wide) != 1:
        return call.opaque(SIZES_UNKNOWN) if wide else call.moved(None)
    entry = wide[0]
    times = quotient(entries[entry], CANDIDATES)
    position = entry + shift
    if times is None or (position >= 0 and not same(fact.shape[position], 1)):
        return call.opaque(SIZES_UNKNOWN)
    return call.moved(_any_blocks(content, entry, times).at(entry + max(shift, 0)), SetEntry(1, entry, times))


def tile(call: Call) -> Claim:
    fact, axis, content = call.fact(0), call.axis(0), call.content(1)
    if fact.shape is None or content is None:
        return call.opaque(SIZES_UNKNOWN)
    repeats, wide = content.items, _candidate_entries(content.items)
    if axis is not None:
        if wide:
            return call.opaque("repeats as often as there are candidates a tensor that has them already")
        return call.moved(replace(axis, outer=repeats[axis.index] * axis.outer))
    if len(wide) != 1:
        return call.opaque(SIZES_UNKNOWN) if wide else call.moved(None)
    entry = wide[0]
    times = quotient(repeats[entry], CANDIDATES)
    if times is None:
        return call.opaque(SIZES_UNKNOWN)
    one = same(fact.shape[entry], 1)
    axis = _any_blocks(content, entry, times) if one else CandidateAxis(entry, 1, times * fact.shape[entry])
    return call.moved(axis, SetEntry(1, entry, times))


def constant_of_shape(call: Call) -> Claim:
    content = call.content(0)
    if content is None:
        return call.opaque(SIZES_UNKNOWN)
    wide = _candidate_entries(content.items)
    if not wide:
        return call.moved(None)
    times = quotient(content.items[wide[0]], CANDIDATES)
    if len(wide) > 1 or times is None:
        return call.opaque(SIZES_UNKNOWN)
    return call.moved(_any_blocks(content, wide[0], times), SetEntry(0, wide[0], times))


def _any_blocks(content: Content, entry: int, times: Dim) -> CandidateAxis:
    """Where the candidates lie on an axis along which all entries are the same.

    That may be said of any blocks: those of the value whose sizes were read are the ones that others have, too.
    """
    layout = content.layout
    if layout is not None and same(layout.single, times):
        return replace(layout, index=entry, alike=True)
    return CandidateAxis(entry, 1, times, alike=True)


def range_(call: Call) -> Claim:
    """The numbers of the candidates: they differ from candidate to candidate."""
    contents = [call.content(i) for i in range(3)]
    if any(c is None or len(c.items) != 1 for c in contents):
        return call.opaque(SIZES_UNKNOWN)
    start, limit, delta = (c.items[0] for c in contents if c is not None)
    if not any(mentions_candidates(v) for v in (start, limit, delta)):
        return call.moved(None)
    if not same(start, 0) or not same(delta, 1) or not same(limit, CANDIDATES):
        return call.opaque("counts to a number that depends on the candidates")
    return call.all_outputs(Lane(CandidateAxis(0), varies=True))


def pad(call: Call) -> Claim:
    fact, axis = call.fact(0), call.axis(0)
    if axis is None or fact.rank is None or call.carriers() != [0]:
        return call.opaque("pads with a value that has a candidate axis")
    pads = call.integers(1)
    if pads is None:
        return call.opaque("how much it pads is not constant")
    has_axes = len(call.inputs) > 3 and call.inputs[3] is not None
    axes = call.integers(3) if has_axes else tuple(range(fact.rank))
    if axes is None:
        return call.opaque("the axes it pads are not constant")
    for position, along in enumerate(axes):
        if call.positive(along) == axis.index and (pads[position] or pads[position + len(axes)]):
            return call.opaque("pads the candidate axis")
    return call.moved(axis)


def blocks(call: Call) -> Claim:
    """DepthToSpace, SpaceToDepth: each entry of axis 0 is treated alone."""
    axis = call.axis(0)
    if axis is None or axis.index != 0:
        return call.opaque(OVER_CANDIDATES)
    return call.moved(axis)


TABLE: Table = {
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Expand": expand,
    "Tile": tile,
    "ConstantOfShape": constant_of_shape,
    "Range": range_,
    "Pad": pad,
    "DepthToSpace": blocks,
    "SpaceToDepth": blocks,
}
