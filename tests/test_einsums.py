"""Letters of an Einsum with one entry in one operand and more in another, as ONNX Runtime takes them."""

from __future__ import annotations

import onnx
import pytest

import mari_onnx
from tests.analysis.support import assert_right, parse


def model(equation: str, operands: str, opset: int = 17) -> onnx.ModelProto:
    """An Einsum in front of a product, operands of which have sizes that are 1, but worked out at run time."""
    return parse(
        f"""g (float[B,4] u, float[2,4] rows, float[B,2,4] i) => (float[?,3] y)
        <int64[1] zero = {{0}}, int64[1] first = {{1}}, int64[1] second = {{2}}, float three = {{3}},
         float[2] pair = {{2, 3}}, float[1] fill = {{2}}, float[4,3] w = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}}> {{
            sizes = Shape(u) columns = Slice(sizes, first, second) number = Cast<to = 1>(columns)
            less = Sub(number, three) one = Cast<to = 7>(less)
            single = Expand(fill, one)
            count = Slice(sizes, zero, first) column = Concat<axis = 0>(count, one)
            user = Slice(u, zero, one, first)
            column3 = Concat<axis = 0>(count, first, one) cube = Expand(fill, column3)
            z = Einsum<equation = "{equation}">({operands})
            y = MatMul(z, w)
        }}""",
        opset,
    )


@pytest.mark.parametrize("opset", [12, 17])
@pytest.mark.parametrize(
    ("equation", "operands"),
    [
        ("c,bdc->bc", "single, i"),
        ("bdc,c->bc", "i, single"),
        ("bdc,d,c->bc", "i, pair, single"),
        ("bc,bdc->bc", "user, i"),
        ("bdc,bdc->bc", "i, cube"),
        ("dc,c->dc", "rows, single"),
        ("bdc,dc,c->bc", "i, rows, single"),
    ],
)
def test_sizes_that_turn_out_to_be_1(equation: str, operands: str, opset: int) -> None:
    assert_right(model(equation, operands, opset))


def test_letters_of_one_size_stay() -> None:
    text = """g (float[B,1,4] u, float[B,3,1,5] i) => (float[B,4,5] y) <float high = {1}> {
        positive = Clip(i, , high) y = Einsum<equation = "bhd,bthe->bde">(u, positive)
    }"""
    result = mari_onnx.optimize(parse(text), user_inputs=["u"], verify=False).model
    assert [n.attribute[0].s for n in result.graph.node if n.op_type == "Einsum"] == [b"hd,bthe->bde"]


def test_not_of_operands_that_may_be_empty() -> None:
    text = 'g (float[B,1] u, float[B,T] i) => (float[B] y) { y = Einsum<equation = "bt,bt->b">(u, i) }'
    assert_right(parse(text), lengths={"T": 0})
