"""ONNX Runtime's own operators: what is claimed of them holds for candidates that all differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mari_onnx.analysis import CandidateAxis
from mari_onnx.analysis.contrib import TYPES
from mari_onnx.ir.dims import substitute
from tests.analysis.oracle import B, Case, Operand, floats, ids, lanes

FIRST = CandidateAxis(0)
ZERO, SCALE = Operand(np.array(2, np.uint8)), Operand(np.array(0.5, np.float32))
PER_ROW = Operand(np.full(B, 0.5, np.float32))
FIXED = (SCALE, ZERO)


def small(*shape: int, axis: CandidateAxis | int | None = None) -> Operand:
    """Quantized numbers."""
    numbers = floats(*shape, axis=axis)
    return Operand(np.abs(numbers.array).astype(np.uint8), numbers.axis)


def flags(*shape: int, axis: CandidateAxis | int | None = None) -> Operand:
    """A mask in which something is always left."""
    numbers = floats(*shape, axis=axis)
    kept = (numbers.array > 0).astype(np.int32)
    kept[..., 0] = 1
    return Operand(kept, numbers.axis)


def found(op: str, operands: list[Operand | None], outputs: int = 1, **attrs: Any) -> Any:
    (first, *others) = lanes(Case(f"com.microsoft.{op}", operands, attrs, outputs=outputs))
    assert all(other == "opaque" for other in others)
    return first


# -- attention ---------------------------------------------------------------------------------------------------------


def multi_head(*operands: Operand | None, outputs: int = 1, **attrs: Any) -> Any:
    return found("MultiHeadAttention", list(operands), outputs, num_heads=2, **attrs)


QUERY, KEY, BIAS = floats(B, 2, 4, axis=0), floats(B, 5, 4, axis=0), floats(12)
COMMON = floats(1, 5, 4)


@pytest.mark.parametrize(
    "more",
    [
        [],
        [BIAS],
        [None, flags(B, 5, axis=0)],
        [None, flags(B, 2, 5, axis=0)],
        [BIAS, flags(B, 5, axis=0), floats(1, 2, 2, 5)],
        [None, None, floats(B, 2, 2, 5, axis=0)],
        [None, None, floats(1, 1, 2, 5)],
    ],
)
def test_heads_of_each_sample(more: list[Operand | None]) -> None:
    assert multi_head(QUERY, KEY, KEY, *more) == FIRST


def test_keys_that_lie_apart_by_heads() -> None:
    heads = floats(B, 2, 5, 2, axis=0)
    assert multi_head(QUERY, heads, heads) == FIRST


def test_causal_within_each_sample() -> None:
    assert multi_head(QUERY, QUERY, QUERY, unidirectional=1) == FIRST


@pytest.mark.parametrize(
    "operands",
    [
        [QUERY, floats(B, 5, 4), KEY],
        [floats(B, 2, 4), KEY, KEY],
        [QUERY, KEY, KEY, None, flags(B, 5)],
        [QUERY, KEY, KEY, None, None, floats(B, 1, 2, 5)],
        [floats(2, 2, B, axis=2), floats(2, 2, B), floats(2, 2, B)],
    ],
)
def test_not_where_something_else_may_have_candidates(operands: list[Operand | None]) -> None:
    assert multi_head(*operands) == "opaque"


def test_not_where_keys_are_asked_for() -> None:
    assert multi_head(QUERY, KEY, KEY, outputs=3) == "opaque"


@pytest.mark.parametrize("axis", [CandidateAxis(1), CandidateAxis(1, 1, 2), CandidateAxis(1, 2, 1)])
def test_queries_of_all_candidates_in_one_sample(axis: CandidateAxis) -> None:
    count = B * axis.outer * axis.inner
    query = floats(1, count, 4, axis=axis)
    assert multi_head(query, COMMON, COMMON) == axis
    assert multi_head(query, COMMON, COMMON, BIAS, flags(1, 5)) == axis
    assert multi_head(query, COMMON, COMMON, None, None, floats(1, 1, count, 5, axis=axis.at(2))) == axis
    own = Case("Attention", [query, COMMON, COMMON], {"q_num_heads": 2, "kv_num_heads": 2}, opset=24)
    assert lanes(own) == [axis]


def test_not_where_the_place_of_a_query_counts() -> None:
    query = floats(1, B, 4, axis=1)
    assert multi_head(query, floats(1, B, 4), floats(1, B, 4), unidirectional=1) == "opaque"
    assert multi_head(query, COMMON, COMMON, None, None, floats(1, 1, B, 5)) == "opaque"
    assert multi_head(query, COMMON, COMMON, None, flags(1, B, 5)) == "opaque"
    assert multi_head(query, query, query) == "opaque"
    attrs = {"q_num_heads": 2, "kv_num_heads": 2}
    for more in ({"is_causal": 1}, {"left_window_size": 0}):
        assert lanes(Case("Attention", [query, COMMON, COMMON], {**attrs, **more}, opset=25)) == ["opaque"]
    assert lanes(Case("Attention", [query, COMMON, COMMON, floats(B, 5)], attrs, opset=24)) == ["opaque"]


ROWS, WEIGHT = floats(B, 3, 4, axis=0), floats(4, 12)


@pytest.mark.parametrize("mask", [None, flags(B, 3, axis=0), flags(B, 3, 3, axis=0)])
@pytest.mark.parametrize("causal", [0, 1])
def test_self_attention(mask: Operand | None, causal: int) -> None:
    given = [ROWS, WEIGHT, BIAS, mask]
    assert found("Attention", given, num_heads=2, unidirectional=causal) == FIRST


def test_self_attention_with_other_sizes_and_a_bias() -> None:
    operands = [ROWS, floats(4, 10), floats(10), None, None, floats(1, 1, 3, 3)]
    assert found("Attention", operands, num_heads=2, qkv_hidden_sizes=[4, 4, 2]) == FIRST


def test_not_self_attention_among_candidates() -> None:
    assert found("Attention", [floats(1, B, 4, axis=1), WEIGHT, BIAS], num_heads=2) == "opaque"
    assert found("Attention", [ROWS, WEIGHT, BIAS, flags(B, 3)], num_heads=2) == "opaque"


CODES, BYTES = small(B, 3, 4, axis=0), Operand(np.arange(48, dtype=np.int8).reshape(4, 12))
LEFT = Operand(np.array([3, 1, 2], np.int32), FIRST)
"""How much of each sample a mask leaves."""


@pytest.mark.parametrize("mask", [None, LEFT, flags(B, 3, axis=0)])
def test_self_attention_on_integers(mask: Operand | None) -> None:
    given = [CODES, BYTES, BIAS, SCALE, SCALE, mask, ZERO, Operand(np.array(0, np.int8))]
    assert found("QAttention", given, num_heads=2) == FIRST
    assert found("QAttention", given, num_heads=2, unidirectional=1) == FIRST


def test_not_self_attention_on_integers_among_candidates() -> None:
    rest = [BYTES, BIAS, SCALE, SCALE]
    assert found("QAttention", [small(1, B, 4, axis=1), *rest], num_heads=2) == "opaque"
    assert found("QAttention", [CODES, *rest, Operand(LEFT.array)], num_heads=2) == "opaque"
    assert found("QAttention", [CODES, *rest], 2, num_heads=2) == "opaque"
    per_row = Operand(np.full((B, 1, 1), 0.5, np.float32))
    assert found("QAttention", [CODES, BYTES, BIAS, per_row, SCALE], num_heads=2) == "opaque"


def words(*shape: int, axis: CandidateAxis | int | None = None) -> Operand:
    numbers = small(*shape, axis=axis)
    return Operand(numbers.array.astype(np.int32), numbers.axis)


PLACES = words(B, 3, axis=0)
TABLES = [floats(5, 4), floats(6, 4), floats(7, 4), floats(4), floats(4)]


@pytest.mark.parametrize("kinds", [None, words(B, 3, axis=0)])
@pytest.mark.parametrize("more", [[], [flags(B, 3, axis=0)], [None, words(1, 3)], [flags(B, 3, axis=0), PLACES]])
def test_embedded_words(kinds: Operand | None, more: list[Operand | None]) -> None:
    tables = [TABLES[0], TABLES[1], TABLES[2] if kinds is not None else None, *TABLES[3:]]
    case = Case("com.microsoft.EmbedLayerNormalization", [PLACES, kinds, *tables, *more], {}, outputs=3)
    assert lanes(case) == [FIRST] * 3


def test_not_embedded_words_where_something_else_may_have_candidates() -> None:
    def embedded(*operands: Operand | None) -> Any:
        return found("EmbedLayerNormalization", list(operands))

    assert embedded(Operand(PLACES.array), PLACES, *TABLES) == "opaque"
    assert embedded(words(2, B, axis=1), words(2, B, axis=1), *TABLES) == "opaque"
    assert embedded(PLACES, PLACES, *TABLES, Operand(flags(B, 3).array)) == "opaque"
    assert embedded(PLACES, PLACES, *TABLES, None, Operand(PLACES.array)) == "opaque"


def test_embedded_words_of_integers() -> None:
    tables = [Operand(np.abs(t.array).astype(np.uint8)) for t in TABLES]
    given = [PLACES, PLACES, *tables, flags(B, 3, axis=0), *[SCALE] * 5, *[ZERO] * 5]
    case = Case("com.microsoft.QEmbedLayerNormalization", given, {}, outputs=2)
    assert lanes(case) == [FIRST] * 2
    assert found("QEmbedLayerNormalization", [Operand(PLACES.array), *given[1:]]) == "opaque"


@pytest.mark.parametrize("directions", [1, 2])
def test_steps_with_a_scale_over_all_sequences(directions: int) -> None:
    """All candidates differ here, and each step has one scale for all; where they are alike, so is the scale."""
    way = "bidirectional" if directions == 2 else "forward"
    weights = [Operand(np.arange(directions * n * 8, dtype=np.int8).reshape(directions, n, 8)) for n in (4, 2)]
    scale, zero = Operand(np.full(directions, 0.01, np.float32)), Operand(np.zeros(directions, np.int8))
    given = [floats(3, B, 4, axis=1), *weights, *[None] * 5, scale, zero, scale, zero]
    case = Case("com.microsoft.DynamicQuantizeLSTM", given, {"hidden_size": 2, "direction": way}, outputs=3)
    assert lanes(case) == ["opaque"] * 3
    alike = [replace(case.operands[0].fact(), varies=False), *(o.fact() if o else None for o in given[1:])]
    facts = case.judge().facts(case.node, tuple(alike), ())
    assert [f.axis for f in facts] == [CandidateAxis(2), CandidateAxis(1), CandidateAxis(1)]
    arrays = [o.array if o else None for o in given]
    assert [tuple(substitute(d, B) for d in f.shape or ()) for f in facts] == [tuple(y.shape) for y in case.run(arrays)]


def test_lookups_in_blocks() -> None:
    numbers = np.arange(6 * 16, dtype=np.uint8).reshape(6, 16)
    table, scales = Operand(numbers), Operand(np.linspace(0.1, 0.5, 6 * 2, dtype=np.float32).reshape(6, 2))
    attrs = {"bits": 4, "block_size": 16, "gather_axis": 0, "quantize_axis": 1}
    for axis in (0, 1):
        shape = (B, 2) if axis == 0 else (2, B)
        given = [table, ids(*shape, axis=axis), scales]
        assert found("GatherBlockQuantized", given, **attrs) == CandidateAxis(axis)
    wide = {**attrs, "bits": 8, "block_size": 16}
    eight = Operand(np.linspace(0.1, 0.5, 6, dtype=np.float32).reshape(6, 1))
    assert found("GatherBlockQuantized", [table, ids(B, axis=0), eight], **wide) == FIRST
    rows = Operand(numbers[:B], FIRST)
    assert found("GatherBlockQuantized", [rows, ids(2), Operand(scales.array[:B])], **attrs) == "opaque"


@pytest.mark.parametrize("positive", [0, 1])
def test_hashes(positive: int) -> None:
    assert found("MurmurHash3", [ids(2, B, axis=1)], positive=positive) == CandidateAxis(1)
    names = Operand(np.array([["a", "b"], ["c", "d"], ["e", "f"]], object), FIRST)
    assert found("MurmurHash3", [names], seed=3, positive=positive) == FIRST


def test_rotary_embedding() -> None:
    rows, table = floats(B, 3, 4, axis=0), floats(5, 2)
    place = Operand(np.array([1]))
    own = Operand(np.array([[0, 1, 2], [2, 1, 0], [1, 1, 1]]), FIRST)
    assert found("RotaryEmbedding", [rows, place, table, table]) == FIRST
    assert found("RotaryEmbedding", [rows, own, table, table]) == FIRST
    assert found("RotaryEmbedding", [rows, Operand(own.array), table, table]) == "opaque"


def test_gelu_with_a_bias() -> None:
    assert found("FastGelu", [ROWS]) == FIRST
    assert found("FastGelu", [ROWS, floats(4)]) == FIRST
    assert found("FastGelu", [floats(2, B, axis=1), floats(B)]) == "opaque"


# -- integers with fixed scales ----------------------------------------------------------------------------------------

NUMBERS = small(B, 4, axis=0)


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        ("MatMulIntegerToFloat", [NUMBERS, small(4, 5), SCALE, floats(5), ZERO, ZERO]),
        ("MatMulIntegerToFloat", [NUMBERS, small(4, 5), SCALE, SCALE, ZERO, ZERO, floats(5)]),
        ("QGemm", [NUMBERS, *FIXED, small(4, 5), *FIXED]),
        ("QGemm", [NUMBERS, *FIXED, small(4, 5), *FIXED, Operand(np.arange(5, dtype=np.int32)), *FIXED]),
        ("QLinearAdd", [NUMBERS, *FIXED, small(B, 4, axis=0), *FIXED, *FIXED]),
        ("QLinearMul", [small(4), *FIXED, NUMBERS, *FIXED, *FIXED]),
        ("QLinearSigmoid", [NUMBERS, *FIXED, *FIXED]),
        ("QLinearLeakyRelu", [NUMBERS, *FIXED, *FIXED]),
    ],
)
def test_fixed_scales(op: str, operands: list[Operand | None]) -> None:
    assert found(op, operands) == FIRST


def test_parts_with_a_scale_each() -> None:
    parts = [NUMBERS, *FIXED, small(B, 2, axis=0), *FIXED]
    assert found("QLinearConcat", [*FIXED, *parts], axis=1) == FIRST
    assert found("QLinearConcat", [*FIXED, *parts[:3], small(B, 2), *FIXED], axis=1) == "opaque"
    assert found("QLinearConcat", [*FIXED, *parts[:3], *parts[:3]], axis=0) == "opaque"


def test_quantized_softmax() -> None:
    operands = [small(B, 4, axis=0), *FIXED, Operand(np.array(1 / 256, np.float32)), Operand(np.array(0, np.uint8))]
    assert found("QLinearSoftmax", operands, axis=-1, opset=13) == FIRST
    assert found("QLinearSoftmax", operands, axis=0, opset=13) == "opaque"
    across = [small(2, B, 4, axis=1), *operands[1:]]
    assert found("QLinearSoftmax", across, axis=1, opset=11) == "opaque"
    assert found("QLinearSoftmax", operands, opset=13) == "opaque"


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        ("QLinearAdd", [NUMBERS, *FIXED, small(B, 4), *FIXED, *FIXED]),
        ("MatMulIntegerToFloat", [NUMBERS, small(4, 5), PER_ROW, SCALE, ZERO, ZERO]),
        ("MatMulIntegerToFloat", [small(4, B, axis=1), small(B, 5), SCALE, SCALE, ZERO, ZERO]),
        ("MatMulIntegerToFloat", [small(2, 4), small(4, B, axis=1), SCALE, SCALE, ZERO, ZERO]),
        ("QGemm", [small(4, B, axis=1), *FIXED, small(B, 5), *FIXED]),
    ],
)
def test_not_along_candidates(op: str, operands: list[Operand | None]) -> None:
    assert found(op, operands) == "opaque"


def test_a_scale_over_all_rows() -> None:
    """All candidates differ here, and the scale is taken over all of them."""
    operands = [floats(B, 4, axis=0), small(4, 5), SCALE, ZERO]
    assert found("DynamicQuantizeMatMul", operands) == "opaque"
    assert found("DynamicQuantizeMatMul", [floats(3, 4), small(4, B, axis=1), SCALE, ZERO]) == "opaque"


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_what_is_used_in_no_known_way(kind: str) -> None:
    """Nobody checks these operators: without attributes, or with inputs of other ranks, nothing is known."""
    for operands in ([floats(B, axis=0)], [floats(B, 2, 3, 4, 2, axis=0)] * 2, [floats(B, 2, axis=0), None, floats()]):
        case = Case(kind, operands, {}, outputs=2)
        assert len(case.facts()) == 2
        assert case.facts()[1].opaque


def test_weights_in_blocks() -> None:
    weight = Operand(np.arange(5 * 1 * 8, dtype=np.uint8).reshape(5, 1, 8))
    scales = Operand(np.linspace(0.1, 0.5, 5, dtype=np.float32).reshape(5, 1))
    attrs = {"K": 16, "N": 5, "bits": 4, "block_size": 16}
    assert found("MatMulNBits", [floats(B, 16, axis=0), weight, scales], **attrs) == FIRST
    assert found("MatMulNBits", [floats(2, B, 16, axis=1), weight, scales], **attrs) == CandidateAxis(1)
