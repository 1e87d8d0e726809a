"""Bounds of a Range are scalars, whatever a model has."""

from __future__ import annotations

import numpy as np
import pytest

import mari_onnx
from tests.analysis.support import parse

ONE = np.array([1])


@pytest.mark.parametrize("opset", [11, 12, 13, 17])
@pytest.mark.parametrize(("start", "step"), [([0], [1]), (0, 1), ([0], 1)])
def test_a_number_of_steps_with_an_axis(opset: int, start: object, step: object) -> None:
    model = parse(
        """g (float[B,4,3] user, float[B,4,3] item) => (float[B,4,3] y) {
            s = Shape(user) n = Slice(s, one, two) r = Range(start, n, step) f = Cast<to = 1>(r) p = Reshape(f, rows)
            t = Add(user, p) y = Mul(t, item) }""",
        opset=opset,
        one=ONE,
        two=np.array([2]),
        rows=np.array([4, 1]),
        start=np.array(start),
        step=np.array(step),
    )
    result = mari_onnx.optimize(model, ["user"])
    assert result.verification is not None
    assert result.verification.passed
    assert "Range" not in {n.op_type for n in result.model.graph.node}, "it counts to a number that is known"


def test_a_number_of_steps_that_nobody_knows() -> None:
    model = parse(
        """g (float[B,T,3] user, float[B,T,3] item) => (float[B,T,3] y) {
            s = Shape(user) n = Slice(s, one, two) r = Range(start, n, one) f = Cast<to = 1>(r) p = Reshape(f, rows)
            t = Add(user, p) y = Mul(t, item) }""",
        one=ONE,
        two=np.array([2]),
        rows=np.array([-1, 1]),
        start=np.array(0),
    )
    result = mari_onnx.optimize(model, ["user"])
    assert result.verification is not None
    assert result.verification.passed
    assert "Range" in {n.op_type for n in result.model.graph.node}
