"""The symbolic evaluation of sizes: put in a number of candidates, and ONNX Runtime must say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from mari_onnx.ir.dims import substitute, symbol
from tests.analysis.oracle import CANDIDATES, B, Case, Operand, constant, floats, scalar
from tests.soundness.judge import NotRunnableError

N = CANDIDATES
LENGTH = symbol("T")


def truth(*values: bool) -> Operand:
    return Operand(np.array(values), entries=tuple(values))


def entries(case: Case) -> list[Any]:
    """The entries of the first output, seen to be right at B candidates."""
    content = case.facts()[0].content
    assert content is not None, f"{case.op}: the entries are not known"
    assert_true(case)
    return list(content.items)


def assert_true(case: Case) -> None:
    """What is known of the entries is what ONNX Runtime finds."""
    contents = [f.content for f in case.facts()]
    if all(c is None for c in contents):
        return
    try:
        results = case.run([o.array if o is not None else None for o in case.operands])
    except NotRunnableError:
        return
    for content, result in zip(contents, results, strict=True):
        if content is not None:
            found = [int(substitute(v, B)) for v in content.items]
            assert (content.shape, found) == (result.shape, result.ravel().astype(int).tolist()), case


@pytest.mark.parametrize(
    ("op", "left", "right", "expected"),
    [
        ("Add", constant(N, 2), constant(1), [N + 1, 3]),
        ("Sub", constant(N, 2), constant(1, 5), [N - 1, -3]),
        ("Mul", constant(N, 2), constant(4), [4 * N, 8]),
        ("Div", constant(6 * N, 7), constant(2), [3 * N, 3]),
        ("Div", constant(-7, 7), constant(2, -2), [-3, -3]),
        ("Div", constant(2 * N + 1, 6 * N + 5), constant(2, 3), [N, 2 * N + 1]),
        ("Mod", constant(7, 4), constant(4), [3, 0]),
        ("Equal", constant(N, 2), constant(-1, 2), [False, True]),
        ("Less", constant(N, 2), constant(N, 3), [False, True]),
        ("Greater", constant(5, 2), constant(4, 3), [True, False]),
        ("LessOrEqual", constant(5, 2, N), constant(4, 2, N), [False, True, True]),
        ("GreaterOrEqual", constant(5, 2, N), constant(4, 3, 0), [True, False, True]),
        ("Max", constant(5, 2), constant(4, 3), [5, 3]),
        ("Min", constant(5, 2), constant(4, 3), [4, 2]),
        ("Max", constant(N, 2), constant(N, 3), [N, 3]),
        ("Max", constant(N, 1, 2 * N), constant(-1, 30, N), [N, 30, 2 * N]),
        ("Min", constant(N, 1, 2 * N), constant(-1, 30, N), [-1, 1, N]),
        ("Min", constant(2 * N, 4), constant(2 * N, 3), [2 * N, 3]),
    ],
)
def test_arithmetic(op: str, left: Operand, right: Operand, expected: list[Any]) -> None:
    assert entries(Case(op, [left, right], {})) == expected


@pytest.mark.parametrize(
    ("op", "left", "right"),
    [
        ("Div", constant(N), constant(2)),
        ("Div", constant(N + 1), constant(2)),
        ("Div", constant(2 * N - 1), constant(2)),
        ("Div", constant(1 - 2 * N), constant(2)),
        ("Div", constant(2 * N + 1), constant(-2)),
        ("Div", constant(N + 1), constant(N)),
        ("Equal", constant(N), constant(1)),
        ("Less", constant(N), constant(4)),
        ("LessOrEqual", constant(N), constant(4)),
        ("GreaterOrEqual", constant(N), constant(4)),
        ("Mod", constant(N), constant(4)),
        ("Max", constant(N), constant(1)),
        ("Min", constant(N), constant(2)),
        ("Max", constant(N), constant(5 - N)),
    ],
)
def test_what_depends_on_how_many_candidates_there_are_is_not_guessed(op: str, left: Operand, right: Operand) -> None:
    assert Case(op, [left, right], {}).facts()[0].content is None


def test_a_number_of_either_sign_has_no_known_magnitude() -> None:
    assert Case("Abs", [constant(N - 4)], {}).facts()[0].content is None


def test_logic_and_choice() -> None:
    assert entries(Case("Not", [truth(True, False)], {})) == [False, True]
    assert entries(Case("And", [truth(True, False), truth(True, True)], {})) == [True, False]
    assert entries(Case("Or", [truth(True, False), truth(False, False)], {})) == [True, False]
    assert entries(Case("Where", [truth(True, False), constant(N, N), constant(1, 2)], {})) == [N, 2]
    assert entries(Case("Neg", [constant(2, N)], {})) == [-2, -N]
    assert entries(Case("Abs", [constant(2, -1, N, -N)], {})) == [2, 1, N, N]


def test_shapes() -> None:
    rows = floats(B, 4, axis=0)
    assert entries(Case("Shape", [rows], {})) == [N, 4]
    assert entries(Case("Shape", [rows], {"start": -1})) == [4]
    assert entries(Case("Shape", [rows], {"start": 0, "end": -1})) == [N]
    assert entries(Case("Size", [rows], {})) == [4 * N]


def test_picking_and_joining() -> None:
    assert entries(Case("Gather", [constant(N, 4, 5), scalar(-1)], {})) == [5]
    assert entries(Case("Gather", [constant(N, 4, 5), constant(0, 2)], {})) == [N, 5]
    assert entries(Case("Concat", [constant(N), constant(4, 5)], {"axis": 0})) == [N, 4, 5]
    assert entries(Case("Slice", [constant(N, 4, 5), constant(1), constant(2**63 - 1)], {})) == [4, 5]
    backwards = [constant(v) for v in (-1, -(2**63) + 1, 0, -1)]
    assert entries(Case("Slice", [constant(N, 4, 5), *backwards], {})) == [5, 4, N]
    assert entries(Case("Split", [constant(N, 4, 5), constant(1, 2)], {}, 2)) == [N]
    assert entries(Case("Split", [constant(N, 4, 5)], {"num_outputs": 2}, 2)) == [N, 4]


def test_layout_of_entries() -> None:
    assert entries(Case("Unsqueeze", [scalar(N), constant(0)], {})) == [N]
    assert entries(Case("Squeeze", [constant(N)], {})) == [N]
    assert entries(Case("Squeeze", [constant(N), constant(0)], {})) == [N]
    assert entries(Case("Reshape", [constant(N, 2), constant(-1, 1)], {})) == [N, 2]
    assert entries(Case("Reshape", [constant(N, 2), constant(0)], {})) == [N, 2]
    assert entries(Case("Flatten", [constant(N, 2)], {"axis": 0})) == [N, 2]
    assert entries(Case("Identity", [constant(N, 2)], {})) == [N, 2]
    assert entries(Case("Cast", [constant(N, 2)], {"to": 6})) == [N, 2]
    assert entries(Case("Cast", [constant(3, 0)], {"to": 9})) == [True, False]


def test_making_entries() -> None:
    fill = np.array([7])
    import onnx

    value = onnx.numpy_helper.from_array(fill)
    assert entries(Case("ConstantOfShape", [constant(2)], {"value": value})) == [7, 7]
    assert entries(Case("Range", [scalar(1), scalar(8), scalar(3)], {})) == [1, 4, 7]
    assert entries(Case("Expand", [constant(N), constant(2)], {})) == [N, N]
    assert entries(Case("Tile", [constant(N, 1), constant(2)], {})) == [N, 1, N, 1]
    assert entries(Case("OneHot", [constant(1), scalar(3), constant(1, 4)], {})) == [1, 4, 1]
    assert entries(Case("ReduceProd", [constant(N, 4)], {})) == [4 * N]
    assert entries(Case("ReduceProd", [constant(N, 4), constant(0)], {"keepdims": 0})) == [4 * N]
    assert entries(Case("ReduceProd", [constant(N, 4), constant()], {})) == [4 * N]
    assert entries(Case("ReduceProd", [constant(N, 4), constant()], {"noop_with_empty_axes": 1})) == [N, 4]


def test_large_and_float_values_are_no_sizes() -> None:
    assert Case("ConstantOfShape", [constant(5000)], {}).facts()[0].content is None
    assert Case("Add", [floats(2), floats(2)], {}).facts()[0].content is None
    assert Case("Expand", [constant(1), constant(5000)], {}).facts()[0].content is None
    row, column = (Operand(np.ones(shape, np.int64), entries=(1,) * 200) for shape in ((1, 200), (200, 1)))
    assert Case("Mul", [row, row], {}).facts()[0].content is not None
    assert Case("Mul", [row, column], {}).facts()[0].content is None
    assert Case("Cast", [constant(2**40)], {"to": 6}).facts()[0].content is None
    assert Case("Slice", [constant(1, 2), *(constant(v) for v in (0, 2**63 - 1, 0, -1))], {}).facts()[0].content is None


SYMBOLS = st.sampled_from([0, 1, 2, 3, -1, -2, 5, N, 2 * N, N + 1])
VECTORS = st.lists(SYMBOLS, min_size=1, max_size=3).map(lambda v: constant(*v))


@st.composite
def ladders(draw: st.DrawFn) -> Case:
    """One rung of a ladder of sizes, on any entries."""
    op = draw(
        st.sampled_from("Add Sub Mul Div Mod Equal Less Greater Max Min Gather Slice Concat Reshape Tile".split())
    )
    left, right = draw(VECTORS), draw(VECTORS)
    if op == "Concat":
        return Case(op, [left, right], {"axis": 0})
    if op == "Slice":
        return Case(
            op, [left, *(constant(draw(st.integers(-4, 4))) for _ in range(2)), constant(0), constant(draw(STEP))], {}
        )
    if op in ("Div", "Mod"):
        right = constant(draw(st.sampled_from([1, 2, -2, 3])))
    return Case(op, [left, right], {})


STEP = st.sampled_from([1, 2, -1, -2])


@given(ladders())
def test_whatever_is_known_of_entries_is_true(case: Case) -> None:
    assert_true(case)


def test_what_leaves_its_type_is_not_told() -> None:
    shape = Case("Cast", [constant(8)], {"to": TensorProto.INT32})
    assert entries(shape) == [8]
    assert Case("Mul", [constant(1 << 40), constant(1 << 40)], {}).facts()[0].content is None
    assert entries(Case("Mul", [constant(1 << 20), constant(1 << 40)], {})) == [1 << 60]
    assert Case("Cast", [constant(1 << 31)], {"to": TensorProto.INT32}).facts()[0].content is None
