"""Operators that work along given axes: reductions, softmax, cumulative sums, sorting, normalisation."""

from __future__ import annotations

from mari_onnx.analysis.transfer.call import OVER_CANDIDATES, UNKNOWN_RANK, Call, Claim, Lane, Table
from mari_onnx.analysis.transfer.elementwise import aligned

IDEMPOTENT = frozenset({"ReduceMean", "ReduceMax", "ReduceMin"})
REDUCTIONS = sorted(
    IDEMPOTENT
    | {"ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"}
)


def reduced_axes(call: Call) -> list[int] | None:
    """The axes of a reduction, ``None`` where they are not known."""
    rank = call.fact(0).rank or 0
    if len(call.inputs) > 1 and call.inputs[1] is not None:
        axes = call.integers(1)
        if axes is None:
            return None
    else:
        axes = tuple(call.attr("axes", ()))
    if not axes:
        return [] if call.attr("noop_with_empty_axes", 0) else list(range(rank))
    return [call.positive(int(a)) for a in axes]


def reduction(call: Call) -> Claim:
    axis = call.axis(0)
    if call.fact(0).shape is None:
        return call.opaque(UNKNOWN_RANK)
    axes = reduced_axes(call)
    if axes is None:
        return call.opaque("the axes it reduces are not constant")
    if axis is None:
        return call.opaque("its axes have a candidate axis")
    if axis.index in axes:
        if call.node.op in IDEMPOTENT and not call.fact(0).varies:
            return call.moved(None)
        return call.opaque("reduces over the candidates")
    gone = 0 if call.attr("keepdims", 1) else sum(a < axis.index for a in axes)
    return call.moved(axis.at(axis.index - gone))


def arg_reduction(call: Call) -> Claim:
    axis = call.axis(0)
    if axis is None or call.fact(0).shape is None:
        return call.opaque(UNKNOWN_RANK)
    along = call.positive(int(call.attr("axis", 0)))
    if along == axis.index:
        return call.opaque("looks for a candidate")
    gone = int(not call.attr("keepdims", 1) and along < axis.index)
    return call.moved(axis.at(axis.index - gone))


def softmax(call: Call) -> Claim:
    axis = call.axis(0)
    if axis is None or call.fact(0).shape is None:
        return call.opaque(UNKNOWN_RANK)
    # Before opset 13 everything from the axis on was one long row.
    long_row = call.opset < 13
    along = call.positive(int(call.attr("axis", 1 if long_row else -1)))
    if axis.index == along or (long_row and axis.index > along):
        return call.opaque("normalises over the candidates")
    return call.moved(axis)


def along_attribute(call: Call, default: int) -> Claim:
    axis = call.axis(0)
    if axis is None or call.fact(0).shape is None:
        return call.opaque(UNKNOWN_RANK)
    if axis.index == call.positive(int(call.attr("axis", default))):
        return call.opaque(OVER_CANDIDATES)
    return call.only([0], "a parameter") or call.moved(axis)


def cumulative(call: Call) -> Claim:
    axis, along = call.axis(0), call.integers(1)
    if axis is None or call.fact(0).shape is None:
        return call.opaque(UNKNOWN_RANK)
    if along is None or len(along) != 1:
        return call.opaque("its axis is not constant")
    if call.positive(along[0]) == axis.index:
        return call.opaque("accumulates over the candidates")
    return call.moved(axis)


def fourier(call: Call) -> Claim:
    """DFT: its axis is an attribute before opset 20, an input from then on."""
    axis, given = call.axis(0), call.integers(2) if len(call.inputs) > 2 and call.inputs[2] is not None else (-2,)
    if axis is None or call.fact(0).shape is None:
        return call.opaque(UNKNOWN_RANK)
    along = (int(call.attr("axis", 1)),) if call.opset < 20 else given
    if along is None or len(along) != 1:
        return call.opaque("its axis is not constant")
    if axis.index in (call.positive(along[0]), (call.fact(0).rank or 0) - 1):
        return call.opaque("transforms the candidates")
    return call.only([0], "a length") or call.moved(axis)


def layer_normalization(call: Call) -> Claim:
    axis = call.axis(0)
    if axis is None or call.fact(0).shape is None:
        return call.opaque("its parameters have a candidate axis")
    if axis.index >= call.positive(int(call.attr("axis", -1))):
        return call.opaque("normalises over the candidates")
    # Scale and shift broadcast, so they may reach in front of the axes that are normalised, candidates among them.
    answer = aligned(call, [i for i, _ in call.given()])
    if isinstance(answer, str):
        return call.opaque(answer)
    statistics = (Lane(axis),) * (len(call.node.outputs) - 1)
    return Claim((answer, *statistics))


def batch_normalization(call: Call) -> Claim:
    axis = call.axis(0)
    if call.attr("training_mode", 0) or len([o for o in call.node.outputs if o]) > 1:
        return call.opaque("normalises with statistics taken over the candidates")
    if axis is None or axis.index == 1:
        return call.opaque("its channels lie on the candidate axis")
    return call.only([0], "a parameter") or call.moved(axis)


def sample_normalization(call: Call) -> Claim:
    """InstanceNormalization, GroupNormalization, LRN: each entry of axis 0 is treated alone."""
    axis = call.axis(0)
    if axis is None or axis.index != 0:
        return call.opaque("its samples are not the candidates")
    return call.only([0], "a parameter") or call.moved(axis)


def mean_variance_normalization(call: Call) -> Claim:
    axis = call.axis(0)
    if axis is None or axis.index in [call.positive(int(a)) for a in call.attr("axes", (0, 2, 3))]:
        return call.opaque("normalises over the candidates")
    return call.moved(axis)


def top_k(call: Call) -> Claim:
    return along_attribute(call, -1)


def trilu(call: Call) -> Claim:
    axis, rank = call.axis(0), call.fact(0).rank
    if axis is None or rank is None or axis.index >= rank - 2:
        return call.opaque("keeps a triangle over the candidates")
    return call.only([0], "a parameter") or call.moved(axis)


def dynamic_quantize(call: Call) -> Claim:
    """One scale for the whole tensor: the same for one row as for B equal ones, but not for B different ones."""
    if call.fact(0).varies:
        return call.opaque("its scale is taken over all candidates")
    return Claim((Lane(call.axis(0)), Lane(None), Lane(None)))


def quantize(call: Call) -> Claim:
    """QuantizeLinear, DequantizeLinear: one scale, or one per entry of an axis."""
    axis, scale = call.axis(0), call.fact(1)
    if axis is None or scale.rank is None or scale.rank > 1:
        return call.opaque("its scales are not one per tensor or per entry of one axis")
    if scale.rank == 1 and scale.shape != (1,) and call.positive(int(call.attr("axis", 1))) == axis.index:
        return call.opaque("its scales lie on the candidate axis")
    return call.only([0], "a scale") or call.moved(axis)


def lp_normalization(call: Call) -> Claim:
    return along_attribute(call, -1)


TABLE: Table = {
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    "CumSum": cumulative,
    "CumProd": cumulative,
    "DFT": fourier,
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), layer_normalization),
    "BatchNormalization": batch_normalization,
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "LRN"), sample_normalization),
    "MeanVarianceNormalization": mean_variance_normalization,
    "LpNormalization": lp_normalization,
    "TopK": top_k,
    "Trilu": trilu,
    "DynamicQuantizeLinear": dynamic_quantize,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), quantize),
}
