"""x * 1 = x, x + 0 = x, [x, []] = x, x[:] = x, x if true = x."""

from __future__ import annotations

import numpy as np
import pytest

from mari_onnx.patterns.neutral import Neutral
from mari_onnx.patterns.pick import Pick
from tests.patterns.support import apply

RULE = "neutral"


def text_of(line: str, *, width: int = 6) -> str:
    return f"""score (float[B,6] item) => (float[B,{width}] z)
        <float[6] ones = {{1, 1, 1, 1, 1, 1}}, float[1] none = {{0}}, float one = {{1}}, float[2,1,6] wide =
         {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}, float[6] some = {{1, 1, 1, 2, 1, 1}}, int64[1] axis = {{1}}> {{
        shape = Shape(item)
        size = Shape<end = 1>(item)
        x = Abs(item)
        {line}
        z = Neg(y)
    }}"""


@pytest.mark.parametrize(
    "line",
    [
        "y = Mul(x, ones)",
        "y = Mul(one, x)",
        "y = Div(x, one)",
        "y = Add(none, x)",
        "y = Sub(x, none)",
        "o = Expand(one, shape) y = Mul(x, o)",
        "o = Expand(one, size) c = Unsqueeze(o, axis) y = Mul(x, c)",
        "o = ConstantOfShape<value = float[1] {1}>(shape) y = Mul(x, o)",
        "o = ConstantOfShape(shape) y = Add(x, o)",
    ],
)
def test_changes_nothing(line: str) -> None:
    outcome = apply(RULE, text_of(line))
    assert outcome.times == 1
    assert not {"Mul", "Div", "Add", "Sub"} & set(outcome.ops)


@pytest.mark.parametrize(
    "line",
    [
        "y = Mul(x, some)",
        "y = Mul(x, none)",
        "y = Add(x, one)",
        "y = Sub(none, x)",
        "y = Div(one, x)",
        "o = ConstantOfShape<value = float[1] {2}>(shape) y = Mul(x, o)",
    ],
)
def test_changes_something(line: str) -> None:
    assert apply(RULE, text_of(line)).times == 0


def test_a_repetition_stays() -> None:
    text = text_of("y = Mul(x, wide)").replace("(float[B,6] z)", "(float[2,B,6] z)")
    assert apply(RULE, text).times == 0


def test_of_a_user() -> None:
    outcome = apply(
        RULE,
        """score (float[B,6] user, float[B,6] item) => (float[B,6] z) <float[1] one = {1}> {
            shape = Shape(user)
            o = Expand(one, shape)
            y = Mul(user, o)
            z = Add(y, item)
        }""",
    )
    assert outcome.times == 1
    assert "Mul" not in outcome.ops


CUT = """score (float[B,6] user, float[B,6] item) => (float[B,4] z)
    <int64[4] sizes = {{{sizes}}}, float[4,4] w = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7}}> {{
    x = Concat<axis = 1>(user, item)
    none, kind, u, i = Split<axis = 1>(x, sizes)
    whole = Concat<axis = {axis}>({parts})
    m = MatMul(whole, w)
    z = Relu(m)
}}"""


@pytest.mark.parametrize("parts", ["none, u", "u, none", "none, u, none"])
@pytest.mark.parametrize("axis", [1, -1])
def test_parts_without_entries(parts: str, axis: int) -> None:
    outcome = apply([Neutral(), Pick()], CUT.format(sizes="0, 1, 4, 7", axis=axis, parts=parts))
    assert "Split" not in outcome.ops
    assert outcome.ops["Concat"] == 1  # of the shape to repeat the user's row to


def test_parts_with_entries_stay() -> None:
    outcome = apply(RULE, CUT.format(sizes="3, 1, 1, 7", axis=1, parts="none, u"))
    assert outcome.times == 0


def test_a_concat_of_nothing_stays() -> None:
    text = CUT.format(sizes="0, 1, 4, 7", axis=1, parts="none, none").replace("float[4,4] w", "float[0,4] w")
    assert apply(RULE, text.replace("{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7}", "{}")).times == 0


def cut(starts: str, ends: str, axes: str, steps: str = "1", width: str = "B,6") -> int:
    """How often a cut is dropped."""
    text = f"""score (float[B,6] user, float[B,6] item) => (float[{width}] z)
        <int64[1] starts = {{{starts}}}, int64[1] ends = {{{ends}}}, int64[1] axes = {{{axes}}},
         int64[1] steps = {{{steps}}}> {{
        x = Add(user, item)
        y = Slice(x, starts, ends, axes, steps)
        z = Neg(y)
    }}"""
    return apply(RULE, text).times


@pytest.mark.parametrize("axes", ["0", "1", "-1"])
def test_a_cut_of_nothing(axes: str) -> None:
    assert cut("0", "9223372036854775807", axes) == 1


def test_a_cut_up_to_the_size() -> None:
    assert cut("0", "6", "1") == 1
    assert cut("-6", "10", "1") == 1


def test_a_cut_of_something_stays() -> None:
    assert cut("1", "9223372036854775807", "1", width="B,5") == 0
    assert cut("0", "-1", "1", width="B,5") == 0
    assert cut("0", "9223372036854775807", "1", "2", width="B,3") == 0


def test_the_other_way_round_stays() -> None:
    assert cut("-1", "-9223372036854775807", "1", "-1") == 0


@pytest.mark.parametrize(
    ("line", "times"),
    [
        ("y = Where(yes, x, none)", 1),
        ("y = Where(no, none, x)", 1),
        ("c = Expand(yes, shape) y = Where(c, x, ones)", 1),
        ("y = Where(no, x, ones)", 0),  # a row is repeated
        ("y = Where(both, x, none)", 0),
    ],
)
def test_a_choice_that_is_made_already(line: str, times: int) -> None:
    text = text_of(line).replace("float one =", "bool[1] yes, bool no, bool[6] both, float one =")
    both = np.array([True, False] * 3)
    outcome = apply(RULE, text, yes=np.array([True]), no=np.array(False), both=both)
    assert outcome.times == times
    assert outcome.ops["Where"] == 1 - times
