"""Operators that treat each sample of a batch alone, and take several inputs with one entry per sample."""

from __future__ import annotations

from collections.abc import Collection

from mari_onnx.analysis.facts import CandidateAxis
from mari_onnx.analysis.transfer.call import Call, Claim, Table
from mari_onnx.ir.dims import same

NOT_THE_CANDIDATES = "its samples are not the candidates"
NOT_TOGETHER = "its inputs do not have the candidates in common"


def _together(call: Call, batched: Collection[int]) -> CandidateAxis | None:
    """The candidate axis, where it is the first of all these inputs, as far as they are given, and of no other."""
    axis = call.axis(0)
    if axis is None or axis.index != 0:
        return None
    wanted = {i: axis if i in batched else None for i, _ in call.given()}
    return axis if all(fact.axis == wanted[i] for i, fact in call.given()) else None


def samples(call: Call, batched: Collection[int]) -> Claim:
    """Each entry of axis 0 is treated alone; these inputs have one each, as far as they are given, and no others."""
    axis = _together(call, batched)
    return call.opaque(NOT_TOGETHER) if axis is None else call.moved(axis)


def attention(call: Call) -> Claim:
    """Queries, keys and values of a sample; a mask broadcasts, so it may be one for all samples."""
    if is_token_axis(call):
        windows = [call.attr(name, -1) for name in ("left_window_size", "right_window_size")]
        ordered = call.attr("is_causal", 0) or any(int(w) >= 0 for w in windows)
        return call.opaque("depends on the places of the queries") if ordered else queries(call, 3)
    return with_broadcast_mask(call, 3, (0, 1, 2, 4, 5, 6))


def with_broadcast_mask(call: Call, index: int, batched: Collection[int]) -> Claim:
    """Samples of a batch, with a mask of four axes that is one for each sample or for all of them."""
    mask = call.fact(index)
    if len(call.inputs) <= index or call.inputs[index] is None:
        return samples(call, batched)
    if mask.axis is not None:
        return samples(call, (*batched, index)) if mask.rank == 4 else call.opaque(NOT_TOGETHER)
    if mask.shape is None or (len(mask.shape) == 4 and not same(mask.shape[0], 1)):
        return call.opaque("its mask may have one entry per candidate")
    return samples(call, batched)


def is_token_axis(call: Call) -> bool:
    """Whether the candidates lie among the queries of a sample."""
    axis, rank = call.axis(0), call.fact(0).rank
    return axis is not None and rank is not None and axis.index == rank - 2 > 0


def queries(call: Call, mask: int) -> Claim:
    """The queries of all candidates in one sample: each finds its own among keys and values that are common."""
    axis, given = call.axis(0), call.fact(mask)
    if axis is None or any(call.node.outputs[1:]) or any(i not in (0, mask) for i in call.carriers()):
        return call.opaque(NOT_TOGETHER)
    has_mask = len(call.inputs) > mask and call.inputs[mask] is not None
    if has_mask and (given.rank is None or given.axis != axis.at(given.rank - 2)):
        return call.opaque("its mask does not go with its queries")
    return call.moved(axis)


def rotary_embedding(call: Call) -> Claim:
    """With positions, the tables of sines are common; without, they have a row for each sample."""
    if call.axis(0) is None:
        return call.opaque(NOT_THE_CANDIDATES)
    has_positions = len(call.inputs) > 3 and call.inputs[3] is not None
    return samples(call, (0, 3) if has_positions else (0, 1, 2))


def tensor_scatter(call: Call) -> Claim:
    if call.positive(int(call.attr("axis", -2))) == 0:
        return call.opaque("writes to certain candidates")
    return samples(call, (0, 1, 2))


TABLE: Table = {
    "Attention": attention,
    "RotaryEmbedding": rotary_embedding,
    "TensorScatter": tensor_scatter,
    "LinearAttention": lambda call: samples(call, range(6)),
    "CausalConvWithState": lambda call: samples(call, (0, 3)),
}
