"""ONNX Runtime's own operators, which its optimizer leaves in the graphs that it saves."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from mari_onnx.analysis.contrib import DOMAIN
from mari_onnx.analysis.transfer.call import Call, Claim, Table
from mari_onnx.analysis.transfer.elementwise import broadcasting, unary
from mari_onnx.analysis.transfer.pieces import concat
from mari_onnx.analysis.transfer.products import gemm, matmul
from mari_onnx.analysis.transfer.recurrent import recurrent
from mari_onnx.analysis.transfer.reductions import softmax
from mari_onnx.analysis.transfer.samples import is_token_axis, queries, samples, with_broadcast_mask
from mari_onnx.ir.dims import same

SCALES = "its scales are not one per tensor"
ONE_SCALE = "its scale is taken over all candidates"
LATER_OUTPUTS = "more than its first output is asked for"


def _reduced(call: Call, data: Collection[int]) -> Call | None:
    """The call with its data alone, where nothing else that it reads has a candidate axis."""
    if any(i not in data for i in call.carriers()):
        return None
    return replace(call, inputs=tuple(call.inputs[i] for i in data if i < len(call.inputs)))


def _with_scales(call: Call, scalars: Collection[int]) -> Claim | None:
    """A refusal where a scale, or a zero point, is not one per tensor."""
    return call.opaque(SCALES) if any(f.shape not in ((), (1,)) for i, f in call.given() if i in scalars) else None


def _quantized(
    transfer: Callable[[Call], Claim], data: Collection[int], scalars: Collection[int]
) -> Callable[[Call], Claim]:
    """What an operator on floats says, for the same on integers with fixed scales.

    Args:
        transfer: The transfer function of the operator on floats.
        data: The inputs that it has.
        scalars: Scales and zero points of the inputs that may have candidates: one per tensor.
    """

    def claim(call: Call) -> Claim:
        plain = _reduced(call, data)
        if plain is None:
            return call.opaque(SCALES)
        return _with_scales(call, scalars) or transfer(plain)

    return claim


def _by_weight(
    transfer: Callable[[Call], Claim], data: Collection[int], scalars: Collection[int]
) -> Callable[[Call], Claim]:
    """The same for a product with a weight, which may have a scale for each column."""
    quantized = _quantized(transfer, data, scalars)
    return lambda call: call.only([0], "a weight") or quantized(call)


def dynamic_product(call: Call) -> Claim:
    """One scale for all rows, as in DynamicQuantizeLinear."""
    if call.varies:
        return call.opaque(ONE_SCALE)
    return call.only([0], "a weight") or matmul(replace(call, inputs=call.inputs[:2]))


def block_product(call: Call) -> Claim:
    axis, rank = call.axis(0), call.fact(0).rank
    if axis is None or rank is None or axis.index == rank - 1:
        return call.opaque("sums over the candidates")
    return call.only([0], "a weight") or call.moved(axis)


def joined(call: Call) -> Claim:
    """A scale and a zero point, and as much again for each part."""
    parts = range(2, len(call.inputs), 3)
    return _quantized(concat, parts, [i for i in range(len(call.inputs)) if i not in parts])(call)


def quantized_softmax(call: Call) -> Claim:
    """An attribute says which operator set's Softmax it is."""
    if "axis" not in call.node.attrs or "opset" not in call.node.attrs:
        return call.opaque("does not say which rows it normalises")
    older = replace(call, opset=int(call.node.attrs["opset"]))
    return _quantized(softmax, (0,), range(1, 5))(older)


def multi_head_attention(call: Call) -> Claim:
    """Query, key, value, bias, a padding mask of the keys, a bias of the scores, and what was before."""
    if any(call.node.outputs[1:]) or any(call.inputs[8:]):
        return call.opaque(LATER_OUTPUTS)
    if is_token_axis(call) and call.fact(0).rank == 3:
        ordered = call.attr("unidirectional", 0) or any(call.inputs[6:]) or call.fact(4).rank == 3
        return call.opaque("depends on the places of the queries") if ordered else queries(call, 5)
    return with_broadcast_mask(call, 5, (0, 1, 2, 4, 6, 7))


def attention(call: Call) -> Claim:
    """Rows, weights, bias, a mask of the keys, what was before, and a bias of the scores."""
    if any(call.node.outputs[1:]) or any(call.inputs[6:]) or any(call.inputs[4:5]):
        return call.opaque(LATER_OUTPUTS)
    return with_broadcast_mask(call, 5, (0, 3))


def quantized_attention(call: Call) -> Claim:
    """The same on integers, without a bias of the scores: scales and zero points of rows and weights."""
    if any(call.node.outputs[1:]) or any(call.inputs[8:]):
        return call.opaque(LATER_OUTPUTS)
    return _with_scales(call, (3, 6)) or samples(call, (0, 5))


def embedding(call: Call) -> Claim:
    """Words, kinds, five weights, a mask, and positions: one row of them for each sample, or for all."""
    positions = call.inputs[8] if len(call.inputs) > 8 else None
    if positions is None or (positions.axis is None and positions.shape and same(positions.shape[0], 1)):
        return samples(call, (0, 1, 7))
    return samples(call, (0, 1, 7, 8))


def dynamic_lstm(call: Call) -> Claim:
    """One scale for the rows of all sequences, in each step."""
    return call.opaque(ONE_SCALE) if call.varies else recurrent(call)


def block_lookup(call: Call) -> Claim:
    indices = call.axis(1)
    if indices is None or call.attr("gather_axis", 0):
        return call.opaque("picks certain candidates")
    return call.only([1], "a table") or call.moved(indices)


def rotary_embedding(call: Call) -> Claim:
    """Positions are one for each row, or where the first row of every sample stands."""
    if call.attr("is_packed_batching", 0):
        return call.opaque("its samples lie one behind the other")
    return samples(call, (0,) if call.fact(1).shape == (1,) and call.axis(1) is None else (0, 1))


TABLE: Table = {
    f"{DOMAIN}.{op}": transfer
    for op, transfer in {
        "MultiHeadAttention": multi_head_attention,
        "Attention": attention,
        "QAttention": quantized_attention,
        "EmbedLayerNormalization": embedding,
        "QEmbedLayerNormalization": lambda call: samples(call, (0, 1, 7)),
        "DynamicQuantizeLSTM": dynamic_lstm,
        "GatherBlockQuantized": block_lookup,
        "MurmurHash3": unary,
        "RotaryEmbedding": rotary_embedding,
        "FastGelu": broadcasting,
        "DynamicQuantizeMatMul": dynamic_product,
        "MatMulIntegerToFloat": _by_weight(matmul, (0, 1), (2, 4)),
        "MatMulNBits": block_product,
        "QGemm": _by_weight(gemm, (0, 3, 6), (1, 2)),
        "QLinearAdd": _quantized(broadcasting, (0, 3), (1, 2, 4, 5, 6, 7)),
        "QLinearMul": _quantized(broadcasting, (0, 3), (1, 2, 4, 5, 6, 7)),
        "QLinearConcat": joined,
        "QLinearSigmoid": _quantized(unary, (0,), range(1, 5)),
        "QLinearLeakyRelu": _quantized(unary, (0,), range(1, 5)),
        "QLinearSoftmax": quantized_softmax,
    }.items()
}
