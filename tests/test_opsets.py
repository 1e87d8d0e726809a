"""Operator sets that a model does not import, or imports of an old version."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser

from mari_onnx import ModelError, optimize
from mari_onnx.load import load_model
from mari_onnx.opsets import with_operator_sets


def versions(model: onnx.ModelProto) -> dict[str, int]:
    return {o.domain: o.version for o in model.opset_import}


def scaled(**sets: int) -> onnx.ModelProto:
    """A model of ai.onnx.ml operators alone."""
    node = helper.make_node("Scaler", ["X"], ["y"], domain="ai.onnx.ml", offset=[0.5] * 3, scale=[2.0] * 3)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["B", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 3])],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in sets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def test_a_model_without_operators_of_the_default_set() -> None:
    model = scaled(**{"ai.onnx.ml": 1})
    assert versions(load_model(model).model) == {"ai.onnx.ml": 1, "": 18}
    assert versions(model) == {"ai.onnx.ml": 1}
    result = optimize(model, ["X[:, 0:2]"])
    assert result.verification is not None
    assert result.verification.passed


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_an_old_set_whose_operators_are_the_same_in_a_newer_one(domain: str) -> None:
    model = parser.parse_model(
        f"""<ir_version: 4, opset_import: ["{domain}" : 9]>
        g (float[B,3] user, float[B,4] item) => (float[B,4] y) {{ x = MatMul(user, w) y = Add(x, item) }}"""
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((3, 4), np.float32), "w"))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 4]))
    result = optimize(model, ["user"])
    assert result.verification is not None
    assert result.verification.passed
    assert max(versions(result.model).values()) == 11


OLD = """<ir_version: 4, opset_import: ["" : {version}]>
    g (float[B,3] user, float[B,3] item) => (float[B,2] y) {{ x = Add(user, item) z = Clip<min = 0.5, max = 6.0>(x)
    {more} }}"""
SLICE = "y = Slice<axes = [1], starts = [0], ends = [2]>(z)"
BODIES = """s = ReduceSum<keepdims = 0>(z) b = Cast<to = 9>(s)
    y = If(b)<then_branch = t () => (float[B,2] p) { p = Slice<axes = [1], starts = [0], ends = [2]>(z) },
    else_branch = e () => (float[B,2] q) { q = Slice<axes = [1], starts = [1], ends = [3]>(z) }>"""


@pytest.mark.parametrize("version", [7, 8, 9])
def test_an_old_set_whose_operators_have_changed(version: int) -> None:
    model = parser.parse_model(OLD.format(version=version, more=SLICE))
    model.metadata_props.add(key="trained", value="yesterday")
    result = optimize(model, ["user"])
    assert result.verification is not None
    assert result.verification.passed
    assert versions(result.model) == {"": 11}
    assert versions(model) == {"": version}
    assert result.model.metadata_props[0].value == "yesterday"
    assert f"opset {version} is converted to 11, with onnx.version_converter" in result.notes


@pytest.mark.parametrize(
    ("version", "more"),
    [(6, SLICE), (9, BODIES), (9, "y = Slice<axes = [1], starts = [0], ends = [2], unheard_of = 1>(z)")],
)
def test_what_is_not_converted(version: int, more: str) -> None:
    text = OLD.replace("{more}", more.replace("{", "{{").replace("}", "}}")).format(version=version)
    with pytest.raises(ModelError, match=f"opset {version} is too old"):
        optimize(parser.parse_model(text), ["user"])


def test_an_operator_of_the_runtime_without_its_set() -> None:
    """As tf2onnx writes Range inside of loops."""
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[B,3] user, float[B,3] item) => (float[B,3] y) { x = Add(user, item) y = com.microsoft.Gelu(x) }""")
    del model.opset_import[1]
    assert versions(with_operator_sets(model, 11)) == {"": 17, "com.microsoft": 1}


def test_a_model_that_lacks_nothing_stays_the_same_object() -> None:
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[B,3] user, float[B,3] item) => (float[B,3] y) { y = Add(user, item) }""")
    assert with_operator_sets(model, 11) is model


def test_operators_of_a_set_that_is_not_there_and_not_known() -> None:
    model = scaled(other=1)
    assert with_operator_sets(model, 11).opset_import[0].domain == "other"
    with pytest.raises(ModelError):
        optimize(model, ["X[:, 0:2]"])
