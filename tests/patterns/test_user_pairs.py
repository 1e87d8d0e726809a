"""x[k] = [u[k_u], x[k_i]]."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "user-pairs"

FIELDS = "user, item, user_more, item_more"
SIDES = [True, True, False, True, False]
"""Of the fields, in their order: whether they are the user's."""
PAIRS = np.array(list(combinations(range(5), 2)))
BOTH_USERS = 3


def pairs_of(rest: str, result: str = "float[B,N]", weights: str = "", **given: Any) -> Outcome:
    return apply(
        RULE,
        f"""score (float[B,2,3] user, float[B,1,3] item, float[B,1,3] user_more, float[B,1,3] item_more)
            => ({result} y) {f"<{weights}>" if weights else ""} {{
            x = Concat<axis = 1>({FIELDS})
            l = Gather<axis = 1>(x, left)
            r = Gather<axis = 1>(x, right)
            {rest}
        }}""",
        opset=13,
        left=PAIRS[:, 0],
        right=PAIRS[:, 1],
        **given,
    )


def lists(outcome: Outcome) -> list[tuple[object, object]]:
    """For each list of pairs its candidates and its length."""
    shapes = [outcome.size_of(node.output[0]) for node in outcome.of("Gather")]
    return sorted(((s[0] if isinstance(s[0], int) else "B", s[1]) for s in shapes), key=str)


SPLIT = sorted([("B", 7), ("B", 7), (1, 3), (1, 3)], key=str)


def test_as_many_pairs_are_the_users_as_are_said() -> None:
    assert sum(SIDES[a] and SIDES[b] for a, b in PAIRS) == BOTH_USERS
    assert len(PAIRS) == BOTH_USERS + 7


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "result", "weights"),
    [
        ("p = Mul(l, r) one = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(p, one)", "float[B,N]", ""),
        ("p = Mul(l, r) f = Flatten(p) y = MatMul(f, w)", "float[B,N]", "float[30,2] w"),
        ("p = Mul(l, r) f = Flatten(p) y = Gemm<transB = 1>(f, w)", "float[B,N]", "float[2,30] w"),
        (
            "q = Mul(r, w) p = Mul(l, q) one = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(p, one)",
            "float[B,N]",
            "float[10,1] w",
        ),
        (
            """u = Unsqueeze(l, three) m = MatMul(u, w) s = Squeeze(m, three) p = Mul(s, r)
            one = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(p, one)""",
            "float[B,N]",
            "float[10,3,3] w, int64[1] three = {2}",
        ),
    ],
)
def test_pairs_that_end_in_a_sum(rest: str, result: str, weights: str) -> None:
    outcome = pairs_of(rest, result, weights)
    assert outcome.times == 1
    assert lists(outcome) == SPLIT


def test_pairs_with_a_value_that_is_computed_once() -> None:
    rest = """t = Gather<axis = 1>(user, left_two) p = Mul(l, t) q = Mul(p, r)
        one = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(q, one)"""
    outcome = pairs_of(rest, left_two=PAIRS[:, 0] % 2)
    assert outcome.times == 1


ALL = 25
BOTH_USERS_OF_ALL = sum(a and b for a in SIDES for b in SIDES)


