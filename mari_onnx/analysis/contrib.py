"""Types and shapes of what ONNX Runtime's own operators make, and those of onnx's that onnx does not infer.

Only what is used in rankers: one that is not listed is not known, and nothing is proven of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import onnx

from mari_onnx.analysis.facts import Fact, Shape
from mari_onnx.analysis.sizes import broadcast
from mari_onnx.ir.dims import Dim, product, simplified
from mari_onnx.ir.graph import Node

_log = logging.getLogger(__name__)

DOMAIN = "com.microsoft"

Known = tuple[int, Shape | None]
Inputs = Sequence[Fact | None]
Rule = Callable[[Node, Inputs], Known]
"""Element type and shape of the first output."""

UNKNOWN: Known = (0, None)


def _fact(inputs: Inputs, index: int) -> Fact:
    return (inputs[index] if index < len(inputs) else None) or Fact()


def _like(index: int, dtype: int | None = None) -> Rule:
    """As an input is; of the element type of another one, where that is given."""

    def known(node: Node, inputs: Inputs) -> Known:
        return _fact(inputs, index if dtype is None else dtype).dtype, _fact(inputs, index).shape

    return known


def _broadcasting(left: int, right: int) -> Rule:
    def known(node: Node, inputs: Inputs) -> Known:
        first, second = _fact(inputs, left), _fact(inputs, right)
        if first.shape is None or second.shape is None:
            return UNKNOWN
        return first.dtype, broadcast([first.shape, second.shape])

    return known


def _product(right: int, dtype: int | None = None) -> Rule:
    """A matrix product; its element type is that of an input, or float."""

    def known(node: Node, inputs: Inputs) -> Known:
        one, other = _fact(inputs, 0).shape, _fact(inputs, right).shape
        if one is None or other is None or len(one) < 2 or len(other) < 2:
            return UNKNOWN
        kind = onnx.TensorProto.FLOAT if dtype is None else _fact(inputs, dtype).dtype
        return kind, (*broadcast([one[:-2], other[:-2]]), one[-2], other[-1])

    return known


def _block_product(node: Node, inputs: Inputs) -> Known:
    rows = _fact(inputs, 0)
    return UNKNOWN if not rows.shape else (rows.dtype, (*rows.shape[:-1], int(node.attrs["N"])))


def _gemm(node: Node, inputs: Inputs) -> Known:
    one, other = _fact(inputs, 0).shape, _fact(inputs, 3).shape
    if one is None or other is None or len(one) != 2 or len(other) != 2:
        return UNKNOWN
    rows, columns = one[int(bool(node.attrs.get("transA")))], other[int(not node.attrs.get("transB"))]
    rounded = node.has_input(8)
    return (_fact(inputs, 8).dtype if rounded else onnx.TensorProto.FLOAT), (rows, columns)


def _concat(node: Node, inputs: Inputs) -> Known:
    """The inputs are a scale and a zero point, and as much again for each part."""
    shapes = [_fact(inputs, index).shape for index in range(2, len(inputs), 3)]
    given = [s for s in shapes if s is not None]
    if len(given) != len(shapes) or not given or len({len(s) for s in given}) > 1:
        return UNKNOWN
    axis = int(node.attrs["axis"]) % len(given[0])
    total: Dim = simplified(sum(shape[axis] for shape in given))
    return _fact(inputs, 2).dtype, (*given[0][:axis], total, *given[0][axis + 1 :])


def _multi_head_attention(node: Node, inputs: Inputs) -> Known:
    """Values have one row for each token, or lie apart by heads."""
    query, value = _fact(inputs, 0), _fact(inputs, 2)
    if query.shape is None or value.shape is None or len(query.shape) != 3 or len(value.shape) not in (3, 4):
        return UNKNOWN
    width = value.shape[2] if len(value.shape) == 3 else product((value.shape[1], value.shape[3]))
    return query.dtype, (*query.shape[:2], width)


def _attention(node: Node, inputs: Inputs) -> Known:
    rows, weights = _fact(inputs, 0), _fact(inputs, 1).shape
    if rows.shape is None or weights is None or len(rows.shape) != 3 or not isinstance(weights[-1], int):
        return UNKNOWN
    sizes = node.attrs.get("qkv_hidden_sizes")
    return rows.dtype, (*rows.shape[:2], int(sizes[2]) if sizes else weights[-1] // 3)


def _quantized_attention(node: Node, inputs: Inputs) -> Known:
    return _fact(inputs, 3).dtype, _attention(node, inputs)[1]


def _embedded(node: Node, inputs: Inputs) -> Known:
    """A row of the table of words for each of them."""
    words, table = _fact(inputs, 0).shape, _fact(inputs, 2).shape
    if words is None or table is None or len(words) != 2 or len(table) != 2:
        return UNKNOWN
    scale = _fact(inputs, 8) if node.op.startswith("Q") else _fact(inputs, 2)
    return scale.dtype, (*words, table[1])


def _lengths(node: Node, inputs: Inputs) -> Known:
    """How many words of each sample a mask leaves."""
    rows = _embedded(node, inputs)[1]
    return UNKNOWN if rows is None else (onnx.TensorProto.INT32, rows[:1])


def _looked_up(node: Node, inputs: Inputs) -> Known:
    """Rows of a table in blocks with a scale each; bytes hold several numbers, one behind the other."""
    table, rows = _fact(inputs, 0), _fact(inputs, 1).shape
    if not table.shape or rows is None or int(node.attrs.get("gather_axis", 0)):
        return UNKNOWN
    packed = 8 // int(node.attrs.get("bits", 4)) if table.dtype == onnx.TensorProto.UINT8 else 1
    return _fact(inputs, 2).dtype, (*rows, *table.shape[1:-1], product((table.shape[-1], packed)))


def _hashed(node: Node, inputs: Inputs) -> Known:
    positive = bool(node.attrs.get("positive", 1))
    return onnx.TensorProto.UINT32 if positive else onnx.TensorProto.INT32, _fact(inputs, 0).shape


def _steps(node: Node, inputs: Inputs) -> Known:
    """The states of all steps, of each direction."""
    rows, last = _fact(inputs, 0).shape, _state(node, inputs)
    return UNKNOWN if rows is None or last[1] is None else (last[0], (rows[0], last[1][0], *last[1][1:]))


def _state(node: Node, inputs: Inputs) -> Known:
    """The last state of each direction."""
    rows, weights = _fact(inputs, 0), _fact(inputs, 2).shape
    if rows.shape is None or weights is None or len(rows.shape) != 3 or len(weights) != 3:
        return UNKNOWN
    return rows.dtype, (weights[0], rows.shape[1], weights[1])


def _floats_like(node: Node, inputs: Inputs) -> Known:
    return onnx.TensorProto.FLOAT, _fact(inputs, 0).shape


def _targets(node: Node, inputs: Inputs) -> Known:
    """A row of targets for each sample."""
    shape = _fact(inputs, 0).shape
    targets = int(node.attrs.get("n_targets", node.attrs.get("targets", 1)))
    return UNKNOWN if shape is None or len(shape) != 2 else (onnx.TensorProto.FLOAT, (shape[0], targets))


LEARNED: Mapping[str, Rule] = {
    "ai.onnx.ml.Scaler": _floats_like,
    "ai.onnx.ml.Normalizer": _floats_like,
    "ai.onnx.ml.Imputer": _like(0),
    "ai.onnx.ml.LinearRegressor": _targets,
    "ai.onnx.ml.SVMRegressor": _targets,
    "ai.onnx.ml.TreeEnsembleRegressor": _targets,
}

UNTOLD: Mapping[str, Rule] = {"GroupNormalization": _like(0)}
"""Of ai.onnx itself: operators that the standard gives a body, but no inference."""

TYPES: Mapping[str, Rule] = {**LEARNED, **UNTOLD} | {
    f"{DOMAIN}.{op}": rule
    for op, rule in {
        "MultiHeadAttention": _multi_head_attention,
        "Attention": _attention,
        "QAttention": _quantized_attention,
        "EmbedLayerNormalization": _embedded,
        "QEmbedLayerNormalization": _embedded,
        "DynamicQuantizeLSTM": _steps,
        "GatherBlockQuantized": _looked_up,
        "MurmurHash3": _hashed,
        "RotaryEmbedding": _like(0),
        "FastGelu": _like(0),
        "DynamicQuantizeMatMul": _product(1),
        "MatMulIntegerToFloat": _product(1, dtype=2),
        "MatMulNBits": _block_product,
        "QGemm": _gemm,
        "QLinearAdd": _broadcasting(0, 3),
        "QLinearMul": _broadcasting(0, 3),
        "QLinearConcat": _concat,
        "QLinearSigmoid": _like(0),
        "QLinearLeakyRelu": _like(0),
        "QLinearSoftmax": _like(0),
    }.items()
}
"""By operator."""


FURTHER: Mapping[str, Sequence[Rule]] = {
    f"{DOMAIN}.{op}": rules
    for op, rules in {
        "EmbedLayerNormalization": (_lengths, _embedded),
        "QEmbedLayerNormalization": (_lengths,),
        "DynamicQuantizeLSTM": (_state, _state),
    }.items()
}
"""Outputs behind the first, where something is known of them."""


def contrib_outputs(node: Node, inputs: Inputs) -> list[Known]:
    """Element type and shape of each output."""
    known = [_known(rule, node, inputs) for rule in (TYPES[node.kind], *FURTHER.get(node.kind, ()))]
    return [*known, *[UNKNOWN] * len(node.outputs)][: len(node.outputs)]


def _known(rule: Rule, node: Node, inputs: Inputs) -> Known:
    try:
        return rule(node, inputs)
    except Exception as error:  # nobody checks how these operators are used: what is not understood is not known
        _log.debug("the type of %s: %r", node.where(), error)
        return UNKNOWN
