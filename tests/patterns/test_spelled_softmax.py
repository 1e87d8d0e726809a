"""exp(x - max x) / sum exp(x - max x) = softmax(x)."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "spelled-softmax"


def written(text: str, opset: int = 18, item: str = "float[B,3,4]") -> Outcome:
    return apply(RULE, f"score ({item} item) => ({item} y) {{ {text} }}", opset=opset, exact=False)


SUMMED = """a = Constant<value_ints = [{axis}]>() m = ReduceMax(item, a) d = Sub(item, m) e = Exp(d)
    s = ReduceSum(e, a) y = Div(e, s)"""


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_along_an_axis(axis: int) -> None:
    outcome = written(SUMMED.format(axis=axis))
    assert outcome.times == 1
    assert sum(outcome.ops.values()) == 1
    assert outcome.ops["Softmax"] == 1


@pytest.mark.parametrize("opset", [12, 13])
def test_axes_as_attributes(opset: int) -> None:
    total = "s = ReduceSum<axes = [2]>(e)"
    if opset == 13:
        total = "a = Constant<value_ints = [2]>() s = ReduceSum(e, a)"
    outcome = written(f"m = ReduceMax<axes = [2]>(item) d = Sub(item, m) e = Exp(d) {total} y = Div(e, s)", opset)
    assert outcome.times == 1


def test_axes_that_are_put_back() -> None:
    outcome = written("""a = Constant<value_ints = [2]>() n = ReduceMax<keepdims = 0>(item, a) m = Unsqueeze(n, a)
        d = Sub(item, m) e = Exp(d) t = ReduceSum<keepdims = 0>(e, a) s = Unsqueeze(t, a) y = Div(e, s)""")
    assert outcome.times == 1


@pytest.mark.parametrize(
    "text",
    [
        # another sum than that of the powers
        """a = Constant<value_ints = [2]>() m = ReduceMax(item, a) d = Sub(item, m) e = Exp(d) f = Abs(e)
            s = ReduceSum(f, a) y = Div(e, s)""",
        # along two axes
        """a = Constant<value_ints = [2]>() b = Constant<value_ints = [1]>() m = ReduceMax(item, b) d = Sub(item, m)
            e = Exp(d) s = ReduceSum(e, a) y = Div(e, s)""",
        # a smallest entry
        """a = Constant<value_ints = [2]>() m = ReduceMin(item, a) d = Sub(item, m) e = Exp(d) s = ReduceSum(e, a)
            y = Div(e, s)""",
        # the sum and something more
        """a = Constant<value_ints = [2]>() one = Constant<value_float = 1.0>() m = ReduceMax(item, a)
            d = Sub(item, m) e = Exp(d) t = ReduceSum(e, a) s = Add(t, one) y = Div(e, s)""",
    ],
)
def test_what_is_none(text: str) -> None:
    assert written(text).times == 0


def test_before_axes_were_apart() -> None:
    """A Softmax of operator set 12 would go along all axes from there on."""
    text = "m = ReduceMax<axes = [1]>(item) d = Sub(item, m) e = Exp(d) s = ReduceSum<axes = [1]>(e) y = Div(e, s)"
    assert written(text, 12).times == 0


def test_a_square_that_one_could_take_for_a_row() -> None:
    """The largest of each column is subtracted from rows: with as many of both, the shapes fit all the same."""
    outcome = written(
        """a = Constant<value_ints = [2]>() n = ReduceMax<keepdims = 0>(item, a) b = Constant<value_ints = [1]>()
        m = Unsqueeze(n, b) d = Sub(item, m) e = Exp(d) s = ReduceSum(e, a) y = Div(e, s)""",
        item="float[B,3,3]",
    )
    assert outcome.times == 0
