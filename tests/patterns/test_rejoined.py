"""[x_1, x_2] = x."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.patterns.support import apply

RULE = "rejoined"


def text_of(pieces: str, *, axis: int = -1, width: int = 6) -> str:
    return f"""score (float[B,6] item) => (float[B,{width}] z) <int64[2] sizes = {{2, 4}}> {{
        a, b = Split<axis = 1>(item, sizes)
        y = Concat<axis = {axis}>({pieces})
        z = Abs(y)
    }}"""


@pytest.mark.parametrize("axis", [1, -1])
def test_all_pieces(axis: int) -> None:
    outcome = apply(RULE, text_of("a, b", axis=axis))
    assert outcome.times == 1
    assert outcome.ops["Split"] == outcome.ops["Concat"] == 0


def test_of_a_user() -> None:
    outcome = apply(
        RULE,
        """score (float[B,6] user, float[B,6] item) => (float[B,6] z) {
            a, b, c = Split<axis = 1>(user)
            y = Concat<axis = 1>(a, b, c)
            z = Mul(y, item)
        }""",
        opset=13,
    )
    assert outcome.times == 1


@pytest.mark.parametrize(("pieces", "width"), [("b, a", 6), ("a, a", 4), ("b", 4), ("b, b, a", 10)])
def test_other_pieces(pieces: str, width: int) -> None:
    assert apply(RULE, text_of(pieces, width=width)).times == 0


@pytest.mark.parametrize(("pieces", "width"), [("a, b, b", 10), ("b, a, b", 10), ("b, a, b, a", 12)])
def test_all_pieces_beside_others(pieces: str, width: int) -> None:
    outcome = apply(RULE, text_of(pieces, width=width))
    assert outcome.times == 1
    assert outcome.ops["Concat"] == 1


def slices_of(*ranges: tuple[str, int, int], step: int = 1, axis: int = 1) -> str:
    """Pieces cut out of two values, joined."""
    known = ", ".join(f"int64[1] a{n} = {{{a}}}, int64[1] b{n} = {{{b}}}" for n, (_, a, b) in enumerate(ranges))
    work = " ".join(f"p{n} = Slice({value}, a{n}, b{n}, along, by)" for n, (value, _, _) in enumerate(ranges))
    width = sum(len(range(start, min(end, 8), step)) if axis == 1 else 8 for _, start, end in ranges)
    return f"""score (float[B,8,8] item, float[B,8,8] item_2) => (float[B,{width}] z)
        <{known}, int64[1] along = {{{axis}}}, int64[1] by = {{{step}}}> {{
        {work} y = Concat<axis = 1>({", ".join(f"p{n}" for n in range(len(ranges)))})
        z = ReduceMax<axes = [2], keepdims = 0>(y)
    }}"""


@pytest.mark.parametrize(
    ("ranges", "slices"),
    [
        ([("item", 2, 4), ("item", 4, 7)], 1),
        ([("item", 0, 3), ("item", 3, 99)], 0),
        ([("item", 1, 3), ("item", 3, 4), ("item_2", 4, 5), ("item_2", 5, 6)], 2),
        ([("item_2", 0, 2), ("item", 1, 3), ("item", 3, 4), ("item", 2, 3)], 3),
    ],
)
def test_neighbouring_ranges(ranges: list[tuple[str, int, int]], slices: int) -> None:
    outcome = apply(RULE, slices_of(*ranges))
    assert outcome.times == 1
    assert outcome.ops["Slice"] == slices


def test_ranges_that_are_no_neighbours() -> None:
    assert apply(RULE, slices_of(("item", 0, 2), ("item", 3, 5))).times == 0
    assert apply(RULE, slices_of(("item", 0, 2), ("item_2", 2, 5))).times == 0
    assert apply(RULE, slices_of(("item", 0, 4), ("item", 4, 8), step=2)).times == 0
    assert apply(RULE, slices_of(("item", 0, 4), ("item", 4, 8), axis=2)).times == 0


def test_another_axis() -> None:
    outcome = apply(
        RULE,
        """score (float[B,4,6] item) => (float[B,8,3] z) {
            a, b = Split<axis = 2>(item)
            z = Concat<axis = 1>(a, b)
        }""",
        opset=13,
    )
    assert outcome.times == 0


def entries_of(picks: Sequence[tuple[str, int]], *, axis: int = 1) -> str:
    work = " ".join(f"p{n} = Gather<axis = 1>({value}, i{k})" for n, (value, k) in enumerate(picks))
    return f"""score (float[B,5,3] item, float[B,5,3] item_2) => (float[B,{3 * len(picks)}] z)
        <{", ".join(f"int64 i{k} = {{{k}}}" for k in range(5))}> {{
        {work} y = Concat<axis = {axis}>({", ".join(f"p{n}" for n in range(len(picks)))}) z = Abs(y)
    }}"""


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize(
    ("picks", "pieces"),
    [
        ([("item", 1), ("item", 2), ("item", 3)], 1),
        ([("item", 0), ("item", 1), ("item_2", 0), ("item_2", 1), ("item_2", 2)], 2),
        ([("item", 4), ("item", 0), ("item", 1)], 2),
        ([("item", 0), ("item", 1), ("item", 3), ("item", 4)], 2),
    ],
)
def test_neighbouring_entries(picks: list[tuple[str, int]], pieces: int, axis: int) -> None:
    outcome = apply(RULE, entries_of(picks, axis=axis))
    assert outcome.times == 1
    assert outcome.ops["Slice"] + outcome.ops["Gather"] == pieces


def test_all_entries() -> None:
    outcome = apply(RULE, entries_of([("item", n) for n in range(5)]))
    assert outcome.times == 1
    assert outcome.ops["Slice"] == outcome.ops["Concat"] == outcome.ops["Gather"] == 0


@pytest.mark.parametrize(
    "picks",
    [
        [("item", 1), ("item", 0)],
        [("item", 1), ("item_2", 2)],
        [("item", 1), ("item", 3)],
        [("item", 4), ("item", 0)],
    ],
)
def test_entries_that_are_no_neighbours(picks: list[tuple[str, int]]) -> None:
    assert apply(RULE, entries_of(picks)).times == 0


def test_entries_along_another_axis() -> None:
    text = """score (float[B,5,3] item) => (float[B,10] z) <int64 i0 = {0}, int64 i1 = {1}> {
        p = Gather<axis = 2>(item, i0) q = Gather<axis = 2>(item, i1) y = Concat<axis = 1>(p, q) z = Abs(y) }"""
    assert apply(RULE, text).times == 0
