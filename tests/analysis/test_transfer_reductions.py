"""Operators that work along axes: right for each candidate unless they work along theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from mari_onnx.analysis import CandidateAxis
from mari_onnx.analysis.transfer.reductions import IDEMPOTENT, REDUCTIONS
from tests.analysis.oracle import CANDIDATES, B, Case, Operand, check, constant, floats, lanes, scalar
from tests.analysis.support import analyze, parse

MERGED = CandidateAxis(0, 2, 1)


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize(
    ("axis", "axes", "keepdims", "found"),
    [
        (0, [1], 1, 0),
        (0, [1], 0, 0),
        (1, [0], 1, 1),
        (1, [0], 0, 0),
        (1, [0, 2], 0, 0),
        (1, [-1], 0, 1),
        (2, [-3, 1], 0, 0),
        (0, [0], 1, "opaque"),
        (1, [-2], 0, "opaque"),
    ],
)
def test_reduction(op: str, axis: int, axes: list[int], keepdims: int, found: Any) -> None:
    shape = [2, 2, 2]
    shape[axis] = B
    operand = Operand(np.abs(floats(*shape).array) + 1, CandidateAxis(axis))
    wanted = CandidateAxis(found) if isinstance(found, int) else found
    assert lanes(Case(op, [operand, constant(*axes)], {"keepdims": keepdims})) == [wanted]
    old = 12 if op == "ReduceSum" else 17
    assert lanes(Case(op, [operand], {"keepdims": keepdims, "axes": axes}, opset=old)) == [wanted]


@pytest.mark.parametrize("op", sorted(IDEMPOTENT))
def test_idempotent_reduction_of_equal_candidates(op: str) -> None:
    case = Case(op, [floats(B, 4, axis=0), constant(0)], {})
    equal = case.operands[0].fact()  # type: ignore[union-attr]
    facts = case.judge().facts(case.node, (replace(equal, varies=False), constant(0).fact()), ())
    assert facts[0].axis is None
    assert not facts[0].opaque


def test_reduction_with_axes_that_are_not_constant() -> None:
    assert lanes(Case("ReduceSum", [floats(B, 4, axis=0), Operand(np.array([[1]]))], {})) == ["opaque"]


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax(op: str) -> None:
    rows, columns = floats(B, 4, axis=0), floats(4, B, axis=1)
    assert lanes(Case(op, [rows], {})) == [CandidateAxis(0)]
    assert lanes(Case(op, [columns], {})) == ["opaque"]
    assert lanes(Case(op, [columns], {"axis": 0})) == [CandidateAxis(1)]
    assert lanes(Case(op, [floats(6, 2, axis=MERGED)], {"axis": 1})) == [MERGED]
    # One long row from the axis on, before opset 13, whose default axis is 1.
    middle = floats(2, B, 2, axis=1)
    assert lanes(Case(op, [middle], {"axis": 0}, opset=12)) == ["opaque"]
    assert lanes(Case(op, [middle], {"axis": 2}, opset=12)) == [CandidateAxis(1)]
    assert lanes(Case(op, [middle], {}, opset=12)) == ["opaque"]
    assert lanes(Case(op, [floats(B, 2, 2, axis=0)], {}, opset=12)) == [CandidateAxis(0)]


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_arg_max(op: str) -> None:
    middle = floats(2, B, 2, axis=1)
    assert lanes(Case(op, [middle], {"axis": 0, "keepdims": 0})) == [CandidateAxis(0)]
    assert lanes(Case(op, [middle], {"axis": 0})) == [CandidateAxis(1)]
    assert lanes(Case(op, [middle], {"axis": -1, "keepdims": 0})) == [CandidateAxis(1)]
    assert lanes(Case(op, [middle], {"axis": -2})) == ["opaque"]


def test_top_k() -> None:
    assert lanes(Case("TopK", [floats(B, 4, axis=0), constant(2)], {}, 2)) == [CandidateAxis(0)] * 2
    assert lanes(Case("TopK", [floats(B, 4, axis=0), constant(2)], {"axis": 0}, 2)) == ["opaque"] * 2
    shapes = [f.shape for f in Case("TopK", [floats(B, 4, axis=0), constant(CANDIDATES)], {"axis": 0}, 2).facts()]
    assert shapes == [(CANDIDATES, 4)] * 2


def test_cumulative_sum() -> None:
    assert lanes(Case("CumSum", [floats(B, 4, axis=0), scalar(1)], {"reverse": 1})) == [CandidateAxis(0)]
    assert lanes(Case("CumSum", [floats(B, 4, axis=0), scalar(-2)], {})) == ["opaque"]
    assert lanes(Case("CumSum", [floats(B, 4, axis=0), Operand(np.array([[1]]))], {})) == ["opaque"]


def test_layer_normalization() -> None:
    rows = floats(2, B, 4, axis=1)
    assert lanes(Case("LayerNormalization", [rows, floats(4), floats(4)], {})) == [CandidateAxis(1)]
    assert lanes(Case("LayerNormalization", [rows, floats(4)], {"axis": 2}, 3)) == [CandidateAxis(1)] * 3
    assert lanes(Case("LayerNormalization", [rows, floats(B, 4)], {"axis": 1})) == ["opaque"]
    assert lanes(Case("LayerNormalization", [rows, floats(B, 4)], {})) == ["opaque"]
    assert Case("LayerNormalization", [rows, floats(B, 4)], {}, batch=B).claim().outputs[0].varies  # type: ignore[union-attr]
    assert lanes(Case("LayerNormalization", [rows, floats(2, 1, 4)], {})) in ([CandidateAxis(1)], ["opaque"])


@pytest.mark.parametrize("op", ["LayerNormalization", "RMSNormalization"])
def test_parameters_of_each_candidate(op: str) -> None:
    """PyTorch's exporter gives an RMSNormalization without a weight ones of the shape of its input."""
    rows = floats(2, B, 4, axis=1)
    assert lanes(Case(op, [rows, floats(2, B, 4, axis=1)], {}, opset=23)) == [CandidateAxis(1)]
    assert lanes(Case(op, [rows, floats(B, 4, axis=0)], {}, opset=23)) == [CandidateAxis(1)]
    assert lanes(Case(op, [rows, floats(B, 1, 4, axis=0)], {}, opset=23)) == ["opaque"]
    assert lanes(Case(op, [rows, floats(B, axis=0)], {}, opset=23)) == ["opaque"]


