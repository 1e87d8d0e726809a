"""What ONNX Runtime takes and others do not is made plain before anything else is done."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser

import mari_onnx
from mari_onnx.load import load_model
from mari_onnx.repairs import with_open_sizes, with_stated_defaults
from tests.soundness.judge import Runner

TEXT = """<ir_version: 9, opset_import: ["" : 17]> g (float[B,3] user, float[B,2] item) => (float[B,1] y)
    <float[5,1] w = {1, 2, 3, 4, 5}> { x = Concat<axis = 1>(user, item) y = MatMul(x, w) }"""


def test_a_size_below_nothing_is_open() -> None:
    model = parser.parse_model(TEXT)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    before = model.SerializeToString(deterministic=True)
    opened = with_open_sizes(model)
    assert not any(d.HasField("dim_value") for v in opened.graph.input for d in v.type.tensor_type.shape.dim[:1])
    assert model.SerializeToString(deterministic=True) == before
    result = mari_onnx.optimize(model, ["user"])
    assert result.verification is not None
    assert result.verification.passed


def test_other_models_stay_themselves() -> None:
    model = parser.parse_model(TEXT)
    assert with_open_sizes(model) is model
    assert with_stated_defaults(model) is model


def without_shape(text: str) -> onnx.ModelProto:
    model = parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def test_outputs_may_be_declared_without_a_shape() -> None:
    """As converters leave them that do not know how many axes there are; ONNX Runtime does not mind."""
    model = without_shape(TEXT)
    before = model.SerializeToString(deterministic=True)
    result = mari_onnx.optimize(model, ["user"], candidates=2000)
    assert model.SerializeToString(deterministic=True) == before
    assert result.applied
    assert result.verification is not None
    assert result.verification.passed
    assert not result.model.graph.output[0].type.tensor_type.HasField("shape")
    assert mari_onnx.optimize(result.model, ["user"]).verification is not None


def test_what_is_wrong_with_a_model_is_found_beside_an_output_without_a_shape() -> None:
    model = without_shape(TEXT.replace("MatMul(x, w)", "MatMul(x, absent)"))
    with pytest.raises(mari_onnx.ModelError, match=r"not a valid model.*absent"):
        mari_onnx.optimize(model, ["user"])


FUNCTIONS = """<ir_version: 9, opset_import: ["" : 17, "local" : 1]>
g (float[B,3] user, float[B,3] item) => (float[B,3] y) { s = Add(user, item) y = local.outer(s) }
<domain: "local", opset_import: ["" : 17, "local" : 1]>
outer (a) => (b) { c = local.leaky(a) b = local.leaky<alpha = 0.5>(c) }
<domain: "local", opset_import: ["" : 17]>
leaky <alpha: float = 0.25> (a) => (b) { b = LeakyRelu<alpha: float = @alpha>(a) }
"""


def test_defaults_of_functions_hold() -> None:
    model = parser.parse_model(FUNCTIONS)
    array = np.float32([[-8, 1, -16]])
    feeds = {"user": array, "item": np.zeros_like(array)}
    expected = np.float32([[-1, 1, -2]])
    np.testing.assert_allclose(Runner(model)(feeds)[0], expected)
    inlined = load_model(model).model
    assert not inlined.functions
    np.testing.assert_allclose(Runner(inlined)(feeds)[0], expected)


@pytest.mark.parametrize("rows", [1, 512])
def test_types_that_are_out_of_date_do_not_stay(rows: int) -> None:
    """Exported for one number of candidates, and made dynamic by hand."""
    model = parser.parse_model(TEXT)
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [rows, 5]))
    result = mari_onnx.optimize(model, ["user"])
    assert result.verification is not None
    assert result.verification.passed


def test_verification_reads_functions_with_their_defaults() -> None:
    from mari_onnx.verification.source import inlined

    model = parser.parse_model(FUNCTIONS)
    slopes = [a.f for n in inlined(model).graph.node if n.op_type == "LeakyRelu" for a in n.attribute]
    assert slopes == [0.25, 0.5]
