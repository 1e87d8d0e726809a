"""A number that is written where a mask holds is a choice before anything else is done."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import mari_onnx
from mari_onnx.analysis import Side
from mari_onnx.ir import Node
from tests.analysis.support import analyze, assert_right, assert_side, parse

WEIGHTS = {
    "last": np.array([-1]),
    "first": np.array(0),
    "zero": np.array(0.0, np.float32),
    "number": np.array(7, np.float32),
    "units": np.array([[1, 1, 1]]),
    "from": np.array([0]),
    "to": np.array([1]),
}

USERS = ["u", "f"]

INDICES = "n = NonZero(m) i = Transpose<perm = [1, 0]>(n) a = Shape<start = 1>(n)"

NUMBER = "z = Expand(number, a)"


def of(body: str, kind: str = "float") -> onnx.ModelProto:
    """A model that writes to values of the user, or to others."""
    text = f"""g (float[B,4,2] u, float[B,4,2] j, float[B,4] f) => ({kind}[B,4,2] w, float[B,4,2] y, float[B,4] v) {{
        x = Neg(u) {body} y = Neg(j) v = Neg(f) }}"""
    return parse(text, **{n: w for n, w in WEIGHTS.items() if f"{n}," in body or f"{n})" in body})


def scatters(model: onnx.ModelProto) -> bool:
    return "ScatterND" in {n.op for n in analyze(model, USERS).network if isinstance(n, Node)}


@pytest.mark.parametrize(
    "number",
    [
        NUMBER,
        "z = ConstantOfShape<value = float[1] {5}>(a)",
        "z = ConstantOfShape(a)",
        "t = Expand(number, a) z = Reshape(t, last)",
    ],
)
@pytest.mark.parametrize(("mask", "side"), [("u", Side.USER), ("j", Side.CROSS)])
def test_a_number_where_the_mask_holds(number: str, mask: str, side: Side) -> None:
    model = of(f"m = Greater({mask}, zero) {INDICES} {number} w = ScatterND(x, i, z)")
    assert not scatters(model)
    assert_side(model, {"w": side}, users=USERS)


def test_rows_where_the_mask_holds() -> None:
    model = of(f"""m = Greater(f, zero) {INDICES} e = Shape<start = 2>(x) c = Concat<axis = 0>(a, e)
        z = Expand(number, c) w = ScatterND(x, i, z)""")
    assert not scatters(model)
    assert_side(model, {"w": Side.USER}, users=USERS)


@pytest.mark.parametrize("number", [0, 1])
def test_booleans(number: int) -> None:
    model = of(
        f"""m = Greater(u, zero) {INDICES} p = Less(u, j) z = ConstantOfShape<value = bool[1] {{{number}}}>(a)
        w = ScatterND(p, i, z)""",
        kind="bool",
    )
    assert not scatters(model)
    assert_right(model, users=USERS)


@pytest.mark.parametrize(
    "body",
    [
        f'{INDICES} {NUMBER} w = ScatterND<reduction = "add">(x, i, z)',
        f"{INDICES} t = Expand(number, a) z = CumSum(t, first) w = ScatterND(x, i, z)",
        f"{INDICES} {NUMBER} k = Mul(i, units) w = ScatterND(x, k, z)",
    ],
)
def test_other_writes_stay(body: str) -> None:
    """Sums, several numbers, and indices that somebody has changed."""
    model = of(f"m = Greater(u, zero) {body}")
    assert scatters(model)
    assert_right(model, users=USERS)


def test_a_mask_of_other_sizes_stays() -> None:
    """A choice would repeat the mask, where the indices are of the first column alone."""
    model = of(f"""s = Slice(u, from, to, to) g = Neg(s) m = Greater(g, zero) {INDICES} {NUMBER}
        w = ScatterND(x, i, z)""")
    assert scatters(model)
    assert_right(model, users=USERS)


def test_what_is_no_mask_stays() -> None:
    model = of(f"m = Identity(u) {INDICES} {NUMBER} w = ScatterND(x, i, z)")
    assert scatters(model)
    assert_right(model, users=USERS)


def ranker(data: str, mask: str, inner: str = "o = Shape<start = 1>(x)") -> onnx.ModelProto:
    """A layer over features some of which are not there."""
    written = "c = Concat<axis = 0>(a, o)" if inner else "c = Identity(a)"
    return parse(
        f"""g (float[B,64] u, float[B,8] user, bool[B] absent, float[B,8] j, bool[B] m, bool[B,8] e)
        => (float[B,4] y) {{ x = Neg({data}) {inner} n = NonZero({mask}) i = Transpose<perm = [1, 0]>(n)
        a = Shape<start = 1>(n) {written} z = Expand(number, c) k = ScatterND(x, i, z)
        v = Concat<axis = 1>(u, k) y = MatMul(v, w) }}""",
        number=WEIGHTS["number"],
        w=np.arange(288, dtype=np.float32).reshape(72, 4) % 5,
    )


def written(model: onnx.ModelProto) -> list[str]:
    """How the result writes, where the layer is split all the same."""
    users = ["u", "user", "absent"]
    result = mari_onnx.optimize(model, users, verify=False)
    assert "split-product" in {a.rule for a in result.applied}
    assert_right(model, users=users)
    return [n.op_type for n in result.model.graph.node if n.op_type in ("Where", "ScatterND")]


def test_rows_of_candidates_are_written_as_they_were() -> None:
    """The choice starts over at each row, and is slower."""
    assert written(ranker("j", "m")) == ["ScatterND"]


@pytest.mark.parametrize(("data", "mask"), [("user", "m"), ("j", "absent")])
def test_a_choice_stays_where_some_of_it_is_there_once(data: str, mask: str) -> None:
    assert written(ranker(data, mask)) == ["Where"]


def test_a_choice_of_entries_stays() -> None:
    assert written(ranker("j", "e", inner="")) == ["Where"]