def test_batch_normalization() -> None:
    spread = Operand(np.array([1, 2], np.float32))
    parameters = [floats(2), floats(2), floats(2), spread]
    assert lanes(Case("BatchNormalization", [floats(B, 2, 3, axis=0), *parameters], {})) == [CandidateAxis(0)]
    assert lanes(Case("BatchNormalization", [floats(1, 2, B, axis=2), *parameters], {})) == [CandidateAxis(2)]
    assert lanes(Case("BatchNormalization", [floats(2, B, axis=1), *[floats(B)] * 4], {})) == ["opaque"]
    training = Case("BatchNormalization", [floats(B, 2, 3, axis=0), *parameters], {"training_mode": 1}, 3)
    assert lanes(training) == ["opaque"] * 3


def test_normalisation_of_samples() -> None:
    parameters = [floats(2), floats(2)]
    assert lanes(Case("InstanceNormalization", [floats(B, 2, 4, axis=0), *parameters], {})) == [CandidateAxis(0)]
    assert lanes(Case("InstanceNormalization", [floats(1, 2, B, axis=2), *parameters], {})) == ["opaque"]
    assert lanes(Case("LRN", [floats(B, 2, 2, 2, axis=0)], {"size": 3})) == [CandidateAxis(0)]
    assert lanes(Case("MeanVarianceNormalization", [floats(B, 2, 2, 2, axis=0)], {})) == ["opaque"]
    assert lanes(Case("LpNormalization", [floats(B, 4, axis=0)], {"axis": 1})) == [CandidateAxis(0)]
    assert lanes(Case("LpNormalization", [floats(4, B, axis=1)], {})) == ["opaque"]


