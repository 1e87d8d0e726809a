"""Outputs of which a model says something wrong are put right, and the user is told."""

from __future__ import annotations

import onnx
import pytest

import mari_onnx
from tests.patterns.support import model_of


def model(declared: str, outcome: str) -> onnx.ModelProto:
    """A pipeline in which onnx's inference ends at the scaler, so its checker does not see what is wrong."""
    return model_of(f"""g (float[B,6] user, float[B,2] item) => ({declared} y) <float[8,4] w> {{
        x = Concat<axis = 1>(user, item)
        s = ai.onnx.ml.Scaler<offset = [1.0], scale = [2.0]>(x)
        h = MatMul(s, w)
        y = {outcome}
    }}""")


def sizes(result: onnx.ModelProto) -> list[object]:
    (output,) = result.graph.output
    return [d.dim_value or d.dim_param for d in output.type.tensor_type.shape.dim]


@pytest.mark.parametrize(
    ("declared", "outcome", "right", "said"),
    [
        ("float[B,4]", "Concat<axis = 1>(h, h)", ["B", 8], "'y' is [B, 8], not [B, 4]"),
        ("float[B]", "Relu(h)", ["", 4], "'y' is [?, 4], not [B]"),
    ],
)
def test_a_wrong_shape_is_put_right(declared: str, outcome: str, right: list[object], said: str) -> None:
    given = model(declared, outcome)
    onnx.checker.check_model(given, full_check=True)
    result = mari_onnx.optimize(given, ["user"])
    assert result.verification is not None
    assert result.verification.passed
    assert sizes(result.model) == right
    assert [note for note in result.notes if said in note]


@pytest.mark.parametrize("declared", ["float[B,4]", "float[N,M]", "float[1,4]"])
def test_what_may_be_so_stays(declared: str) -> None:
    result = mari_onnx.optimize(model(declared, "Relu(h)"), ["user"], verify=False)
    given = declared.removeprefix("float[").removesuffix("]").split(",")
    assert list(map(str, sizes(result.model))) == given
    assert not result.notes
