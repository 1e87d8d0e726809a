"""Operators that move, repeat or cut entries: where the candidate axis goes, and their sizes for one candidate."""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.facts import CandidateAxis, Content, Fact
from mari_onnx.analysis.transfer.call import (
    OVER_CANDIDATES,
    TWO_AXES,
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
from mari_onnx.analysis.transfer.layouts import FAR, follow_reshape, resolve_target
from mari_onnx.ir.dims import CANDIDATES, Dim, mentions_candidates, product, quotient, same, simplified
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
    found = follow_reshape(fact.shape, axis, call.shapes[0], call.batch)
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
    found = follow_reshape(fact.shape, axis, target, call.batch)
    return call.moved(found) if found is not None else call.opaque("the sizes it flattens are unknown")


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


def _is_all(call: Call, size: Dim, axis: CandidateAxis) -> bool:
    """Whether a size is that of the whole candidate axis."""
    return same(size, axis.size) or (call.batch is not None and same(size, axis.single * call.batch))


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
        if not _is_all(call, entries[entry], axis):
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
        return call.moved(CandidateAxis(axis.index, repeats[axis.index] * axis.outer, axis.inner))
    if len(wide) != 1:
        return call.opaque(SIZES_UNKNOWN) if wide else call.moved(None)
    entry = wide[0]
    times = quotient(repeats[entry], CANDIDATES)
    if times is None:
        return call.opaque(SIZES_UNKNOWN)
    return call.moved(CandidateAxis(entry, 1, times * fact.shape[entry]), SetEntry(1, entry, times))


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
    if layout is not None and layout.index == entry and same(layout.single, times):
        return layout
    return CandidateAxis(entry, 1, times)


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


def concat(call: Call) -> Claim:
    facts = [f for _, f in call.given()]
    stacked = _stacked(call, facts)
    if stacked is not None:
        return call.all_outputs(Lane(stacked))
    axes = {f.axis for f in facts if f.axis is not None}
    if len(axes) != 1:
        return call.opaque(TWO_AXES)
    axis = axes.pop()
    assert axis is not None
    if any(f.shape is None for f in facts):
        return call.opaque(UNKNOWN_RANK)
    if call.positive(int(call.attr("axis", 0)), facts[0].rank) == axis.index:
        return call.opaque("joins along the candidate axis")
    bare = [f for f in facts if f.axis is None]
    if any(call.batch is None or not same((f.shape or ())[axis.index], axis.single * call.batch) for f in bare):
        return call.opaque("a part has no candidate axis")
    return call.all_outputs(Lane(axis, varies=bool(bare)))


def _stacked(call: Call, facts: Sequence[Fact]) -> CandidateAxis | None:
    """Values of the user one behind the other along their candidates, as some write the heads of attention.

    Each is ``outer`` blocks of the candidates with ``inner`` entries for each; as many entries for each, and all are.
    """
    axes = [f.axis for f in facts if f.axis is not None and f.is_user]
    if len(axes) < len(facts) or not axes or facts[0].rank is None:
        return None
    first = axes[0]
    joins = call.positive(int(call.attr("axis", 0)), facts[0].rank) == first.index
    if not joins or any(a.index != first.index or not same(a.inner, first.inner) for a in axes):
        return None
    return CandidateAxis(first.index, simplified(sum(a.outer for a in axes)), first.inner)


def split(call: Call) -> Claim:
    fact, axis = call.fact(0), call.axis(0)
    if axis is None or fact.rank is None:
        return call.opaque(UNKNOWN_RANK)
    if call.positive(int(call.attr("axis", 0))) != axis.index:
        return call.moved(axis)
    return (_blocks_apart(call, axis) if fact.is_user else None) or call.opaque("splits the candidate axis")


def _blocks_apart(call: Call, axis: CandidateAxis) -> Claim | None:
    """Blocks that each have all candidates, one behind the other, taken apart between them."""
    count, given = len(call.node.outputs), call.attr("split", None)
    if given is None and len(call.inputs) > 1 and call.inputs[1] is not None:
        content = call.content(1)
        given = () if content is None else content.items
    unit = product((CANDIDATES if call.batch is None else call.batch, axis.inner))
    outer = [quotient(axis.outer, count)] * count if given is None else [quotient(size, unit) for size in given]
    blocks = [o for o in outer if isinstance(o, int) and o > 0]
    if len(outer) != count or len(blocks) < count:
        return None
    changes = () if given is None else _sizes_for_one(call, [product((o, axis.inner)) for o in blocks])
    return Claim(tuple(Lane(CandidateAxis(axis.index, o, axis.inner)) for o in blocks), changes)


def _sizes_for_one(call: Call, sizes: Sequence[Dim]) -> tuple[Change, ...]:
    if "split" in call.node.attrs:
        return (SetAttribute("split", list(sizes)),)
    return tuple(SetEntry(1, index, size) for index, size in enumerate(sizes))


def slice_(call: Call) -> Claim:
    fact, axis = call.fact(0), call.axis(0)
    if axis is None or fact.rank is None or call.carriers() != [0]:
        return call.opaque(UNKNOWN_RANK)
    starts = call.content(1)
    if starts is None:
        return call.opaque("where it cuts is not constant")
    has_axes = len(call.inputs) > 3 and call.inputs[3] is not None
    axes = call.integers(3) if has_axes else tuple(range(len(starts.items)))
    if axes is None:
        return call.opaque("the axes it cuts are not constant")
    axis_after: CandidateAxis | None = axis
    for position, cut in enumerate(axes):
        if call.positive(cut) != axis.index or _keeps_all(call, position, axis):
            continue
        if not fact.is_user or not axis.is_whole or not _keeps_first(call, position):
            return call.opaque("cuts the candidate axis")
        # Of candidates that are all the same, the first is any.
        axis_after = None
    ends = call.content(2)
    if any(f.sized for i, f in call.given() if 1 <= i <= 4) and (ends is None or ends.depends_on_candidates):
        wide = [] if ends is None else [i for i, d in enumerate(ends.items) if mentions_candidates(d)]
        if ends is None or any(call.positive(axes[i]) != axis.index for i in wide):
            return call.opaque("where it cuts depends on how many candidates there are")
    return call.moved(axis_after)


def _keeps_first(call: Call, position: int) -> bool:
    """Whether a slice of an axis takes the first entry and no other."""
    starts, ends, steps = call.integers(1), call.integers(2), call.integers(4) if len(call.inputs) > 4 else None
    if starts is None or ends is None or (len(call.inputs) > 4 and call.inputs[4] is not None and steps is None):
        return False
    return starts[position] == 0 and ends[position] == 1 and (steps is None or steps[position] == 1)


def _keeps_all(call: Call, position: int, axis: CandidateAxis) -> bool:
    """Whether a slice of the candidate axis takes all of it."""
    starts, ends = call.content(1), call.content(2)
    steps = call.integers(4) if len(call.inputs) > 4 and call.inputs[4] is not None else None
    if starts is None or ends is None or not same(starts.items[position], 0):
        return False
    if len(call.inputs) > 4 and call.inputs[4] is not None and (steps is None or steps[position] != 1):
        return False
    end = ends.items[position]
    if isinstance(end, int) and end >= FAR:
        return True
    return _is_all(call, end, axis)


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
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Pad": pad,
    "DepthToSpace": blocks,
    "SpaceToDepth": blocks,
}