def test_normalised_groups_have_the_size_of_their_rows() -> None:
    """onnx infers neither: a model whose exporter left the sizes out had none behind this operator."""
    text = "g (float[B,4,3] u, float[B,4,3] i) => (float[B,8,3] y) {"
    text += "x = Concat<axis = 1>(u, i) n = GroupNormalization<num_groups = 2>(x, g, b) y = Relu(n) }"
    found = analyze(parse(text, 21, g=np.ones(8, np.float32), b=np.ones(8, np.float32)))
    fact = found.facts["n"]
    assert fact.dtype == TensorProto.FLOAT
    assert fact.shape is not None
    assert fact.shape[1:] == (8, 3)
    assert found.side("n") == found.side("x")


def test_trilu() -> None:
    assert lanes(Case("Trilu", [floats(B, 2, 2, axis=0), scalar(0)], {})) == [CandidateAxis(0)]
    assert lanes(Case("Trilu", [floats(2, B, axis=1)], {})) == ["opaque"]


def test_quantization() -> None:
    rows, scale, zero = floats(B, 4, axis=0), scalar(0.5), Operand(np.array(3, np.uint8))
    assert lanes(Case("QuantizeLinear", [rows, scale, zero], {})) == [CandidateAxis(0)]
    per_column = [Operand(np.full(4, 0.5, np.float32)), Operand(np.zeros(4, np.uint8))]
    assert lanes(Case("QuantizeLinear", [rows, *per_column], {"axis": 1})) == [CandidateAxis(0)]
    per_row = [Operand(np.full(B, 0.5, np.float32)), Operand(np.zeros(B, np.uint8))]
    assert lanes(Case("QuantizeLinear", [rows, *per_row], {"axis": 0})) == ["opaque"]
    assert lanes(Case("DynamicQuantizeLinear", [rows], {}, 3)) == ["opaque"] * 3


@st.composite
def cases(draw: st.DrawFn) -> Case:
    shape = draw(st.lists(st.sampled_from([1, 2, B, 6]), min_size=1, max_size=4))
    places = [(k, o) for k, n in enumerate(shape) if n % B == 0 for o in range(1, n // B + 1) if n // B % o == 0]
    k, outer = draw(st.sampled_from(places or [(0, 1)]))
    if not places:
        shape[0] = B
    operand = floats(*shape, axis=CandidateAxis(k, outer, shape[k] // B // outer))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    op, opset = (
        draw(st.sampled_from([*REDUCTIONS, "Softmax", "CumSum", "ArgMax", "LpNormalization"])),
        draw(st.sampled_from([12, 18])),
    )
    if op in REDUCTIONS:
        axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, max_size=3))
        attrs: dict[str, Any] = {"keepdims": draw(st.sampled_from([0, 1]))}
        if (op == "ReduceSum" and opset < 13) or (op != "ReduceSum" and opset < 18):
            return Case(op, [operand], {**attrs, "axes": axes}, opset=opset)
        attrs["noop_with_empty_axes"] = draw(st.sampled_from([0, 1]))
        return Case(op, [operand, constant(*axes)], attrs, opset=opset)
    if op == "CumSum":
        return Case(op, [operand, scalar(axis)], {"exclusive": draw(st.sampled_from([0, 1]))}, opset=opset)
    attrs = {"axis": axis} if opset > 12 or op != "Softmax" else {"axis": axis % len(shape)}
    if op == "ArgMax":
        attrs["keepdims"] = draw(st.sampled_from([0, 1]))
    return Case(op, [operand], attrs, opset=opset)


@given(cases())
def test_whatever_is_claimed_along_axes_is_true(case: Case) -> None:
    check(case)
