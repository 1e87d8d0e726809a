"""Sizes of tensor axes: plain integers where known, sympy expressions where not.

All symbols stand for non-negative integers. ``CANDIDATES`` is the number of candidates of a request, called B in
the documentation. Symbols made for sizes that nobody could derive start with ``?``: nothing is known of them, not
even whether they depend on B.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import sympy

Dim: TypeAlias = Any
"""An ``int``, or a sympy expression over non-negative integer symbols."""

CANDIDATES: Dim = sympy.Symbol("B", integer=True, nonnegative=True)

_fresh_numbers = itertools.count()


def symbol(name: str) -> Dim:
    """The symbol for a named dimension of the model (its own ``B`` must not be taken for ours)."""
    return sympy.Symbol(f"dim:{name}", integer=True, nonnegative=True)


def fresh() -> Dim:
    """A symbol for a size that could not be derived."""
    return sympy.Symbol(f"?{next(_fresh_numbers)}", integer=True, nonnegative=True)


def simplified(value: Dim) -> Dim:
    """Python integers instead of sympy's, so that comparisons and hashes are cheap."""
    if isinstance(value, int):
        return value
    if value.is_Integer:
        return int(value)
    return value


def product(dims: Iterable[Dim]) -> Dim:
    number, symbolic = 1, []
    for dim in dims:
        if isinstance(dim, int):
            number *= dim
        else:
            symbolic.append(dim)
    return _multiplied(number, tuple(symbolic)) if symbolic else number


@lru_cache(maxsize=65536)
def _multiplied(number: int, symbolic: tuple[Dim, ...]) -> Dim:
    return simplified(sympy.Mul(number, *symbolic))


@lru_cache(maxsize=65536)
def _expanded(value: Dim) -> Dim:
    return simplified(sympy.expand(value))


def difference(left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int):
        return left - right
    return _expanded(left - right)


def same(left: Dim, right: Dim) -> bool:
    """Whether two sizes are equal whatever the symbols are."""
    if left is right:
        return True
    if isinstance(left, int) and isinstance(right, int):
        return left == right
    return _is_same(left, right)


@lru_cache(maxsize=65536)
def _is_same(left: Dim, right: Dim) -> bool:
    return bool(left == right) or difference(left, right) == 0


def alike(left: Sequence[Dim] | None, right: Sequence[Dim] | None) -> bool:
    """Whether two shapes are known, and equal whatever the symbols are."""
    return left is not None and right is not None and len(left) == len(right) and all(map(same, left, right))


def regrouped(before: Sequence[Dim], after: Sequence[Dim]) -> list[tuple[range, range]]:
    """Neighbouring axes of two layouts that hold the same entries in the same order."""
    cuts = [(0, 0)]
    for old in range(1, len(before) + 1):
        size = product(before[:old])
        new = next((n for n in range(cuts[-1][1] + 1, len(after) + 1) if same(product(after[:n]), size)), None)
        if new is not None:
            cuts.append((old, new))
    old, new = cuts[-1]
    # Axes of size 1 have no entries of their own; any other sizes are left where products could not be compared.
    only_ones = len(cuts) > 1 and all(same(d, 1) for d in (*before[old:], *after[new:]))
    cuts[len(cuts) - only_ones :] = [(len(before), len(after))]
    return [(range(a, c), range(b, d)) for (a, b), (c, d) in itertools.pairwise(cuts)]


def differ(left: Dim, right: Dim) -> bool:
    """Whether two sizes are different whatever the symbols are."""
    gap = difference(left, right)
    if isinstance(gap, int):
        return gap != 0
    return gap.is_zero is False


@lru_cache(maxsize=65536)
def _quotient(left: Dim, right: Dim) -> Dim | None:
    ratio = sympy.cancel(sympy.sympify(left) / right)
    numerator, denominator = ratio.as_numer_denom()
    if denominator != 1:
        return None
    free = sorted(numerator.free_symbols, key=str)
    if free and not all(c.is_Integer for c in sympy.Poly(numerator, *free).coeffs()):
        return None
    return simplified(ratio)


def quotient(left: Dim, right: Dim) -> Dim | None:
    """``left / right`` where that is a whole number for all values of the symbols, else ``None``."""
    if isinstance(right, int):
        if right == 0:
            return None
        if isinstance(left, int):
            return left // right if left % right == 0 else None
        if right == 1:
            return left
    try:
        return _quotient(left, right)
    except (sympy.PolynomialError, TypeError, ZeroDivisionError):
        return None


def is_size(value: Dim) -> bool:
    """Whether a number is not negative, whatever the symbols are."""
    return value >= 0 if isinstance(value, int) else bool(value.is_nonnegative)


def free_symbols(value: Dim) -> frozenset[Any]:
    return frozenset() if isinstance(value, int) else frozenset(value.free_symbols)


def mentions_candidates(value: Dim) -> bool:
    return CANDIDATES in free_symbols(value)


def is_underived(value: Dim) -> bool:
    """Whether the size involves a symbol that nobody could derive (it may depend on B)."""
    return any(s.name.startswith("?") for s in free_symbols(value))


def substitute(value: Dim, candidates: int, other: int | None = None) -> Dim:
    """The size at a given number of candidates; every other symbol becomes ``other`` unless that is ``None``."""
    return value if isinstance(value, int) else _substituted(value, candidates, other)


@lru_cache(maxsize=65536)
def _substituted(value: Dim, candidates: int, other: int | None) -> Dim:
    table = {CANDIDATES: candidates}
    if other is not None:
        table |= {s: other for s in value.free_symbols if s != CANDIDATES}
    return simplified(value.subs(table))


def may_be_zero(dim: Dim) -> bool:
    """Whether a size may be 0 in a request that has candidates."""
    size = substitute(dim, 1)
    return size == 0 if isinstance(size, int) else not size.is_positive
