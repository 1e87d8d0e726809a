"""Following the candidates through a reshape, checked on numbers that know which candidate they belong to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.analysis import CandidateAxis
from mari_onnx.analysis.sizes import broadcast
from mari_onnx.analysis.transfer.layouts import follow_reshape, kept_entries, resolve_target
from mari_onnx.ir.dims import CANDIDATES, same, substitute, symbol

B = 5
T = symbol("T")


def owners(shape: list[int], axis: CandidateAxis, batch: int) -> np.ndarray:
    """For each entry of a tensor, the number of its candidate."""
    row = np.tile(np.repeat(np.arange(batch), axis.inner), axis.outer)
    return np.broadcast_to(row.reshape([-1 if k == axis.index else 1 for k in range(len(shape))]), shape)


@st.composite
def relaid(draw: st.DrawFn) -> tuple[list[int], CandidateAxis, list[int], list[object], list[object]]:
    """Sizes before and after in numbers, and in symbols."""
    small = st.sampled_from([1, 2, 3, B])
    before, after = draw(st.lists(small, max_size=2)), draw(st.lists(small, max_size=2))
    outer, inner = draw(small), draw(small)
    axis = CandidateAxis(len(before), outer, inner)
    shape = [*before, outer * B * inner, *after]
    symbolic = [*before, outer * CANDIDATES * inner, *after]
    rest, target, names = int(np.prod(shape)), [], []
    for _ in range(draw(st.integers(0, 4))):
        target.append(draw(st.sampled_from([f for f in range(1, rest + 1) if rest % f == 0])))
        rest //= target[-1]
    target.append(rest)
    for size in target:
        wide = size % B == 0 and draw(st.booleans())
        names.append(size // B * CANDIDATES if wide else size)
    return shape, axis, target, symbolic, names


@given(relaid(), st.sampled_from([None, B]))
def test_what_is_followed_is_where_the_candidates_are(
    case: tuple[list[int], CandidateAxis, list[int], list[object], list[object]], batch: int | None
) -> None:
    shape, axis, target, symbolic, names = case
    found = follow_reshape(tuple(symbolic), axis, names, batch)
    if found is not None:
        moved = owners(shape, axis, B).reshape(target)
        assert np.array_equal(moved, owners(target, CandidateAxis(found.index, int(found.outer), int(found.inner)), B))


@given(st.lists(st.sampled_from([1, 2, 3]), max_size=2), st.lists(st.sampled_from([1, 2, 3]), max_size=2), st.data())
def test_axes_that_stay_whole_are_always_found(before: list[int], after: list[int], data: st.DataObject) -> None:
    """Merged with neighbours and taken apart again, at either end."""
    start = data.draw(st.integers(0, len(before)))
    end = data.draw(st.integers(0, len(after)))
    outer, inner = int(np.prod(before[start:])), int(np.prod(after[:end]))
    merged = (*before[:start], outer * CANDIDATES * inner, *after[end:])
    found = follow_reshape((*before, CANDIDATES, *after), CandidateAxis(len(before)), merged, None)
    assert found is not None
    assert found.size == merged[found.index]
    back = follow_reshape(merged, found, (*before, CANDIDATES, *after), None)
    assert back is not None
    assert same(back.outer * back.inner, 1) or 1 in (*before, *after) or outer * inner > 1


def test_symbolic_neighbours() -> None:
    found = follow_reshape((CANDIDATES, T, 4), CandidateAxis(0), (CANDIDATES * T, 4), None)
    assert found == CandidateAxis(0, 1, T)
    back = follow_reshape((CANDIDATES * T, 4), CandidateAxis(0, 1, T), (CANDIDATES, T, 4), None)
    assert back == CandidateAxis(0)
    assert follow_reshape((CANDIDATES, T, 4), CandidateAxis(0), (T, CANDIDATES, 4), None) is None


def test_sizes_are_not_compared_with_the_number_of_candidates() -> None:
    """[B, 512] as [512, B] with B = 512: as long, but not the candidates."""
    assert follow_reshape((512, CANDIDATES), CandidateAxis(1), (CANDIDATES, 512), None) is None
    assert follow_reshape((CANDIDATES, 512), CandidateAxis(0), (512, 512), 512) == CandidateAxis(0)
    assert follow_reshape((CANDIDATES, 512), CandidateAxis(0), (512, 512), None) is None


@pytest.mark.parametrize(
    ("shape", "target", "allow_zero", "found"),
    [
        ((CANDIDATES, 4), (-1,), False, (4 * CANDIDATES,)),
        ((CANDIDATES, 4), (0, 2, -1), False, (CANDIDATES, 2, 2)),
        ((CANDIDATES, 4), (0, 0, 0), False, None),
        ((CANDIDATES, 4), (3, -1), False, None),
        ((0, 4), (0, 4), True, (0, 4)),
        ((T, 4), (-1, T), False, (4, T)),
    ],
)
def test_targets(shape: tuple[object, ...], target: tuple[object, ...], allow_zero: bool, found: object) -> None:
    assert resolve_target(shape, target, allow_zero) == found


@given(st.lists(st.sampled_from([1, 2, 3, CANDIDATES]), max_size=3), st.lists(st.sampled_from([1, 2, 3]), max_size=3))
def test_broadcast_shapes(left: list[object], right: list[int]) -> None:
    """Where numpy broadcasts, the sizes found are its sizes; with an open number of candidates nothing is guessed."""
    found = broadcast([tuple(left), tuple(right)])
    for batch in (1, 2, 3, 7):
        try:
            expected = np.broadcast_shapes([substitute(d, batch) for d in left], right)
        except ValueError:
            continue
        for dim, size in zip(found, expected, strict=True):
            known = substitute(dim, batch)
            assert not isinstance(known, int) or known == size


@given(*[st.integers(-6, 6)] * 2, st.sampled_from([1, 2, -1, -3]), st.integers(0, 4))
def test_kept_entries(start: int, end: int, step: int, size: int) -> None:
    """As ONNX Runtime does it."""
    from tests.analysis.oracle import Case, Operand, constant

    case = Case("Slice", [Operand(np.arange(size)), *(constant(v) for v in (start, end, 0, step))], {})
    kept = kept_entries(size, start, end, step)
    assert kept is not None
    assert list(kept) == case.run([o.array for o in case.operands if o is not None])[0].tolist()
