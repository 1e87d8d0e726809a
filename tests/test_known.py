"""What follows from known sizes is a constant before anything else is done."""

from __future__ import annotations

import numpy as np
import pytest

import mari_onnx
from mari_onnx.ir import Node
from tests.analysis.support import analyze, assert_right, parse

HALF = np.array(0.5, np.float32)


def operators(text: str, **weights: np.ndarray) -> set[str]:
    """The operators of the graph that is analysed."""
    return {n.op for n in analyze(parse(text, **weights)).network if isinstance(n, Node)}


ROOT = """g (float[B,4] u, float[B,4] i) => (float[B,4] y) {{
    s = Shape<start = {axis}>(u) f = Cast<to = 1>(s) r = {root} x = Mul(u, i) y = Div(x, r)
}}"""


@pytest.mark.parametrize("root", ["Sqrt(f)", "Pow(f, half)"])
def test_the_root_of_a_width(root: str) -> None:
    text = ROOT.format(axis=1, root=root)
    assert not {"Shape", "Cast", "Sqrt", "Pow"} & operators(text, half=HALF)
    assert_right(parse(text, half=HALF))


def test_the_number_of_candidates_is_not_known() -> None:
    text = """g (float[B,4] u, float[B,4] i) => (float[B,4] y) {
        s = Shape<end = 1>(u) f = Cast<to = 1>(s) r = Sqrt(f) x = Mul(u, i) y = Div(x, r)
    }"""
    assert {"Shape", "Cast", "Sqrt"} <= operators(text)
    assert_right(parse(text))


def test_a_mask_of_known_size() -> None:
    text = """g (float[B,4] u, float[B,4,4] i) => (float[B,4,4] y) {
        s = Shape(i) t = Slice(s, one, three) m = ConstantOfShape<value = float[1] {1}>(t) l = Trilu<upper = 0>(m)
        x = Mul(i, l) v = Unsqueeze(u, one) y = Add(x, v)
    }"""
    numbers = {"one": np.array([1]), "three": np.array([3])}
    assert not {"Shape", "ConstantOfShape", "Trilu"} & operators(text, **numbers)
    assert_right(parse(text, **numbers))


def test_a_model_with_a_fixed_number_of_candidates_is_left_alone() -> None:
    text = ROOT.format(axis=1, root="Sqrt(f)").replace("[B,4]", "[3,4]")
    assert "Sqrt" in operators(text)
    result = mari_onnx.optimize(parse(text), user_inputs=["u"])
    assert result.verification is not None
    assert result.verification.passed


def test_sizes_alone_stay_as_they_are() -> None:
    text = """g (float[B,2,2] u, float[B,4] i) => (float[B,4] y) {
        s = Shape(u) b = Gather(s, zero) t = Concat<axis = 0>(b, flat) v = Reshape(u, t) y = Mul(v, i)
    }"""
    assert_right(parse(text, zero=np.array([0]), flat=np.array([-1])))
