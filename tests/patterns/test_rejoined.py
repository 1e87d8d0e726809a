"""[x_1, x_2] = x."""

from __future__ import annotations

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


@pytest.mark.parametrize(("pieces", "width"), [("b, a", 6), ("a, a", 4), ("b", 4), ("a, b, b", 10)])
def test_other_pieces(pieces: str, width: int) -> None:
    assert apply(RULE, text_of(pieces, width=width)).times == 0


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
