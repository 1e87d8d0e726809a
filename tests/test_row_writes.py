"""Entries that are written into the row that they stand in are written for each row by itself."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mari_onnx.analysis import Side
from mari_onnx.ir import Node
from tests.analysis.support import analyze, assert_right, assert_side
from tests.test_writes import of

COUNTED = "s = Shape(h) b = Gather(s, zero) n = Range(zero, b, one) c = Reshape(n, column)"
"""The number of each candidate, `[B, 1]`."""

PAIRS = COUNTED + " r = Expand(c, s) p = Unsqueeze(r, last) q = Unsqueeze(h, last) i = Concat<axis = -1>(p, q)"
"""`(b, h[b, t])`, `[B, T, 2]`."""

LISTED = (
    COUNTED + " t = Tile(c, times) r = Reshape(t, flat) p = Unsqueeze(r, last)"
    " k = Reshape(h, flat) q = Unsqueeze(k, last) v = Reshape(z, flat) i = Concat<axis = -1>(p, q)"
)
"""The same of all candidates in one list, `[B * 3, 2]`."""

ONE = (
    COUNTED + " p = Identity(c) k = Gather<axis = 1>(h, zero) q = Unsqueeze(k, last)"
    " v = Gather<axis = 1>(z, zero) i = Concat<axis = -1>(p, q)"
)
"""One entry of each candidate, `[B, 2]`."""

FORMS = {"pairs": PAIRS + " v = Identity(z)", "listed": LISTED, "one": ONE}


def operators(model: onnx.ModelProto) -> set[str]:
    """The operators of the graph that is analysed, where its first input is the user's."""
    return {n.op for n in analyze(model, [model.graph.input[0].name]).network if isinstance(n, Node)}


def written(
    form: str, *, items: str = "", reduction: str = "none", kind: str = "float", b: str = "B"
) -> onnx.ModelProto:
    """A row of seven zeros for each candidate, with numbers of z at the entries that h says."""
    table = f"a = Concat<axis = 0>(b1, seven) x = Expand(nought, a) {items}"
    text = f"""g (int64[{b},3] h, {kind}[{b},3] z, {kind}[{b},7] j) => ({kind}[{b},7] y) {{
        {FORMS[form]} b1 = Unsqueeze(b, zero1) {table}
        w = ScatterND<reduction = "{reduction}">(x, i, v) y = Add(w, j) }}"""
    nought = np.zeros(1, {"float": np.float32, "float16": np.float16}[kind])
    more = {"times": np.array([1, 3]), "flat": np.array([-1]), "seven": np.array([7]), "zero1": np.array([0])}
    return of(text, nought=nought, **more)


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_the_user(form: str) -> None:
    model = written(form)
    assert "ScatterElements" in operators(model)
    assert "ScatterND" not in operators(model)
    assert_side(model, {"w": Side.USER}, users=["h", "z"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("users", [["z"], ["h"], ["j"]])
def test_rows_of_the_items(form: str, users: list[str]) -> None:
    model = written(form)
    assert "ScatterND" not in operators(model)
    assert_right(model, users=users)


@pytest.mark.parametrize("form", FORMS)
def test_a_fixed_number_of_candidates(form: str) -> None:
    """The numbers of the candidates are a constant there."""
    model = written(form, b="4")
    assert "ScatterND" not in operators(model)
    assert_right(model, users=["h", "z"], batches=[4])


@pytest.mark.parametrize("reduction", ["add", "mul", "max"])
def test_what_is_added_to_an_entry(reduction: str) -> None:
    """Ids that stand twice in a history count twice."""
    model = written("pairs", reduction=reduction)
    assert "ScatterND" not in operators(model)
    assert_right(model, users=["h", "z"])


def test_sums_of_half_precision_stay() -> None:
    """ONNX Runtime has none on the CPU, for either operator."""
    assert "ScatterND" in operators(written("pairs", reduction="add", kind="float16"))
    assert "ScatterND" not in operators(written("pairs", kind="float16"))


@pytest.mark.parametrize(
    "rows",
    [
        "m = Range(one, d, one) c = Reshape(m, column)",  # the next candidate
        "t = Range(zero, b, one) m = Sub(e, t) c = Reshape(m, column)",  # backwards
        "m = Identity(f) c = Reshape(m, column)",  # as an input says
    ],
)
def test_rows_of_others_stay(rows: str) -> None:
    text = f"""g (int64[B,3] h, float[B,3] z, int64[B] f, float[B,7] x) => (float[B,7] w) {{
        s = Shape(h) b = Gather(s, zero) d = Add(b, one) e = Sub(b, one) {rows}
        r = Expand(c, s) p = Unsqueeze(r, last) q = Unsqueeze(h, last) i = Concat<axis = -1>(p, q)
        w = ScatterND(x, i, z) }}"""
    model = of(text)
    assert "ScatterND" in operators(model)
    assert analyze(model, ["h", "z", "x"]).side("w") is Side.OPAQUE


def test_numbers_in_turn_are_no_rows() -> None:
    """`0, 1, .., 0, 1, ..` in the place of `0, 0, .., 1, 1, ..`."""
    model = written("listed")
    (tile,) = (node for node in model.graph.node if node.op_type == "Tile")
    turned = onnx.helper.make_node("Transpose", [tile.output[0]], ["turned"], perm=[1, 0])
    (reader,) = (node for node in model.graph.node if tile.output[0] in node.input)
    reader.input[0] = "turned"
    model.graph.node.insert(list(model.graph.node).index(reader), turned)
    assert "ScatterND" in operators(model)


def test_whole_rows_stay() -> None:
    """`x[arange(B), k] = u`, of which each update is a vector."""
    text = f"""g (float[B,4,2] x, float[B,2] z, int64[B,1] h) => (float[B,4,2] w) {{
        {COUNTED} i = Concat<axis = -1>(c, h) w = ScatterND(x, i, z) }}"""
    assert "ScatterND" in operators(of(text))


def test_the_same_scores_for_histories_without_steps() -> None:
    text = f"""g (int64[B,T] h, float[B,T] z, float[B,7] j) => (float[B,7] y) {{
        {PAIRS} x = Neg(j) w = ScatterND(x, i, z) y = Add(w, j) }}"""
    model = of(text)
    assert "ScatterND" not in operators(model)
    for length in (0, 1, 4):
        assert_right(model, users=["h", "z"], lengths={"T": length})