@pytest.mark.parametrize(
    "left",
    [
        "l = Tile(x, <1,5,1>)",
        "l = Gather<axis = 1>(x, <0,1,2,3,4,0,1,2,3,4,0,1,2,3,4,0,1,2,3,4,0,1,2,3,4>)",
        "l = Gather<axis = 1>(x, <0,1,2,3,-1,0,1,2,3,-1,0,1,2,3,-1,0,1,2,3,-1,0,1,2,3,-1>)",
        "a = Unsqueeze(x, <1>) b = Expand(a, <1,5,1,1>) l = Reshape(b, <0,25,3>)",
    ],
)
@pytest.mark.parametrize(
    "right",
    [
        "t = Tile(x, <1,1,5>) r = Reshape(t, <0,25,3>)",
        "c = Unsqueeze(x, <2>) d = Expand(c, <1,1,5,1>) r = Reshape(d, <0,25,3>)",
        "c = Reshape(x, <0,5,1,3>) d = Tile(c, <1,1,5,1>) r = Reshape(d, <0,25,3>)",
    ],
)
def test_all_with_all_however_they_are_listed(left: str, right: str) -> None:
    outcome = all_pairs(left, right, "p = Mul(l, r) f = Flatten(p) y = MatMul(f, w)", "float[75,2] w")
    assert outcome.times == 1
    rows = [outcome.size_of(node.output[0]) for node in outcome.of("Gather")]
    assert [s[1] for s in rows if s[0] == 1] == [BOTH_USERS_OF_ALL] * 2
    assert [s[1] for s in rows if s[0] != 1] == [ALL - BOTH_USERS_OF_ALL] * 2


def test_outer_products_of_all_with_all() -> None:
    rest = """e = Einsum<equation = "bnh,bnd->bnhd">(l, r) t = Transpose<perm = [0, 2, 3, 1]>(e) m = MatMul(t, w)
        y = Flatten(m)"""
    lists = ("l = Tile(x, <1,5,1>)", "t_ = Tile(x, <1,1,5>) r = Reshape(t_, <0,25,3>)")
    assert all_pairs(*lists, rest, "float[25,2] w").times == 1


def all_pairs(left: str, right: str, rest: str, weights: str) -> Outcome:
    """Lists ``l`` and ``r`` of entries of ``x``; ``<1,2>`` stands for a constant with these entries."""
    constants: dict[str, np.ndarray] = {}

    def constant(found: re.Match[str]) -> str:
        name = f"k{len(constants)}"
        constants[name] = np.array(found[1].split(","), np.int64)
        return name

    body = re.sub(r"<([-\d,]+)>", constant, f"{left} {right}")
    return apply(
        RULE,
        f"""score (float[B,2,3] user, float[B,1,3] item, float[B,1,3] user_more, float[B,1,3] item_more)
            => (float[B,N] y) <{weights}> {{
            x = Concat<axis = 1>({FIELDS})
            {body}
            {rest}
        }}""",
        opset=13,
        **constants,
    )


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_pairs_whose_order_is_seen() -> None:
    outcome = pairs_of("y = Mul(l, r)", "float[B,10,3]")
    assert outcome.times == 0
    assert "the order of its pairs matters to something that reads them" in outcome.reasons


@pytest.mark.parametrize(
    "left",
    [
        "t_ = Tile(x, <1,1,10>) l = Reshape(t_, <0,25,6>)",
        "t_ = Tile(x, <1,5,2>) l = Slice(t_, <0>, <3>, <2>)",
        "t_ = Transpose<perm = [0, 2, 1]>(x) u_ = Tile(t_, <1,1,5>) l = Reshape(u_, <0,25,3>)",
    ],
)
def test_other_things_that_are_laid_out_so(left: str) -> None:
    size = "6" if "6" in left else "3"
    right = "r = Tile(x, <1,5,2>)" if size == "6" else "r = Tile(x, <1,5,1>)"
    outcome = all_pairs(left, right, "p = Mul(l, r) f = Flatten(p) y = MatMul(f, w)", f"float[{25 * int(size)},2] w")
    assert outcome.times == 0


def test_pairs_that_all_have_a_field_of_the_item() -> None:
    outcome = apply(
        RULE,
        """score (float[B,1,3] user, float[B,2,3] item) => (float[B,3] y) {
            x = Concat<axis = 1>(user, item)
            l = Gather<axis = 1>(x, left)
            r = Gather<axis = 1>(x, right)
            p = Mul(l, r)
            one = Constant<value_ints = [1]>()
            y = ReduceSum<keepdims = 0>(p, one)
        }""",
        opset=13,
        left=np.array([0, 0, 1]),
        right=np.array([1, 2, 2]),
    )
    assert outcome.times == 0
