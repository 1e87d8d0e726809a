"""Operators that join or cut: where the candidate axis goes, and their sizes for one candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mari_onnx.analysis.facts import CandidateAxis, Fact
from mari_onnx.analysis.sizes import borders
from mari_onnx.analysis.transfer.call import (
    TWO_AXES,
    UNKNOWN_RANK,
    Call,
    Change,
    Claim,
    Lane,
    SetAttribute,
    SetEntry,
    Table,
)
from mari_onnx.analysis.transfer.layouts import FAR
from mari_onnx.ir.dims import Dim, mentions_candidates, product, quotient, same, simplified


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
    axis, count, given = axis.in_blocks, len(call.node.outputs), call.attr("split", None)
    if given is None and len(call.inputs) > 1 and call.inputs[1] is not None:
        content = call.content(1)
        given = () if content is None else content.items
    unit = product((call.candidates, axis.inner))
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
    changes: tuple[Change, ...] = ()
    for position, cut in enumerate(axes):
        if call.positive(cut) != axis.index or _keeps_all(call, position, axis):
            continue
        if not fact.is_user:
            return call.opaque("cuts the candidate axis")
        blocks = _between_blocks(call, position, axis.in_blocks)
        if blocks is not None:
            axis_after, changes = blocks
            continue
        if not axis.is_whole or not _keeps_first(call, position):
            return call.opaque("cuts the candidate axis")
        # Of candidates that are all the same, the first is any.
        axis_after = None
    ends = call.content(2)
    if any(f.sized for i, f in call.given() if 1 <= i <= 4) and (ends is None or ends.depends_on_candidates):
        wide = [] if ends is None else [i for i, d in enumerate(ends.items) if mentions_candidates(d)]
        if ends is None or any(call.positive(axes[i]) != axis.index for i in wide):
            return call.opaque("where it cuts depends on how many candidates there are")
    return call.moved(axis_after, *changes)


def _between_blocks(call: Call, position: int, axis: CandidateAxis) -> tuple[CandidateAxis, tuple[Change, ...]] | None:
    """What a slice takes of blocks that each have all candidates, where it takes whole ones; ``None`` elsewhere."""
    starts, ends = call.content(1), call.content(2)
    steps = call.integers(4) if len(call.inputs) > 4 and call.inputs[4] is not None else None
    if starts is None or ends is None or (len(call.inputs) > 4 and call.inputs[4] is not None and steps is None):
        return None
    found = borders(product((call.candidates, axis.single)), starts.items[position], ends.items[position])
    if found is None or (steps is not None and steps[position] != 1):
        return None
    first, last = (0 if same(b, 0) else quotient(b, product((call.candidates, axis.inner))) for b in found)
    if not isinstance(first, int) or not isinstance(last, int) or first >= last:
        return None
    rows = [SetEntry(index, position, product((block, axis.inner))) for index, block in ((1, first), (2, last))]
    return replace(axis, outer=last - first), tuple(rows)


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
    return call.is_all(end, axis)


TABLE: Table = {
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
}
