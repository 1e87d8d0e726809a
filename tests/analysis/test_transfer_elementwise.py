"""Operators that work entry by entry: the candidates stay where they are, after broadcasting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.analysis import CandidateAxis
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from tests.analysis.oracle import B, Case, Operand, check, constant, floats, lanes, scalar

ON_INTEGERS = {"BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift"}
ON_BOOLS = {"And", "Or", "Xor", "Not"}
ATTRIBUTES = {"Cast": {"to": 1}, "BitShift": {"direction": "LEFT"}, "Mod": {"fmod": 1}, "BitCast": {"to": 6}}
NEW = {"BitCast": 26, "Swish": 24, "Gelu": 20, "RegexFullMatch": 20, "StringConcat": 20}
NOT_NUMBERS = {"RegexFullMatch", "StringConcat"}
MERGED = CandidateAxis(0, 2, 2)


def operand(op: str, *shape: int, axis: CandidateAxis | int | None = None) -> Operand:
    given_floats = floats(*shape, axis=axis)
    if op in ON_INTEGERS:
        return Operand((np.abs(given_floats.array)).astype(np.uint8), given_floats.axis)
    if op in ON_BOOLS:
        return Operand(given_floats.array > 0, given_floats.axis)
    return given_floats


@pytest.mark.parametrize("op", [op for op in UNARY if op not in NOT_NUMBERS])
@pytest.mark.parametrize(("shape", "axis"), [((B, 4), CandidateAxis(0)), ((2, B), CandidateAxis(1)), ((12, 2), MERGED)])
def test_unary(op: str, shape: tuple[int, ...], axis: CandidateAxis) -> None:
    case = Case(op, [operand(op, *shape, axis=axis)], ATTRIBUTES.get(op, {}), opset=NEW.get(op, 18))
    check(case)
    assert case.facts()[0].axis == axis


@pytest.mark.parametrize("op", [op for op in BROADCASTING if op not in {"Where", "Clip", *NOT_NUMBERS}])
def test_broadcasting(op: str) -> None:
    attrs = ATTRIBUTES.get(op, {})
    rows = operand(op, B, 4, axis=0)
    for other in (operand(op, B, 4, axis=0), operand(op, 4), operand(op, 1, 4), operand(op, B, 1, axis=0)):
        assert lanes(Case(op, [rows, other], attrs)) == [CandidateAxis(0)]
    if op != "PRelu":
        assert lanes(Case(op, [operand(op, 2, 1, 4), rows], attrs)) == [CandidateAxis(1)]
        assert lanes(Case(op, [operand(op, B, axis=0), operand(op, 4, 1)], attrs)) == [CandidateAxis(1)]


def test_rank_one_aligns_with_the_last_axis() -> None:
    rows, numbers = floats(B, B, axis=0), floats(B, axis=0)
    assert lanes(Case("Add", [rows, numbers], {})) == ["opaque"]
    assert lanes(Case("Add", [floats(2, B, axis=1), numbers], {})) == [CandidateAxis(1)]


def test_other_layouts_of_the_axis_do_not_meet() -> None:
    left, right = floats(6, 2, axis=CandidateAxis(0, 2, 1)), floats(6, 2, axis=CandidateAxis(0, 1, 2))
    assert lanes(Case("Add", [left, right], {})) == ["opaque"]
    assert lanes(Case("Add", [left, left], {})) == [CandidateAxis(0, 2, 1)]


def test_constant_with_one_entry_per_candidate() -> None:
    case = Case("Mul", [floats(B, 4, axis=0), floats(B, 1)], {}, batch=B)
    assert case.claim().outputs[0].varies  # type: ignore[union-attr]
    assert lanes(Case("Mul", [floats(B, 4, axis=0), floats(B, 1)], {})) == ["opaque"]


def test_where_and_clip() -> None:
    mask = Operand(floats(B, 1, axis=0).array > 0, CandidateAxis(0))
    assert lanes(Case("Where", [mask, floats(4), floats(B, 4, axis=0)], {})) == [CandidateAxis(0)]
    assert lanes(Case("Where", [mask, floats(4), floats(1, 4)], {})) == [CandidateAxis(0)]
    assert lanes(Case("Where", [mask, floats(B, 4), floats(1, 4)], {})) == ["opaque"]
    assert lanes(Case("Clip", [floats(B, 4, axis=0), scalar(-1.0), scalar(2.0)], {})) == [CandidateAxis(0)]
    assert lanes(Case("Clip", [floats(B, 4, axis=0), None, scalar(2.0)], {})) == [CandidateAxis(0)]


def test_dropout() -> None:
    rows, half = floats(B, 4, axis=0), scalar(0.5)
    assert lanes(Case("Dropout", [rows], {}, 2)) == [CandidateAxis(0)] * 2
    off, on = (Operand(np.array(v), entries=(v,)) for v in (False, True))
    assert lanes(Case("Dropout", [rows, half, off], {}, 2)) == [CandidateAxis(0)] * 2
    assert lanes(Case("Dropout", [rows, half, on], {}, 2)) == ["opaque"] * 2
    unknown = Operand(np.array([[True]]))
    assert lanes(Case("Dropout", [rows, half, unknown], {}, 2)) == ["opaque"] * 2


def test_cast_like_looks_at_the_type_alone() -> None:
    assert lanes(Case("CastLike", [floats(B, 4, axis=0), constant(1, 2)], {})) == [CandidateAxis(0)]


@st.composite
def operands(draw: st.DrawFn) -> Operand:
    """Any sizes from 1 to B, the candidates anywhere they fit."""
    shape = draw(st.lists(st.sampled_from([1, 2, B]), max_size=3))
    places = [k for k, n in enumerate(shape) if n == B]
    return floats(*shape, axis=draw(st.sampled_from([None, *places])))


@given(
    st.lists(operands(), min_size=2, max_size=3), st.sampled_from([None, B]), st.sampled_from(["Sum", "Max", "Mean"])
)
def test_whatever_is_claimed_of_broadcasting_is_true(given_operands: list[Operand], batch: int | None, op: str) -> None:
    check(Case(op, given_operands, {}, batch=batch))
