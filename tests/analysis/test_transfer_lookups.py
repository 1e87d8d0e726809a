"""Operators that pick entries by index."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.analysis import CandidateAxis
from tests.analysis.oracle import B, Case, Operand, check, constant, floats, ids, lanes, scalar


@pytest.mark.parametrize(
    ("data", "indices", "axis", "found"),
    [
        (floats(4, 2), ids(B, axis=0), 0, 0),
        (floats(4, 2), ids(B, 2, axis=0), 0, 0),
        (floats(4, 2), ids(2, B, axis=1), 0, 1),
        (floats(2, 4), ids(B, 2, axis=0), 1, 1),
        (floats(2, 4), ids(2, B, axis=1), -1, 2),
        (floats(B, 4, axis=0), constant(1, 2), 1, 0),
        (floats(4, B, axis=1), constant(1, 2), 0, 1),
        (floats(4, B, axis=1), scalar(1), 0, 0),
        (floats(4, B, axis=1), ids(2, 2), 0, 2),
        (floats(B, 4, axis=0), scalar(0), 0, "opaque"),
        (floats(B, 4, axis=0), constant(0, 1, 2), 0, "opaque"),
        (floats(B, 4, axis=0), ids(B, axis=0), 1, "opaque"),
        (floats(B, 4, axis=0), ids(B, axis=0), 0, "opaque"),
    ],
)
def test_gather(data: Operand, indices: Operand, axis: int, found: Any) -> None:
    assert lanes(Case("Gather", [data, indices], {"axis": axis})) == [_wanted(found)]


def _wanted(found: Any) -> Any:
    return CandidateAxis(found) if isinstance(found, int) else found


def test_gather_of_merged_candidates() -> None:
    axis = CandidateAxis(0, 2, 1)
    assert lanes(Case("Gather", [floats(4, 2), ids(6, axis=axis)], {})) == [axis]


def test_gather_elements() -> None:
    assert lanes(Case("GatherElements", [floats(B, 4, axis=0), ids(B, 2, axis=0)], {"axis": 1})) == [CandidateAxis(0)]
    assert lanes(Case("GatherElements", [floats(B, 4, axis=0), ids(B, 4, axis=0)], {"axis": 0})) == ["opaque"]
    assert lanes(Case("GatherElements", [floats(B, 4, axis=0), ids(B, 2)], {"axis": 1})) == ["opaque"]
    assert lanes(Case("GatherElements", [floats(B, 4), ids(B, 2, axis=0)], {"axis": 1})) == ["opaque"]


def test_gather_nd() -> None:
    assert lanes(Case("GatherND", [floats(2, 2), ids(B, 2, axis=0)], {})) == [CandidateAxis(0)]
    assert lanes(Case("GatherND", [floats(2, 2, 4), ids(2, B, 2, axis=1)], {})) == [CandidateAxis(1)]
    together = [floats(B, 2, 4, axis=0), ids(B, 2, 1, axis=0)]
    assert lanes(Case("GatherND", together, {"batch_dims": 1})) == [CandidateAxis(0)]
    assert lanes(Case("GatherND", together, {"batch_dims": 0})) == ["opaque"]
    assert lanes(Case("GatherND", [floats(B, 2, axis=0), ids(2, 1)], {})) == ["opaque"]
    assert lanes(Case("GatherND", [floats(2, 2, B, axis=2), ids(4, 2)], {})) == [CandidateAxis(1)]
    assert lanes(Case("GatherND", [floats(2, 2, 4, B, axis=3), ids(2, 4, 1)], {"batch_dims": 1})) == [CandidateAxis(3)]
    assert lanes(Case("GatherND", [floats(2, B, axis=1), ids(4, 2)], {})) == ["opaque"]


def test_scatter_elements() -> None:
    operands = [floats(B, 4, axis=0), ids(B, 2, axis=0), floats(B, 2, axis=0)]
    assert lanes(Case("ScatterElements", operands, {"axis": 1, "reduction": "add"})) == [CandidateAxis(0)]
    assert lanes(Case("ScatterElements", operands, {"axis": 0, "reduction": "add"})) == ["opaque"]
    assert lanes(Case("ScatterElements", [floats(B, 4), *operands[1:]], {"axis": 1, "reduction": "add"})) == ["opaque"]


def test_compress() -> None:
    condition = Operand(np.array([True, False, True, True]))
    assert lanes(Case("Compress", [floats(B, 4, axis=0), condition], {"axis": 1})) == [CandidateAxis(0)]
    assert lanes(Case("Compress", [floats(B, 4, axis=0), condition], {})) == ["opaque"]
    assert lanes(Case("Compress", [floats(B, 4, axis=0), Operand(np.ones(B, bool))], {"axis": 0})) == ["opaque"]


@pytest.mark.parametrize(("axis", "found"), [(-1, 0), (0, 1), (1, 0), (-2, 0), (2, 0), (-3, 1)])
def test_one_hot(axis: int, found: int) -> None:
    case = Case("OneHot", [ids(B, 2, axis=0), scalar(4), floats(2)], {"axis": axis})
    assert lanes(case) == [CandidateAxis(found)]


def test_reverse_sequence() -> None:
    lengths = ids(B, axis=0, below=2)
    lengths = Operand(lengths.array + 1, lengths.axis)
    attrs = {"time_axis": 0, "batch_axis": 1}
    assert lanes(Case("ReverseSequence", [floats(2, B, 4, axis=1), lengths], attrs)) == [CandidateAxis(1)]
    swapped = {"time_axis": 1, "batch_axis": 0}
    assert lanes(Case("ReverseSequence", [floats(B, 2, 4, axis=0), lengths], swapped)) == [CandidateAxis(0)]
    fixed = Operand(np.array([1, 2, 2]))
    assert lanes(Case("ReverseSequence", [floats(B, 2, 4, axis=0), fixed], swapped)) == ["opaque"]
    assert lanes(Case("ReverseSequence", [floats(B, 2, axis=0), constant(1, 2)], attrs)) == ["opaque"]
    others = Operand(np.array([1, 2]))
    assert lanes(Case("ReverseSequence", [floats(2, 2, B, axis=2), others], attrs)) == [CandidateAxis(2)]


@st.composite
def lookups(draw: st.DrawFn) -> Case:
    def operand(make: Any, low: int) -> Operand:
        shape = draw(st.lists(st.sampled_from([1, 2, B, 4]), min_size=low, max_size=3))
        axis = draw(st.sampled_from([None, *(k for k, n in enumerate(shape) if n == B)]))
        made: Operand = make(*shape, axis=axis)
        return made

    data, indices = operand(floats, 1), operand(lambda *s, axis: ids(*s, axis=axis, below=1), 0)
    axis = draw(st.integers(-data.array.ndim, data.array.ndim - 1))
    op = draw(st.sampled_from(["Gather", "Gather", "GatherElements", "GatherND"]))
    attrs = {"batch_dims": draw(st.integers(0, 1))} if op == "GatherND" else {"axis": axis}
    return Case(op, [data, indices], attrs, batch=draw(st.sampled_from([None, B])))


@given(lookups())
def test_whatever_is_claimed_of_a_lookup_is_true(case: Case) -> None:
    check(case)
