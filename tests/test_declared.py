"""What a model says wrong is put right, and what ONNX Runtime has to be told is added."""

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


# -- subgraphs ---------------------------------------------------------------------------------------------------------


def scanned(opset: int) -> onnx.ModelProto:
    """A recurrence from a state of the user over the items' steps; its body declares no sizes."""
    return onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g (float[B,3] user, float[B,T,3] item) => (float[B,1] y) {{
        steps = Transpose<perm = [1, 0, 2]>(item) first = Relu(user)
        last, all = Scan<num_scan_inputs = 1, body = b (float[] h, float[] x) => (float[] o, float[] s) {{
            m = Mul(h, x) o = Tanh(m) s = Identity(o)
        }}>(first, steps)
        y = ReduceMean<axes = [1]>(last)
    }}""")


@pytest.mark.parametrize("opset", [12, 13, 17])
def test_a_scan_is_told_the_axes_of_its_state(opset: int) -> None:
    """They cannot be inferred of the Expand that repeats it."""
    result = mari_onnx.optimize(scanned(opset), ["user"])
    assert result.verification is not None
    assert result.verification.passed
    told = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in result.model.graph.value_info}
    (scan,) = [n for n in result.model.graph.node if n.op_type == "Scan"]
    assert told == {scan.input[0]: [0, 3], scan.input[1]: [0, 0, 3]}


def test_what_an_operator_reads_that_may_be_written_out_is_declared() -> None:
    """ONNX Runtime 1.32 has nothing of its own for some of these, and writes out none whose rank it does not know."""
    given = model_of("""g (float[B,3] user, int64[B] item) => (float[B] y) {
        y = SoftmaxCrossEntropyLoss<reduction = "none">(user, item)
    }""")
    result = mari_onnx.optimize(given, ["user"])
    (stated,) = result.model.graph.value_info
    assert stated.name == "user/repeated"
    assert [d.dim_value for d in stated.type.tensor_type.shape.dim] == [0, 3]
