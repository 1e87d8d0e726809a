"""Products, convolutions, recurrent layers, attention: candidates on rows, columns and batch axes, never summed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.analysis import CandidateAxis
from tests.analysis.oracle import B, Case, Operand, check, constant, floats, ids, lanes


def _wanted(found: Any) -> Any:
    return CandidateAxis(found) if isinstance(found, int) else found


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        (floats(B, 4, axis=0), floats(4, 2), 0),
        (floats(4, 2), floats(2, B, axis=1), 1),
        (floats(2, B, 4, axis=1), floats(4, 2), 1),
        (floats(B, 4, axis=0), floats(2, 4, 2), 1),
        (floats(2, 4), floats(2, 4, B, axis=2), 2),
        (floats(B, 2, 4, axis=0), floats(B, 4, 2, axis=0), 0),
        (floats(B, 2, 4, axis=0), floats(1, 4, 2), 0),
        (floats(2, 4), floats(B, 4, 2, axis=0), 0),
        (floats(B, 1, 2, 4, axis=0), floats(2, 4, 2), 0),
        (floats(2, B, 2, 4, axis=1), floats(B, 4, 2, axis=0), 1),
        (floats(B, 4, axis=0), floats(4), 0),
        (floats(B, 2, 4, axis=0), floats(4), 0),
        (floats(4), floats(4, B, axis=1), 0),
        (floats(4), floats(B, 4, 2, axis=0), 0),
        (floats(4, B, axis=1), floats(B, 2), "opaque"),
        (floats(4, B), floats(B, 2, axis=0), "opaque"),
        (floats(2, B, axis=1), floats(B, axis=0), "opaque"),
        (floats(B, axis=0), floats(B, 2, axis=0), "opaque"),
        (floats(B, 4, axis=0), floats(4, B, axis=1), "opaque"),
        (floats(B, 2, 4, axis=0), floats(B, 4, 2), "opaque"),
        (floats(B, B, 4, axis=1), floats(B, 4, 2, axis=0), "opaque"),
    ],
)
def test_matmul(left: Operand, right: Operand, found: Any) -> None:
    assert lanes(Case("MatMul", [left, right], {})) == [_wanted(found)]


def test_matmul_of_merged_candidates() -> None:
    axis = CandidateAxis(0, 1, 2)
    assert lanes(Case("MatMul", [floats(6, 4, axis=axis), floats(4, 2)], {})) == [axis]


def test_quantized_products() -> None:
    rows = Operand(np.abs(floats(B, 4, axis=0).array).astype(np.uint8), CandidateAxis(0))
    weight = Operand(np.abs(floats(4, 2).array).astype(np.uint8))
    zero, scale = Operand(np.array(1, np.uint8)), Operand(np.array(0.5, np.float32))
    assert lanes(Case("MatMulInteger", [rows, weight, zero, zero], {})) == [CandidateAxis(0)]
    per_row = Operand(np.ones(B, np.uint8))
    assert lanes(Case("MatMulInteger", [rows, weight, per_row], {})) == ["opaque"]
    operands = [rows, scale, zero, weight, scale, zero, scale, zero]
    assert lanes(Case("QLinearMatMul", operands, {})) == [CandidateAxis(0)]
    scales = Operand(np.full(B, 0.5, np.float32))
    assert lanes(Case("QLinearMatMul", [rows, scales, per_row, *operands[3:]], {})) == ["opaque"]


@pytest.mark.parametrize(
    ("left", "right", "bias", "attrs", "found"),
    [
        (floats(B, 4, axis=0), floats(4, 2), floats(2), {}, 0),
        (floats(B, 4, axis=0), floats(2, 4), floats(1, 2), {"transB": 1}, 0),
        (floats(4, B, axis=1), floats(4, 2), floats(1), {"transA": 1, "alpha": 2.0}, 0),
        (floats(B, 4, axis=0), floats(4, 2), floats(B, 2, axis=0), {"beta": 2.0}, 0),
        (floats(B, 4, axis=0), floats(4, 2), floats(B, 1, axis=0), {}, 0),
        (floats(2, 4), floats(4, B, axis=1), floats(2, 1), {}, 1),
        (floats(2, 4), floats(4, B, axis=1), floats(B, axis=0), {}, 1),
        (floats(2, 4), floats(B, 4, axis=0), None, {"transB": 1}, 1),
        (floats(4, B, axis=1), floats(B, 2), None, {}, "opaque"),
        (floats(B, 4, axis=0), floats(B, 2), None, {"transA": 1}, "opaque"),
        (floats(2, B), floats(B, 4, axis=0), None, {}, "opaque"),
        (floats(B, 4, axis=0), floats(4, B, axis=1), None, {}, "opaque"),
        (floats(B, 4, axis=0), floats(4, 2), floats(B, 2), {}, "opaque"),
        (floats(B, 4, axis=0), floats(4, B), floats(B, axis=0), {}, "opaque"),
        (floats(2, 4), floats(4, 2), floats(2, axis=None), {}, None),
    ],
)
def test_gemm(left: Operand, right: Operand, bias: Operand | None, attrs: dict[str, Any], found: Any) -> None:
    operands = [left, right, bias] if bias is not None else [left, right]
    assert lanes(Case("Gemm", operands, attrs)) == [_wanted(found)]


def test_gemm_with_a_bias_per_candidate() -> None:
    case = Case("Gemm", [floats(B, 4, axis=0), floats(4, 2), floats(B, 2)], {}, batch=B)
    assert case.facts()[0].varies
    assert case.claim().outputs[0].varies  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("equation", "operands", "found"),
    [
        ("bd,de->be", [floats(B, 4, axis=0), floats(4, 2)], 0),
        ("bd,de->eb", [floats(B, 4, axis=0), floats(4, 2)], 1),
        ("bd,bd->b", [floats(B, 4, axis=0), floats(B, 4, axis=0)], 0),
        ("btd,bd->bt", [floats(B, 2, 4, axis=0), floats(B, 4, axis=0)], 0),
        ("btd->bd", [floats(B, 2, 4, axis=0)], 0),
        ("bd,be", [floats(B, 4, axis=0), floats(B, 2, axis=0)], "opaque"),
        ("db,de", [floats(4, B, axis=1), floats(4, 2)], 0),
        ("...d,de->...e", [floats(2, B, 4, axis=1), floats(4, 2)], 1),
        ("b...,b...->b...", [floats(B, 4, axis=0), floats(B, 4, axis=0)], 0),
        ("bd,bd->d", [floats(B, 4, axis=0), floats(B, 4, axis=0)], "opaque"),
        ("bi,bj->ij", [floats(B, 4, axis=0), floats(B, 2, axis=0)], "opaque"),
        ("bd,bd->bd", [floats(B, 4, axis=0), floats(B, 4)], "opaque"),
        ("bb->b", [floats(B, B, axis=0)], "opaque"),
        ("ad,bd->ab", [floats(B, 4, axis=0), floats(B, 4, axis=0)], "opaque"),
    ],
)
def test_einsum(equation: str, operands: list[Operand], found: Any) -> None:
    assert lanes(Case("Einsum", operands, {"equation": equation})) == [_wanted(found)]


def test_convolution_and_pooling() -> None:
    rows, weight = floats(B, 2, 5, axis=0), floats(3, 2, 3)
    assert lanes(Case("Conv", [rows, weight, floats(3)], {"kernel_shape": [3]})) == [CandidateAxis(0)]
    assert lanes(Case("ConvTranspose", [rows, floats(2, 3, 3)], {"kernel_shape": [3]})) == [CandidateAxis(0)]
    assert lanes(Case("Conv", [floats(2, 2, B, axis=2), weight], {"kernel_shape": [3]})) == ["opaque"]
    assert lanes(Case("Conv", [rows, floats(B, 2, 3, axis=0)], {"kernel_shape": [3]})) == ["opaque"]
    for op in ("AveragePool", "MaxPool", "LpPool"):
        assert lanes(Case(op, [rows], {"kernel_shape": [2]})) == [CandidateAxis(0)]
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        assert lanes(Case(op, [rows], {})) == [CandidateAxis(0)]
        assert lanes(Case(op, [floats(2, 2, B, axis=2)], {})) == ["opaque"]
    assert lanes(Case("MaxPool", [rows], {"kernel_shape": [2]}, 2)) == [CandidateAxis(0), "opaque"]
    grid = Operand(np.zeros((B, 2, 2, 2), np.float32), CandidateAxis(0))
    image = floats(B, 1, 3, 3, axis=0)
    assert lanes(Case("GridSample", [image, grid], {})) == [CandidateAxis(0)]
    assert lanes(Case("GridSample", [image, Operand(grid.array)], {})) == ["opaque"]


def test_determinant() -> None:
    assert lanes(Case("Det", [floats(B, 2, 2, axis=0)], {})) == [CandidateAxis(0)]
    assert lanes(Case("Det", [floats(2, B, B, axis=1)], {})) == ["opaque"]


@pytest.mark.parametrize(("op", "gates"), [("GRU", 3), ("LSTM", 4), ("RNN", 1)])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_recurrent(op: str, gates: int, direction: str) -> None:
    steps, width, hidden = 4, 2, 2
    weights = [floats(1, gates * hidden, width), floats(1, gates * hidden, hidden), floats(1, 2 * gates * hidden)]
    sequence = floats(steps, B, width, axis=1)
    attrs = {"hidden_size": hidden, "direction": direction}
    outputs = 3 if op == "LSTM" else 2
    wanted = [CandidateAxis(2), CandidateAxis(1), CandidateAxis(1)][:outputs]
    assert lanes(Case(op, [sequence, *weights], attrs, outputs)) == wanted
    lengths = Operand(np.array([1, 4, 2], np.int32), CandidateAxis(0))
    start = floats(1, B, hidden, axis=1)
    states = [start, start] if op == "LSTM" else [start]
    assert lanes(Case(op, [sequence, *weights, lengths, *states], attrs, outputs)) == wanted
    assert lanes(Case(op, [sequence, *weights, Operand(lengths.array)], attrs, outputs)) == ["opaque"] * outputs
    other = floats(B, 2, width, axis=0)
    assert lanes(Case(op, [other, *weights], attrs, outputs)) == ["opaque"] * outputs


def test_attention() -> None:
    query, key = floats(B, 2, 4, 2, axis=0), floats(B, 2, 3, 2, axis=0)
    case = Case("Attention", [query, key, key], {}, opset=24)
    assert lanes(case) == [CandidateAxis(0)]
    for mask in (floats(4, 3), floats(2, 4, 3), floats(1, 2, 4, 3), floats(B, 1, 4, 3, axis=0)):
        assert lanes(Case("Attention", [query, key, key, mask], {}, opset=24)) == [CandidateAxis(0)]
    assert lanes(Case("Attention", [query, key, key, floats(B, 1, 4, 3)], {}, opset=24)) == ["opaque"]
    assert lanes(Case("Attention", [query, floats(B, 2, 3, 2), key], {}, opset=24)) == ["opaque"]
    heads = floats(2, B, 4, 2, axis=1)
    assert lanes(Case("Attention", [heads, heads, heads], {}, opset=24)) == ["opaque"]


def test_rotary_embedding() -> None:
    rows, table = floats(B, 2, 3, 4, axis=0), floats(5, 2)
    positions = ids(B, 3, axis=0)
    assert lanes(Case("RotaryEmbedding", [rows, table, table, positions], {}, opset=23)) == [CandidateAxis(0)]
    assert lanes(Case("RotaryEmbedding", [rows, table, table, ids(B, 3)], {}, opset=23)) == ["opaque"]
    own = floats(B, 3, 2, axis=0)
    assert lanes(Case("RotaryEmbedding", [rows, own, own], {}, opset=23)) == [CandidateAxis(0)]


def test_tensor_scatter() -> None:
    past, update = floats(B, 4, 2, axis=0), floats(B, 1, 2, axis=0)
    case = Case("TensorScatter", [past, update, ids(B, axis=0)], {"axis": 1}, opset=24)
    assert case.facts()[0].axis == CandidateAxis(0)
    check(case)
    assert Case("TensorScatter", [past, update, constant(0, 1, 0)], {"axis": 1}, opset=24).facts()[0].opaque


@st.composite
def products(draw: st.DrawFn) -> Case:
    def operand(low: int) -> Operand:
        shape = draw(st.lists(st.sampled_from([1, 2, B]), min_size=low, max_size=3))
        axis = draw(st.sampled_from([None, *(k for k, n in enumerate(shape) if n == B)]))
        return floats(*shape, axis=axis)

    batch = draw(st.sampled_from([None, B]))
    if draw(st.booleans()):
        return Case("MatMul", [operand(1), operand(1)], {}, batch=batch)
    letters = "abc"
    operands = [operand(1), operand(1)]
    terms = [draw(st.permutations(letters))[: o.array.ndim] for o in operands]
    used = sorted({c for t in terms for c in t})
    result = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
    equation = f"{''.join(terms[0])},{''.join(terms[1])}->{''.join(result)}"
    return Case("Einsum", operands, {"equation": equation}, batch=batch)


@given(products())
def test_whatever_is_claimed_of_a_product_is_true(case: Case) -> None:
    check(case)
