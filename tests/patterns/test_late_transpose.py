"""f(x^T, y^T) = f(x, y)^T."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "late-transpose"
PAIR = """score (float[B,2,3] item, float[B,2,3] item2, float[B,3] user) => (float[{out}] o)
<float[1] two = {{2}}> {{
    number = ReduceMax<keepdims = 0>(user)
    s = Transpose<perm = [{perm}]>(item)
    t = Transpose<perm = [{other}]>(item2)
    {body}
    o = Mul(y, number)
}}"""
ONE = """score (float[B,2,3,4] item, float[B,4] user) => (float[{out}] y) <int64[{count}] axes = {{{axes}}}> {{
    t = Transpose<perm = [{perm}]>(item)
    r = {reduce}
    m = ReduceMean<keepdims = 0>(user)
    y = Mul(r, m)
}}"""


@pytest.mark.parametrize("body", ["y = Mul(s, t)", "z = Add(s, t) y = Mul(z, two)", "y = Max(s, two, t)"])
@pytest.mark.parametrize(("perm", "out"), [("1, 0, 2", "2,B,3"), ("1, 2, 0", "2,3,B")])
def test_one_transpose_behind_instead_of_two_in_front(body: str, perm: str, out: str) -> None:
    outcome = apply(RULE, PAIR.format(perm=perm, other=perm, out=out, body=body))
    assert outcome.times == 1
    assert outcome.ops["Transpose"] == 1


@pytest.mark.parametrize(
    "body",
    ["y = Mul(s, t)", "u = Relu(s) y = Mul(u, two)", "y = Mul(s, two)"],
)
def test_where_there_is_nothing_to_save(body: str) -> None:
    other = "1, 0, 2" if "t)" not in body else "0, 1, 2"
    text = PAIR.format(perm="1, 0, 2", other=other, out="2,B,3", body=body)
    if "Mul(s, t)" in body:
        text = text.replace("float[B,2,3] item2", "float[2,B,3] item2")
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceMean"])
@pytest.mark.parametrize(
    ("perm", "axes", "keepdims", "out", "left"),
    [
        ("1, 0, 2, 3", (3,), 0, "2,B,3", 1),
        ("1, 0, 2, 3", (0,), 0, "B,3,4", 0),
        ("0, 2, 1, 3", (1,), 1, "B,1,2,4", 1),
        ("3, 1, 0, 2", (0, 1), 0, "B,3", 0),
    ],
)
def test_other_axes_are_reduced(
    op: str, opset: int, perm: str, axes: tuple[int, ...], keepdims: int, out: str, left: int
) -> None:
    given = opset >= (13 if op == "ReduceSum" else 18)
    listed = ", ".join(map(str, axes))
    reduce = f"{op}<keepdims = {keepdims}>(t, axes)" if given else f"{op}<keepdims = {keepdims}, axes = [{listed}]>(t)"
    text = ONE.format(out=out, count=len(axes), axes=listed, perm=perm, reduce=reduce)
    outcome = apply(RULE, text, opset=opset, exact=op != "ReduceMean")
    assert outcome.times == 1
    assert outcome.ops.get("Transpose", 0) == left
