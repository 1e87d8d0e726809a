"""Sequences of known parts are done without."""

from __future__ import annotations

import onnx
import pytest

from mari_onnx.analysis import Side
from mari_onnx.ir.graph import Node
from tests.analysis.support import analyze, assert_right, parse

SEQUENCES = frozenset({"SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceAt"})
SEQUENCES |= {"SequenceLength", "ConcatFromSequence", "SplitToSequence", "SequenceMap"}


def model_of(text: str, opset: int = 17, output: str = "float[B,N] y", weights: str = "") -> onnx.ModelProto:
    header = f"<int64 zero = {{0}}, int64 one = {{1}}, int64 last = {{-1}}{weights}>"
    return parse(f"g (float[B,4] u, float[B,4] i) => ({output}) {header} {{ {text} }}", opset=opset)


def left(text: str, *, opset: int = 17, output: str = "float[B,N] y", weights: str = "") -> list[str]:
    """The operators on sequences that are left of a model over ``u [B, 4]`` and ``i [B, 4]``, which comes out right."""
    model = model_of(text, opset, output, weights)
    assert_right(model)
    return [n.op for n in analyze(model).network if isinstance(n, Node) and n.op in SEQUENCES]


@pytest.mark.parametrize("axis", [1, -1])
def test_parts_that_are_joined(axis: int) -> None:
    assert not left(f"s = SequenceConstruct(u, i) y = ConcatFromSequence<axis = {axis}>(s)")


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_parts_that_are_joined_on_a_new_axis(axis: int, opset: int) -> None:
    text = f"s = SequenceConstruct(u, i) y = ConcatFromSequence<axis = {axis}, new_axis = 1>(s)"
    assert not left(text, opset=opset, output="float[N,M,K] y")


def test_parts_that_are_put_in_one_by_one() -> None:
    assert not left(
        """a = SequenceEmpty() b = SequenceInsert(a, u) c = SequenceInsert(b, i, zero) d = SequenceInsert(c, u, last)
        e = SequenceErase(d, zero) f = SequenceErase(e) h = SequenceInsert(f, i) y = ConcatFromSequence<axis = 1>(h)"""
    )


def test_a_part_is_what_was_put_there() -> None:
    assert not left("s = SequenceConstruct(u, i) a = SequenceAt(s, zero) b = SequenceAt(s, last) y = Sub(a, b)")


def test_how_many_there_are() -> None:
    text = "s = SequenceConstruct(u, i, u) n = SequenceLength(s) f = Cast<to = 1>(n) x = Add(u, i) y = Mul(x, f)"
    assert not left(text)


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize(
    ("split", "axis", "parts"),
    [("", 1, 4), (", one", 1, 4), (", three", 1, 2), (", three", -1, 2), (", sizes", 1, 3), (", five", 1, 1)],
)
def test_a_value_in_pieces(split: str, axis: int, parts: int, opset: int) -> None:
    text = f"""x = Add(u, i) s = SplitToSequence<axis = {axis}>(x{split}) n = SequenceLength(s) f = Cast<to = 1>(n)
        a = SequenceAt(s, last) b = SequenceAt(s, zero) z = Concat<axis = 1>(b, a) y = Mul(z, f)"""
    weights = ", int64 three = {3}, int64 five = {5}, int64[3] sizes = {2, 1, 1}"
    assert not left(text, opset=opset, weights=weights)


def test_pieces_without_their_axis() -> None:
    text = "x = Add(u, i) s = SplitToSequence<axis = 1, keepdims = 0>(x) y = SequenceAt(s, one)"
    assert not left(text, output="float[B] y")


def test_features_that_are_stacked_by_name() -> None:
    """torch.hstack asks for the rank of the first part, in a branch that reads the sequence."""
    assert not left(
        """s = SequenceConstruct(u, i) a = SequenceAt(s, zero) h = Shape(a) r = Size(h) c = Equal(r, one)
        y = If(c) <
            then_branch = t () => (float[?,?] p) { p = ConcatFromSequence<axis = 0>(s) },
            else_branch = e () => (float[?,?] q) { q = ConcatFromSequence<axis = 1>(s) }
        >"""
    )


MAPPED = """x = Add(u, i) s = SequenceConstruct(u, x, i) m = SequenceMap{inputs} <
    body = f ({body}) => (float[?,?] r) {{ n = Shape(p) k = Size(n) [l] l = CastLike(one, k) c = Equal(k, l) q = If(c) <
        then_branch = t () => (float[?,?] a) {{ a = Neg(p) }}, else_branch = e () => (float[?,?] b) {{ b = Abs(p) }}
    > {last} }}
> y = ConcatFromSequence<axis = 1>(m)"""


@pytest.mark.parametrize(
    ("inputs", "body", "last"),
    [
        ("(s)", "float[?,?] p", "r = Mul(q, q)"),
        ("(s, s)", "float[?,?] p, float[?,?] o", "r = Mul(q, o)"),
        ("(s, i)", "float[?,?] p, float[?,?] o", "r = Mul(q, o)"),
        ("(s)", "float[?,?] p", "r = Mul(q, u)"),
    ],
)
def test_parts_that_are_worked_on_one_by_one(inputs: str, body: str, last: str) -> None:
    """torch.hstack makes at least vectors of its parts first, in a body that asks for their rank."""
    text = MAPPED.format(inputs=inputs, body=body, last=last)
    assert not left(text)
    assert "If" not in {n.op for n in analyze(model_of(text)).network if isinstance(n, Node)}


def test_a_value_that_went_is_known_by_its_name() -> None:
    model = parse("""g (float[B,4] u, float[B,4] i) => (float[B,4] y) <int64 one = {1}> {
        s = SequenceConstruct(u, i) a = SequenceAt(s, one) y = Add(u, a)
    }""")
    assert analyze(model).side("a") is Side.ITEM


@pytest.mark.parametrize(
    "text",
    [
        """s = SequenceConstruct(u, i) f = ReduceMax<keepdims = 0>(i) c = Clip(f, low, high) n = Cast<to = 7>(c)
        a = SequenceAt(s, n) y = Add(a, i)""",
        "s = SplitToSequence<axis = 0>(i) a = SequenceAt(s, zero) y = Add(a, u)",
    ],
)
def test_not_what_is_not_known(text: str) -> None:
    assert left(text, weights=", float low = {0.0}, float high = {1.0}")


def test_not_a_result_of_the_model() -> None:
    model = parse("g (float[B,4] u, float[B,4] i) => (seq(float[?,?]) s) { x = Add(u, i) s = SequenceConstruct(x, i) }")
    assert_right(model)
