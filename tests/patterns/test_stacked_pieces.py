"""[view(x_1), view(x_2)] = turn(x)."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "stacked-pieces"


def heads(cut: str, join: str, *, given: str = "B,5,6", made: str = "3,B,5,2") -> str:
    """Three pieces ``a``, ``b``, ``c`` of ``item``, stacked as ``y``."""
    return f"""score (float[{given}] item) => (float[{made}] z)
        <int64[1] at_0 = {{0}}, int64[1] at_2 = {{2}}, int64[1] at_4 = {{4}}, int64[1] at_6 = {{6}},
         int64 one = {{1}}, int64 two = {{2}}, int64 none = {{0}}> {{
            {cut}
            {join}
            z = Abs(y)
        }}"""


SPLIT = "a, b, c = Split<axis = -1>(item)"
SLICES = """
    a = Slice(item, at_0, at_2, at_2)
    b = Slice(item, at_2, at_4, at_2)
    c = Slice(item, at_4, at_6, at_2)"""
IN_FRONT = """
    p = Unsqueeze(a, at_0)
    q = Unsqueeze(b, at_0)
    r = Unsqueeze(c, at_0)
    y = Concat<axis = 0>(p, q, r)"""


@pytest.mark.parametrize("cut", [SPLIT, SLICES], ids=["split", "slices"])
def test_heads_in_front(cut: str) -> None:
    outcome = apply(RULE, heads(cut, IN_FRONT))
    assert outcome.times == 1
    assert outcome.ops == {"Reshape": 1, "Transpose": 1, "Abs": 1}
    (turned,) = outcome.of("Transpose")
    assert list(turned.attribute[0].ints) == [2, 0, 1, 3]


SINGLE = "a = Gather<axis = 0>(item, none) b = Gather<axis = 0>(item, one) c = Gather<axis = 0>(item, two)"
SQUEEZED = """
    i, j, k = Split<axis = 0>(item)
    a = Squeeze(i, at_0)
    b = Squeeze(j, at_0)
    c = Squeeze(k, at_0)"""


@pytest.mark.parametrize("cut", [SINGLE, SQUEEZED], ids=["gathers", "squeezed"])
@pytest.mark.parametrize(
    ("axis", "made", "order"), [(2, "B,5,6", [1, 2, 0, 3]), (1, "B,15,2", [1, 0, 2, 3])], ids=["columns", "rows"]
)
def test_heads_side_by_side(cut: str, axis: int, made: str, order: list[int]) -> None:
    text = heads(cut, f"y = Concat<axis = {axis}>(a, b, c)", given="3,B,5,2", made=made)
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert outcome.ops == {"Reshape": 1, "Transpose": 1, "Abs": 1}
    assert list(outcome.of("Transpose")[0].attribute[0].ints) == order


def test_pieces_that_lie_in_order_already_are_only_viewed() -> None:
    join = "p = Unsqueeze(a, at_2) q = Unsqueeze(b, at_2) r = Unsqueeze(c, at_2) y = Concat<axis = 2>(p, q, r)"
    outcome = apply(RULE, heads(SPLIT, join, made="B,5,3,2"))
    assert outcome.times == 1
    assert outcome.ops == {"Reshape": 1, "Abs": 1}


def test_pieces_joined_along_an_axis_that_they_have() -> None:
    """[B, 5, 2] three times as [B, 15, 2]: the number of the piece in front of the axis of 5."""
    outcome = apply(RULE, heads(SPLIT, "y = Concat<axis = 1>(a, b, c)", made="B,15,2"))
    assert outcome.times == 1
    assert list(outcome.of("Transpose")[0].attribute[0].ints) == [0, 2, 1, 3]


def test_views_that_merge_axes_of_a_piece() -> None:
    join = "s = Constant<value_ints = [-1, 10]>() p = Reshape(a, s) q = Reshape(b, s) r = Reshape(c, s)"
    outcome = apply(RULE, heads(SPLIT, f"{join} y = Concat<axis = 1>(p, q, r)", made="B,30"))
    assert outcome.times == 1
    assert outcome.ops["Concat"] == 0


def test_views_that_cut_through_axes_of_a_piece_stay() -> None:
    """[B, 5, 2] as [2 B, 5]: what lies in front ends within the axis of 5."""
    join = "s = Constant<value_ints = [-1, 2, 5]>() p = Reshape(a, s) q = Reshape(b, s) r = Reshape(c, s)"
    assert apply(RULE, heads(SPLIT, f"{join} y = Concat<axis = 2>(p, q, r)", made="B,2,15")).times == 0


def test_of_a_user() -> None:
    outcome = apply(
        RULE,
        """score (float[B,4,6] user, float[B,4,3] item) => (float[2,B,4,3] z) <int64[1] at_0 = {0}> {
            a, b = Split<axis = 2>(user)
            p = Unsqueeze(a, at_0)
            q = Unsqueeze(b, at_0)
            y = Concat<axis = 0>(p, q)
            z = Mul(y, item)
        }""",
    )
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("Transpose")[0].output[0]) == (1, 2, 4, 3)


@pytest.mark.parametrize("dtype", ["double", "int64", "bool", "float16"])
def test_any_type(dtype: str) -> None:
    text = f"""score ({dtype}[B,4,6] item) => ({dtype}[2,B,4,3] z) <int64[1] at_0 = {{0}}> {{
        a, b = Split<axis = 2>(item)
        p = Unsqueeze(a, at_0)
        q = Unsqueeze(b, at_0)
        y = Concat<axis = 0>(p, q)
        z = Identity(y)
    }}"""
    assert apply(RULE, text).times == 1


@pytest.mark.parametrize("opset", [9, 12, 20])
def test_any_opset(opset: int) -> None:
    text = """score (float[B,4,6] item) => (float[2,B,4,3] z) {
        s = Constant<value = int64[4] {1, -1, 4, 3}>()
        k = Constant<value = int64[2] {3, 3}>()
        a, b = SPLIT
        p = Reshape(a, s)
        q = Reshape(b, s)
        y = Concat<axis = 0>(p, q)
        z = Abs(y)
    }"""
    split = "Split<axis = 2>(item, k)" if opset >= 13 else "Split<axis = 2, split = [3, 3]>(item)"
    assert apply(RULE, text.replace("SPLIT", split), opset=opset).times == 1


@pytest.mark.parametrize(
    "join",
    [
        IN_FRONT.replace("(p, q, r)", "(q, p, r)"),
        IN_FRONT.replace("(p, q, r)", "(p, p, r)"),
        IN_FRONT.replace("Unsqueeze(b, at_0)", "Neg(p)"),
    ],
    ids=["another order", "one twice", "no piece"],
)
def test_other_parts(join: str) -> None:
    assert apply(RULE, heads(SPLIT, join)).times == 0


@pytest.mark.parametrize("parts", ["a, b", "b, c"])
def test_not_all_of_the_pieces(parts: str) -> None:
    assert apply(RULE, heads(SPLIT, f"y = Concat<axis = 0>({parts})", made="C,5,2")).times == 0


def test_pieces_of_different_sizes() -> None:
    text = """score (float[B,4,6] item) => (float[B,24] z) <int64[2] sizes = {2, 4}> {
        a, b = Split<axis = 2>(item, sizes)
        p = Flatten(a)
        q = Flatten(b)
        y = Concat<axis = 1>(p, q)
        z = Abs(y)
    }"""
    assert apply(RULE, text).times == 0


def test_candidates_are_not_stacked() -> None:
    text = """score (float[6,4] item) => (float[3,8] z) {
        a, b = Split<axis = 0>(item)
        y = Concat<axis = 1>(a, b)
        z = Abs(y)
    }"""
    assert apply(RULE, text).times == 0


def test_pieces_without_entries() -> None:
    text = heads(SPLIT, IN_FRONT, given="B,0,6", made="3,B,0,2")
    assert apply(RULE, text).times == 0
