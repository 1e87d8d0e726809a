"""x W + b = [x, 1] [W; b]."""

from __future__ import annotations

import pytest

from tests.patterns.support import apply

RULE = "bias-column"


def text_of(
    line: str, *, item: str = "B,64,2", result: str = "B,64,256", bias: str = "256", weight: str = "2,256"
) -> str:
    return f"""score (float[{item}] item) => (float[{result}] z) <float[{weight}] w, float[{bias}] b> {{
        x = Abs(item) m = MatMul(x, w) {line} z = Neg(y)
    }}"""


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
@pytest.mark.parametrize(("line", "bias"), [("y = Add(m, b)", "256"), ("y = Add(b, m)", "1,256")])
def test_a_wide_layer(line: str, bias: str, opset: int) -> None:
    outcome = apply(RULE, text_of(line, bias=bias), opset=opset)
    assert outcome.times == 1
    assert outcome.ops["Add"] == 0


def test_rows_that_two_layers_read_are_padded_once() -> None:
    text = """score (float[B,64,2] item) => (float[B,64,256] z)
        <float[2,256] w, float[2,256] v, float[256] b, float[256] c> {
        m = MatMul(item, w) x = Add(m, b) n = MatMul(item, v) y = Add(n, c) z = Mul(x, y)
    }"""
    outcome = apply(RULE, text)
    assert outcome.times == 2
    assert outcome.ops["Pad"] == 1


@pytest.mark.parametrize(
    "text",
    [
        text_of("y = Add(m, b)", item="B,2", result="B,256"),
        text_of("y = Add(m, b)", item="B,32,2", result="B,32,256"),
        text_of("y = Add(m, b)", item="B,T,2", result="B,T,256"),
        text_of("y = Add(m, b)", item="B,64,256", result="B,64,256", weight="256,256"),
        text_of("y = Add(m, b)", bias="64,256"),
        text_of("y = Add(m, b)", bias="1"),
        text_of("y = Sub(m, b)"),
        text_of("n = Abs(m) s = Add(m, b) y = Mul(n, s)"),
        text_of("y = Add(m, b)", item="4,64,2", result="4,64,256"),
    ],
)
def test_other_sums(text: str) -> None:
    assert apply(RULE, text).times == 0
