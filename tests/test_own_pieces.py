"""Pieces of a Concat that are the user's alone are proven to be, and the item's to be the item's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import mari_onnx
from mari_onnx.analysis import Side
from mari_onnx.ir import Node
from tests.analysis.support import analyze, assert_side, parse
from tests.soundness.judge import Runner, difference

NUMBERS = {
    "n0": [0],
    "n1": [1],
    "n2": [2],
    "n3": [3],
    "n4": [4],
    "n5": [5],
    "m1": [-1],
    "m3": [-3],
    "far": [2**31],
    "two_axes": [0, 1],
    "starts": [0, 1],
    "ends": [2**31, 2],
    "outer": [0, 4],
    "inner": [2, 3],
    "mixed": [1, 2],
    "twice": [4, 1, 1],
    "sizes": [1, 1, 2, 1],
    "across": [1, 2, 2],
}
WEIGHTS = {name: np.array(numbers) for name, numbers in NUMBERS.items()} | {
    "first": np.array(0),
    "third": np.array(2),
    "last": np.array(-1),
}


def of(body: str, output: str = "float[B,k] y", whole: str = "x = Concat<axis = 1>(u, i, v)") -> onnx.ModelProto:
    """Columns 0, 1 and 4 are the user's, 2 and 3 the item's."""
    text = f"g (float[B,2] u, float[B,1] v, float[B,2] i) => ({output}) {{ {whole} {body} }}"
    used = {n: w for n, w in WEIGHTS.items() if any(f"{n}{end}" in text for end in (",", ")"))}
    return parse(text, **used)


def cuts(model: onnx.ModelProto) -> set[str]:
    """What the nodes read that cut something out of a value."""
    found = [n for n in analyze(model, USERS).network if isinstance(n, Node)]
    return {n.inputs[0] for n in found if n.op in ("Slice", "Gather", "Split")}


USERS = ["u", "v"]


@pytest.mark.parametrize(
    ("body", "side"),
    [
        ("y = Slice(x, n0, n2, n1)", Side.USER),
        ("y = Slice(x, n1, n2, n1)", Side.USER),
        ("y = Slice(x, m1, far, n1)", Side.USER),
        ("y = Slice(x, n4, n5, m1, n1)", Side.USER),
        ("y = Slice(x, n0, n5, n1, n4)", Side.USER),
        ("y = Slice(x, starts, ends, two_axes)", Side.USER),
        ("y = Slice(x, n2, n4, n1)", Side.ITEM),
        ("y = Slice(x, m3, m1, n1)", Side.ITEM),
        ("y = Slice(x, n1, n3, n1)", Side.CROSS),
        ("y = Slice(x, n0, n5, n1, n2)", Side.CROSS),
        ("y = Gather<axis = 1>(x, n4)", Side.USER),
        ("y = Gather<axis = 1>(x, outer)", Side.USER),
        ("y = Gather<axis = -1>(x, twice)", Side.USER),
        ("y = Gather<axis = 1>(x, inner)", Side.ITEM),
        ("y = Gather<axis = 1>(x, mixed)", Side.CROSS),
        ("c = Cast<to = 11>(x) d = Slice(c, n0, n2, n1) y = Cast<to = 1>(d)", Side.USER),
        ("c = Cast<to = 11>(x) e = Cast<to = 1>(c) y = Gather<axis = 1>(e, inner)", Side.ITEM),
    ],
)
def test_a_piece_has_the_side_of_what_it_lies_in(body: str, side: Side) -> None:
    assert_side(of(body), {"y": side}, users=USERS)


@pytest.mark.parametrize(("index", "side"), [("first", Side.USER), ("last", Side.USER), ("third", Side.ITEM)])
def test_one_entry_whose_axis_goes(index: str, side: Side) -> None:
    assert_side(of(f"y = Gather<axis = 1>(x, {index})", "float[B] y"), {"y": side}, users=USERS)


def test_the_outputs_of_a_split_have_sides_of_their_own() -> None:
    model = of("y, a, b, c = Split<axis = 1>(x, sizes)", "float[B,1] y, float[B,1] a, float[B,2] b, float[B,1] c")
    assert_side(model, {"y": Side.USER, "a": Side.USER, "b": Side.ITEM, "c": Side.USER}, users=USERS)
    assert "x" not in cuts(model)


def test_an_output_of_a_split_that_is_both_stays() -> None:
    model = of("y, a, b = Split<axis = 1>(x, across)", "float[B,1] y, float[B,2] a, float[B,2] b")
    assert_side(model, {"y": Side.USER, "a": Side.CROSS, "b": Side.CROSS}, users=USERS)
    assert "x" in cuts(model)
    assert len(cuts(model)) == 2


def test_what_is_one_sides_is_joined_and_cast_once() -> None:
    model = of("""c = Cast<to = 11>(x) a = Slice(c, n0, n1, n1) b = Slice(c, n4, n5, n1) d = Add(a, b)
        e = Slice(c, n2, n3, n1) f = Slice(c, n3, n4, n1) h = Mul(e, f) m = Add(d, h) y = Cast<to = 1>(m)""")
    assert_side(model, {"d": Side.USER, "h": Side.ITEM}, users=USERS)
    found = [n.op for n in analyze(model, USERS).network if isinstance(n, Node)]
    assert found.count("Cast") == 3
    assert found.count("Concat") == 1


def test_pieces_along_another_axis_stay() -> None:
    whole = "a = Unsqueeze(u, n1) b = Unsqueeze(i, n1) x = Concat<axis = 1>(a, b)"
    model = of("y = Slice(x, n0, n1, n2)", "float[B,2,1] y", whole)
    assert_side(model, {"y": Side.CROSS}, users=USERS)


def test_a_matrix_of_which_only_pieces_are_read_is_not_made() -> None:
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    body = """a = Slice(X, n0, n1, n1) b = Cast<to = 7>(a) c = Gather(table, b)
        d = Slice(X, n3, n4, n1) e = Cast<to = 7>(d) f = Gather(table, e)
        y = Concat<axis = 1>(c, f)"""
    text = f"g (float[B,4] X) => (float[B,2,3] y) {{ {body} }}"
    model = parse(text, table=table, **{n: WEIGHTS[n] for n in ("n0", "n1", "n3", "n4")})
    analysis = mari_onnx.analyze(model, ["X[:, 0:2]"])
    assert [analysis.facts[v].side for v in "abcdef"] == [Side.USER] * 3 + [Side.ITEM] * 3
    result = mari_onnx.optimize(model, user_inputs=["X[:, 0:2]"], verify=False).model
    ids = np.array([[1, 9, 9, 0], [1, 9, 9, 3], [1, 9, 9, 2]], np.float32)
    once = {"X_user": ids[:1, :2], "X_item": ids[:, 2:]}
    assert difference(Runner(model)({"X": ids}), Runner(result)(once)) is None


def scaled(offset: str, scale: str) -> onnx.ModelProto:
    text = f"""g (float[B,2] u, float[B,1] v, float[B,2] i) => (float[B,3] y) {{
        x = Concat<axis = 1>(u, i, v) s = ai.onnx.ml.Scaler<offset = {offset}, scale = {scale}>(x)
        a = Gather<axis = 1>(s, outer) c = Gather<axis = 1>(s, n2) y = Concat<axis = 1>(a, c) }}"""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]> {text}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(WEIGHTS[n], n) for n in ("outer", "n2"))
    return model


@pytest.mark.parametrize(
    ("offset", "scale"), [("[3.0]", "[2.0]"), ("[1.0, 2.0, 3.0, 4.0, 5.0]", "[1.0, 2.0, 4.0, 8.0, 16.0]")]
)
def test_columns_that_are_scaled_in_between(offset: str, scale: str) -> None:
    model = scaled(offset, scale)
    assert_side(model, {"a": Side.USER, "c": Side.ITEM}, users=USERS)


def test_columns_that_are_scaled_by_too_few_numbers_stay() -> None:
    facts = analyze(scaled("[1.0, 2.0]", "[1.0]"), USERS).facts
    assert facts["a"].side is not Side.USER
