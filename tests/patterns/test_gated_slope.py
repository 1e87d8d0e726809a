"""x p + x (1 - p) a = x (a + p (1 - a))."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "gated-slope"


def outcome_of(lines: str, slope: list[float], one: float = 1.0) -> Outcome:
    text = f"""score (float[B,3] item_x, float[B,3] item_p) => (float[B,3] z)
        <float[3] a, float one> {{ x = Abs(item_x) p = Neg(item_p) {lines} z = Neg(y) }}"""
    return apply(RULE, text, a=np.array(slope, np.float32), one=np.array(one, np.float32))


@pytest.mark.parametrize(
    "lines",
    [
        "q = Sub(one, p) l = Mul(a, q) s = Mul(l, x) o = Mul(p, x) y = Add(s, o)",
        "q = Sub(one, p) l = Mul(q, x) s = Mul(a, l) o = Mul(x, p) y = Add(o, s)",
        "q = Sub(one, p) l = Mul(a, x) s = Mul(q, l) o = Mul(p, x) y = Add(o, s)",
    ],
)
def test_dice(lines: str) -> None:
    outcome = outcome_of(lines, [2, 0, 3])
    assert outcome.times == 1
    assert outcome.ops["Sub"] == 0
    assert outcome.ops["Mul"] == 2


def test_nothing_is_let_through_a_shut_gate() -> None:
    outcome = outcome_of("q = Sub(one, p) l = Mul(a, q) s = Mul(l, x) o = Mul(p, x) y = Add(s, o)", [0, 0, 0])
    assert outcome.times == 1
    assert outcome.ops["Mul"] == 1
    assert outcome.ops["Add"] == 0


@pytest.mark.parametrize(
    ("lines", "one"),
    [
        ("q = Sub(one, p) l = Mul(a, q) s = Mul(l, x) o = Mul(p, x) y = Add(s, o)", 2.0),
        ("q = Sub(p, one) l = Mul(a, q) s = Mul(l, x) o = Mul(p, x) y = Add(s, o)", 1.0),
        ("q = Sub(one, x) l = Mul(a, q) s = Mul(l, x) o = Mul(p, x) y = Add(s, o)", 1.0),
        ("q = Sub(one, p) l = Mul(a, q) s = Mul(l, p) o = Mul(p, x) y = Add(s, o)", 1.0),
        ("q = Sub(one, p) l = Mul(p, q) s = Mul(l, x) o = Mul(p, x) y = Add(s, o)", 1.0),
        ("q = Sub(one, p) l = Mul(a, q) s = Mul(l, x) o = Mul(p, x) y = Sub(s, o)", 1.0),
        ("q = Sub(one, p) l = Mul(a, q) s = Mul(l, x) o = Mul(p, x) t = Add(s, o) y = Mul(t, s)", 1.0),
    ],
)
def test_something_else(lines: str, one: float) -> None:
    assert outcome_of(lines, [2, 0, 3], one).times == 0


def test_what_may_be_infinite() -> None:
    """Behind a gate that is shut it is no number."""
    lines = "v = Div(x, item_p) q = Sub(one, p) l = Mul(a, q) s = Mul(l, v) o = Mul(p, v) y = Add(s, o)"
    assert outcome_of(lines, [2, 0, 3]).times == 0
