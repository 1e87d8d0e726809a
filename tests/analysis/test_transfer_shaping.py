"""Operators that move, repeat and cut: where the candidates go, and the sizes for one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.analysis import CandidateAxis
from mari_onnx.analysis.transfer import SetAttribute, SetEntry, SetInput
from tests.analysis.oracle import CANDIDATES, B, Case, check, constant, floats, lanes, scalar

FULL = 2**63 - 1


def merged(index: int, outer: int = 1, inner: int = 1) -> CandidateAxis:
    return CandidateAxis(index, outer, inner)


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
def test_transpose(order: list[int]) -> None:
    for axis in range(3):
        shape = [2, 2, 2]
        shape[axis] = B
        case = Case("Transpose", [floats(*shape, axis=axis)], {"perm": order})
        assert lanes(case) == [merged(order.index(axis))]
    assert lanes(Case("Transpose", [floats(B, 2, axis=0)], {})) == [merged(1)]


@pytest.mark.parametrize(
    ("shape", "axis", "target", "found"),
    [
        ((B, 2, 4), 0, (-1,), merged(0, 1, 8)),
        ((B, 2, 4), 0, (-1, 4), merged(0, 1, 2)),
        ((2, B, 4), 1, (-1, 4), merged(0, 2)),
        ((2, B, 4), 1, (0, 0, 2, 2), merged(1)),
        ((B, 8), 0, (0, 2, 4), merged(0)),
        ((B, 8), 0, (CANDIDATES, 2, 4), merged(0)),
        ((B, 8), 0, (2 * CANDIDATES, -1), merged(0, 1, 2)),
        ((B, 8), 0, (1, -1), merged(1, 1, 8)),
        ((6, 4), merged(0, 1, 2), (-1, 2, 4), merged(0)),
        ((6, 4), merged(0, 2, 1), (2, -1, 4), merged(1)),
        ((6, 4), merged(0, 2, 1), (-1, 2, 4), "opaque"),
        ((6, 4), merged(0, 1, 2), (2, -1, 4), "opaque"),
        ((B, 4), 0, (4, -1), "opaque"),
        ((B, 4), 0, (2, -1), "opaque"),
        ((4, B), 1, (-1, 4), "opaque"),
        ((2, B), 1, (CANDIDATES, 2), "opaque"),
    ],
)
def test_reshape(shape: tuple[int, ...], axis: Any, target: tuple[Any, ...], found: Any) -> None:
    assert lanes(Case("Reshape", [floats(*shape, axis=axis), constant(*target)], {})) == [found]


def test_reshape_of_a_fixed_batch() -> None:
    case = Case("Reshape", [floats(B, 8, axis=0), constant(B, 2, 4)], {}, batch=B)
    assert lanes(case) == [merged(0)]
    assert case.claim().changes == (SetEntry(1, 0, 1),)
    rest = Case("Reshape", [floats(B, 2, 4, axis=0), constant(B, -1)], {}, batch=B)
    assert lanes(rest) == [merged(0)]
    assert rest.facts()[0].shape == (CANDIDATES, 8)
    assert lanes(Case("Reshape", [floats(B, 8, axis=0), constant(B, 2, 4)], {})) == ["opaque"]
    assert lanes(Case("Reshape", [floats(B, 4, axis=0), constant(4, B)], {}, batch=B)) == ["opaque"]


def test_only_one_allows_zeros() -> None:
    """ONNX Runtime copies a size for each 0 with any other number there."""
    inputs = [floats(B, 4, axis=0), constant(0, -1)]
    claims = [Case("Reshape", inputs, {"allowzero": number}).claim() for number in (0, 1, 2)]
    assert claims[2] == claims[0] != claims[1]


def test_flatten() -> None:
    assert lanes(Case("Flatten", [floats(B, 2, 2, axis=0)], {})) == [merged(0)]
    assert lanes(Case("Flatten", [floats(2, B, 2, axis=1)], {"axis": 2})) == [merged(0, 2)]
    assert lanes(Case("Flatten", [floats(2, B, 2, axis=1)], {"axis": 1})) == [merged(1, 1, 2)]
    assert lanes(Case("Flatten", [floats(B, 2, axis=0)], {"axis": 0})) == [merged(1, 1, 2)]


def test_squeeze_and_unsqueeze() -> None:
    assert lanes(Case("Squeeze", [floats(1, B, 1, axis=1), constant(0)], {})) == [merged(0)]
    assert lanes(Case("Squeeze", [floats(1, B, 1, axis=1), constant(-1)], {})) == [merged(1)]
    without = Case("Squeeze", [floats(1, B, 1, axis=1)], {})
    assert lanes(without) == [merged(0)]
    assert without.claim().changes == (SetInput(1, (0, 2)),)
    old = Case("Squeeze", [floats(1, B, 1, axis=1)], {}, opset=11)
    assert lanes(old) == [merged(0)]
    assert old.claim().changes == (SetAttribute("axes", [0, 2]),)
    assert lanes(Case("Unsqueeze", [floats(2, B, axis=1), constant(0, 3)], {})) == [merged(2)]
    assert lanes(Case("Unsqueeze", [floats(2, B, axis=1), constant(-1)], {})) == [merged(1)]
    assert lanes(Case("Unsqueeze", [floats(2, B, axis=1)], {"axes": [1]}, opset=12)) == [merged(2)]


@pytest.mark.parametrize(
    ("shape", "axis", "target", "found"),
    [
        ((B, 1), 0, (1, 4), merged(0)),
        ((B, 1), 0, (CANDIDATES, 4), merged(0)),
        ((B, 4), 0, (2, CANDIDATES, 4), merged(1)),
        ((B, 4), 0, (4,), merged(0)),
        ((B, 1), 0, (CANDIDATES, CANDIDATES), "opaque"),
        ((B, 1), 0, (CANDIDATES, 1, 4), "opaque"),
        ((B, 4), 0, (B, 4), "opaque"),
        ((6, 1), merged(0, 1, 2), (2 * CANDIDATES, 4), merged(0, 1, 2)),
    ],
)
def test_expand(shape: tuple[int, ...], axis: Any, target: tuple[Any, ...], found: Any) -> None:
    assert lanes(Case("Expand", [floats(*shape, axis=axis), constant(*target)], {})) == [found]


def test_expand_of_what_is_the_same_for_all() -> None:
    for target, found in (((CANDIDATES, 4), merged(0)), ((2, 2 * CANDIDATES, 4), merged(1, 1, 2))):
        case = Case("Expand", [floats(1, 4), constant(*target)], {})
        assert case.facts()[0].axis == found
        assert not case.facts()[0].varies
        assert isinstance(case.claim().changes[0], SetEntry)
    twice = Case("Expand", [floats(1, 1), constant(CANDIDATES, CANDIDATES)], {})
    assert twice.facts()[0].opaque
    assert Case("Expand", [floats(1, 4), constant(2, 4)], {}).facts()[0].axis is None


def test_tile() -> None:
    assert lanes(Case("Tile", [floats(B, 2, axis=0), constant(1, 2)], {})) == [merged(0)]
    assert lanes(Case("Tile", [floats(B, 2, axis=0), constant(2, 1)], {})) == [merged(0, 2, 1)]
    assert lanes(Case("Tile", [floats(6, 2, axis=merged(0, 1, 2)), constant(2, 1)], {})) == [merged(0, 2, 2)]
    assert lanes(Case("Tile", [floats(B, 2, axis=0), constant(CANDIDATES, 1)], {})) == ["opaque"]
    once = Case("Tile", [floats(2, 4), constant(CANDIDATES, 1)], {})
    assert once.facts()[0].axis == merged(0, 1, 2)
    assert once.claim().changes == (SetEntry(1, 0, 1),)


def test_constant_of_shape_and_range() -> None:
    case = Case("ConstantOfShape", [constant(CANDIDATES, 4)], {})
    assert case.facts()[0].axis == merged(0)
    assert case.claim().changes == (SetEntry(0, 0, 1),)
    assert Case("ConstantOfShape", [constant(2, 2 * CANDIDATES)], {}).facts()[0].axis == merged(1, 1, 2)
    assert Case("ConstantOfShape", [constant(CANDIDATES, CANDIDATES)], {}).facts()[0].opaque
    numbers = Case("Range", [scalar(0), scalar(CANDIDATES), scalar(1)], {}).facts()[0]
    assert numbers.axis == merged(0)
    assert numbers.varies
    for bounds in ((1, CANDIDATES, 1), (0, 2 * CANDIDATES, 1), (0, CANDIDATES, 2)):
        assert Case("Range", [scalar(b) for b in bounds], {}).facts()[0].opaque


def test_concat() -> None:
    rows = floats(B, 2, axis=0)
    assert lanes(Case("Concat", [rows, floats(B, 4, axis=0)], {"axis": 1})) == [merged(0)]
    assert lanes(Case("Concat", [rows, rows], {"axis": -2})) == ["opaque"]
    assert lanes(Case("Concat", [rows, floats(B, 4)], {"axis": 1})) == ["opaque"]
    fixed = Case("Concat", [rows, floats(B, 4)], {"axis": 1}, batch=B)
    assert fixed.facts()[0].varies
    assert lanes(Case("Concat", [rows, floats(2, B, axis=1)], {"axis": 1})) == ["opaque"]


def test_split() -> None:
    assert lanes(Case("Split", [floats(B, 4, axis=0), constant(1, 3)], {"axis": 1}, 2)) == [merged(0)] * 2
    assert lanes(Case("Split", [floats(6, 4, axis=merged(0, 2)), constant(3, 3)], {}, 2)) == ["opaque"] * 2
    assert lanes(Case("Split", [floats(B, 4, axis=0)], {"axis": 1, "split": [2, 2]}, 2, opset=12)) == [merged(0)] * 2


@pytest.mark.parametrize(
    ("start", "end", "axis", "step", "found"),
    [
        (1, 3, 1, 1, merged(0)),
        (-1, -5, 1, -1, merged(0)),
        (0, FULL, 0, 1, merged(0)),
        (0, 10**9, 0, 1, merged(0)),
        (0, CANDIDATES, 0, 1, merged(0)),
        (0, CANDIDATES, -2, 1, merged(0)),
        (0, 1, 0, 1, "opaque"),
        (1, FULL, 0, 1, "opaque"),
        (0, B, 0, 1, "opaque"),
        (-1, -FULL, 0, -1, "opaque"),
        (0, FULL, 0, 2, "opaque"),
        (0, CANDIDATES, 1, 1, "opaque"),
    ],
)
def test_slice(start: Any, end: Any, axis: int, step: int, found: Any) -> None:
    bounds = [constant(v) for v in (start, end, axis, step)]
    assert lanes(Case("Slice", [floats(B, 4, axis=0), *bounds], {})) == [found]


def test_slice_of_a_fixed_batch() -> None:
    assert lanes(Case("Slice", [floats(B, 4, axis=0), constant(0), constant(B)], {}, batch=B)) == [merged(0)]
    assert lanes(Case("Slice", [floats(B, 4, axis=0), constant(0), constant(2)], {}, batch=B)) == ["opaque"]


def test_pad() -> None:
    assert lanes(Case("Pad", [floats(B, 4, axis=0), constant(0, 1, 0, 2)], {})) == [merged(0)]
    assert lanes(Case("Pad", [floats(B, 4, axis=0), constant(0, 1, 1, 0)], {})) == ["opaque"]
    assert lanes(Case("Pad", [floats(B, 4, axis=0), constant(1, 1), None, constant(1)], {})) == [merged(0)]
    assert lanes(Case("Pad", [floats(B, 4, axis=0), constant(1, 1), None, constant(-2)], {})) == ["opaque"]
    reflected = Case("Pad", [floats(4, B, axis=1), constant(1, 0, 1, 0)], {"mode": "reflect"})
    assert lanes(reflected) == [merged(1)]


def test_depth_to_space() -> None:
    assert lanes(Case("DepthToSpace", [floats(B, 4, 2, 2, axis=0)], {"blocksize": 2})) == [merged(0)]
    assert lanes(Case("SpaceToDepth", [floats(B, 1, 2, 2, axis=0)], {"blocksize": 2})) == [merged(0)]
    assert lanes(Case("DepthToSpace", [floats(1, 4, B, 2, axis=2)], {"blocksize": 2})) == ["opaque"]


@st.composite
def layouts(draw: st.DrawFn) -> Case:
    """A tensor with its candidates anywhere, laid out anew in any other factors."""
    shape = draw(st.lists(st.sampled_from([1, 2, B, 4, 6]), max_size=3))
    place = draw(st.integers(0, len(shape)))
    outer, inner = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (B, 1), (1, B)]))
    shape.insert(place, outer * B * inner)
    total, target = int(np.prod(shape)), []
    rest = total
    for _ in range(draw(st.integers(0, 3))):
        factor = draw(st.sampled_from([f for f in range(1, rest + 1) if rest % f == 0]))
        target.append(factor)
        rest //= factor
    target.append(rest)
    entries: list[Any] = [draw(st.sampled_from([n, *([CANDIDATES * (n // B)] * (n % B == 0))])) for n in target]
    if draw(st.booleans()):
        entries[draw(st.integers(0, len(entries) - 1))] = -1
    axis = CandidateAxis(place, outer, inner)
    batch = draw(st.sampled_from([None, B]))
    return Case("Reshape", [floats(*shape, axis=axis), constant(*entries)], {}, batch=batch)


@given(layouts())
def test_whatever_is_claimed_of_a_reshape_is_true(case: Case) -> None:
    check(case)


@st.composite
def repetitions(draw: st.DrawFn) -> Case:
    shape = draw(st.lists(st.sampled_from([1, 2, B]), min_size=1, max_size=3))
    places = [k for k, n in enumerate(shape) if n == B]
    axis = draw(st.sampled_from([None, *places]))
    entry = st.sampled_from([1, 2, B, CANDIDATES])
    op = draw(st.sampled_from(["Expand", "Tile"]))
    size = len(shape) if op == "Tile" else draw(st.integers(1, 4))
    entries = draw(st.lists(entry, min_size=size, max_size=size))
    return Case(op, [floats(*shape, axis=axis), constant(*entries)], {}, batch=draw(st.sampled_from([None, B])))


@given(repetitions())
def test_whatever_is_claimed_of_repetitions_is_true(case: Case) -> None:
    check(case)


@st.composite
def cuts(draw: st.DrawFn) -> Case:
    shape = draw(st.lists(st.sampled_from([1, 2, B, 4]), min_size=1, max_size=3))
    shape.insert(0, B)
    bound = st.sampled_from([0, 1, -1, 2, -4, B, CANDIDATES, FULL, -FULL])
    count = draw(st.integers(1, 2))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=count, max_size=count, unique=True))
    starts, ends = ([draw(bound) for _ in axes] for _ in range(2))
    steps = [draw(st.sampled_from([1, -1, 2])) for _ in axes]
    given_bounds = [constant(*v) for v in (starts, ends, axes, steps)]
    return Case("Slice", [floats(*shape, axis=0), *given_bounds], {}, batch=draw(st.sampled_from([None, B])))


@given(cuts())
def test_whatever_is_claimed_of_a_slice_is_true(case: Case) -> None:
    check(case)
