"""piece(f([a, b])) = f(a)."""

from __future__ import annotations

import pytest

from mari_onnx.patterns import RULES
from tests.patterns.support import Outcome, apply

RULE = "part-by-part"


def text_of(work: str, *, sizes: str = "2, 3") -> str:
    return f"""score (float[B,2] item_a, float[B,3] item_b, float[B,1] item_c, float[B,2] user) => (float[B,2] z)
        <float[5] w, float s, int64[2] sizes = {{{sizes}}}, int64[1] axis = {{1}}> {{
        a = Abs(item_a) b = Abs(item_b)
        x = Concat<axis = 1>(a, b)
        y = Concat<axis = 1>(item_b, item_a)
        same = Concat<axis = 1>(item_a, item_b)
        {work}
        p, q = Split<axis = 1>(v, sizes)
        t = ReduceSum<keepdims = 1>({{wide}}, axis)
        n = ReduceSum<keepdims = 1>({{narrow}}, axis)
        u = Add(t, n)
        z = Mul(u, user)
    }}"""


def outcome_of(work: str, *, sizes: str = "2, 3") -> Outcome:
    return apply(RULE, text_of(work, sizes=sizes).replace("{wide}", "q").replace("{narrow}", "p"))


@pytest.mark.parametrize(
    "work",
    [
        "v = Neg(x)",
        "v = Mul(x, x)",
        "v = Mul(x, same)",
        "v = Mul(x, s)",
        "v = Add(x, item_c)",
        "m = Greater(item_c, s) v = Where(m, x, same)",
    ],
)
def test_the_same_cuts(work: str) -> None:
    outcome = outcome_of(work)
    assert outcome.times == 1
    assert outcome.ops["Split"] == 0


@pytest.mark.parametrize(
    ("work", "sizes"),
    [
        ("v = Neg(x)", "3, 2"),
        ("v = Mul(x, y)", "2, 3"),
        ("v = Mul(x, w)", "2, 3"),
        ("v = Softmax(x)", "2, 3"),
        ("wide = Shape(x) k = Expand(item_c, wide) v = Neg(k)", "2, 3"),
    ],
)
def test_other_cuts_and_other_work(work: str, sizes: str) -> None:
    assert outcome_of(work, sizes=sizes).times == 0


def test_what_others_read_is_made_as_a_whole() -> None:
    work = "v = Neg(x) r = Abs(v)"
    text = text_of(work).replace("{wide}", "r").replace("{narrow}", "p")
    assert apply(RULE, text).times == 0


def test_squares_of_few_fields_are_added_up_one_by_one() -> None:
    text = """score (float[B,1,4] item_a, float[B,1,4] item_b, float[B,1,4] item_c) => (float[B,1,4] z)
        <int64[1] axis = {1}> {
        x = Concat<axis = 1>(item_a, item_b, item_c) v = Mul(x, x) z = ReduceSum(v, axis)
    }"""
    outcome = apply([r for r in RULES if r.name in (RULE, "few-terms")], text)
    assert outcome.ops["Split"] == outcome.ops["Concat"] == 0
    assert outcome.ops["Mul"] == 3
