"""A cast to the type of another value is one to that type."""

from __future__ import annotations

import numpy as np
import pytest

import mari_onnx
from tests.analysis.support import parse


def casts(line: str, opset: int = 18) -> list[str]:
    """What is cast in the result, of something that is cast in front of a product."""
    model = parse(
        f"""g (float[B,3] user, float[B,3] item, int64[B] user_id) => (float[B,3] y) {{
            s = Exp(user) {line} m = Mul(c, item) y = Tanh(m) }}""",
        opset=opset,
        one=np.array([1.0], np.float32),
        double=np.array(2.0),
        column=np.array([-1, 1]),
    )
    result = mari_onnx.optimize(model, ["user*"])
    assert result.verification is not None
    assert result.verification.passed
    return [n.op_type for n in result.model.graph.node if n.op_type.startswith("Cast")]


@pytest.mark.parametrize("opset", [15, 18, 21])
@pytest.mark.parametrize("like", ["one", "item", "user"])
def test_to_the_type_that_is_there(like: str, opset: int) -> None:
    """As PyTorch's exporter leaves it without its optimizer."""
    assert casts(f"c = CastLike(s, {like})", opset) == []


def test_to_another_type_and_back() -> None:
    assert casts("d = CastLike(s, double) e = Sqrt(d) c = CastLike(e, item)") == ["Cast", "Cast"]


def test_of_ids() -> None:
    line = "i = Cast<to = 6>(user_id) w = CastLike(i, item) v = Reshape(w, column) c = Add(s, v)"
    assert casts(line) == ["Cast", "Cast"]
