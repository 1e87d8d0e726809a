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


def _samples(call: Call, batched: Collection[int]) -> Claim:
    axis = _together(call, batched)
    return call.opaque(NOT_TOGETHER) if axis is None else call.moved(axis)


def attention(call: Call) -> Claim:
    """Queries, keys and values of a sample; a mask broadcasts, so it may be one for all samples."""
    mask = call.fact(3)
    if len(call.inputs) < 4 or call.inputs[3] is None:
        return _samples(call, (0, 1, 2, 4, 5, 6))
    if mask.axis is not None:
        return _samples(call, (0, 1, 2, 3, 4, 5, 6)) if mask.rank == 4 else call.opaque(NOT_TOGETHER)
    if mask.shape is None or (len(mask.shape) == 4 and not same(mask.shape[0], 1)):
        return call.opaque("its mask may have one entry per candidate")
    return _samples(call, (0, 1, 2, 4, 5, 6))


def rotary_embedding(call: Call) -> Claim:
    """With positions, the tables of sines are common; without, they have a row for each sample."""
    if call.axis(0) is None:
        return call.opaque(NOT_THE_CANDIDATES)
    has_positions = len(call.inputs) > 3 and call.inputs[3] is not None
    return _samples(call, (0, 3) if has_positions else (0, 1, 2))


def tensor_scatter(call: Call) -> Claim:
    if call.positive(int(call.attr("axis", -2))) == 0:
        return call.opaque("writes to certain candidates")
    return _samples(call, (0, 1, 2))


TABLE: Table = {
    "Attention": attention,
    "RotaryEmbedding": rotary_embedding,
    "TensorScatter": tensor_scatter,
    "LinearAttention": lambda call: _samples(call, range(6)),
    "CausalConvWithState": lambda call: _samples(call, (0, 3)),
}
