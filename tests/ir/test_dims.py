"""Sizes: whole numbers and expressions, compared for all values of their symbols."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.ir import dims
from mari_onnx.ir.dims import CANDIDATES as B
from mari_onnx.ir.dims import (
    differ,
    difference,
    fresh,
    product,
    quotient,
    regrouped,
    same,
    simplified,
    substitute,
    symbol,
)

T = symbol("T")


def test_a_dimension_of_the_model_called_b_is_not_ours() -> None:
    assert not same(symbol("B"), B)
    assert same(symbol("B"), symbol("B"))


def test_fresh_sizes_are_like_no_other() -> None:
    one, other = fresh(), fresh()
    assert not same(one, other)
    assert dims.is_underived(one * B)
    assert not dims.is_underived(T * B)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (3, 3, True),
        (3, 4, False),
        (B, B, True),
        (B, 3, False),
        (B * T, T * B, True),
        (2 * B + B, 3 * B, True),
        (B * (T + 1), B * T + B, True),
        (B, T, False),
        (0 * B, 0, True),
    ],
)
def test_same(left: dims.Dim, right: dims.Dim, expected: bool) -> None:
    assert same(simplified(left), simplified(right)) is expected
    assert same(simplified(right), simplified(left)) is expected


def test_differ_is_not_the_contrary_of_same() -> None:
    """Of two sizes that may be equal neither can be said."""
    assert not same(B, T)
    assert not differ(B, T)
    assert not differ(B, 3)
    assert differ(B + 1, B)
    assert differ(3, 4)
    assert not differ(B * T, T * B)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (12, 3, 4),
        (12, 5, None),
        (12, 0, None),
        (0, 5, 0),
        (B, 1, B),
        (B * T, B, T),
        (6 * B, 3, 2 * B),
        (B, 2, None),
        (B * T + B, B, T + 1),
        (B, T, None),
        (1, B, None),
        (B * B, B, B),
    ],
)
def test_quotient(left: dims.Dim, right: dims.Dim, expected: dims.Dim | None) -> None:
    found = quotient(left, right)
    assert (found is None) == (expected is None)
    assert expected is None or same(found, expected)


def test_whole_numbers_are_pythons_own() -> None:
    assert type(product([2, 3])) is int
    assert type(product([])) is int
    assert type(simplified(B - B + 4)) is int
    assert type(difference(B + 3, B)) is int
    assert type(substitute(2 * B, 5)) is int


def test_substitute() -> None:
    assert substitute(B * T + 1, 7, 3) == 22
    assert same(substitute(B * T, 7), 7 * T)
    assert substitute(5, 7) == 5


def test_what_a_size_mentions() -> None:
    assert dims.mentions_candidates(B * T)
    assert not dims.mentions_candidates(T)
    assert not dims.mentions_candidates(4)
    assert dims.free_symbols(4) == frozenset()


sizes = st.recursive(
    st.one_of(st.integers(0, 6), st.just(B), st.just(T)),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: simplified(p[0] + p[1])),
        st.tuples(inner, inner).map(lambda p: simplified(p[0] * p[1])),
    ),
    max_leaves=5,
)


@given(left=sizes, right=sizes, batch=st.integers(0, 5), other=st.integers(0, 5))
def test_what_is_said_holds_for_all_values(left: dims.Dim, right: dims.Dim, batch: int, other: int) -> None:
    a, b = substitute(left, batch, other), substitute(right, batch, other)
    if same(left, right):
        assert a == b
    if differ(left, right):
        assert a != b
    ratio = quotient(left, right)
    if ratio is not None and b:
        assert a == b * substitute(ratio, batch, other)
    assert substitute(product([left, right]), batch, other) == a * b


@pytest.mark.parametrize(
    ("before", "after", "groups"),
    [
        ((B, 4, 6), (B, 24), [((0,), (0,)), ((1, 2), (1,))]),
        ((B, 4, 6), (4 * B, 3, 2), [((0, 1), (0,)), ((2,), (1, 2))]),
        ((B, 1, 6), (B, 6, 1), [((0,), (0,)), ((1, 2), (1, 2))]),
        ((1, 1), (1,), [((0, 1), (0,))]),
        ((), (1, 1), [((), (0, 1))]),
        ((B, symbol("M")), (B, symbol("N")), [((0,), (0,)), ((1,), (1,))]),
        ((B, 6), (6, B), [((0, 1), (0, 1))]),
    ],
)
def test_regrouped(before: list[dims.Dim], after: list[dims.Dim], groups: list[object]) -> None:
    assert [(tuple(old), tuple(new)) for old, new in regrouped(before, after)] == groups
