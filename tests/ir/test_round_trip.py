"""Reading a model and writing it again loses nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper, parser

from mari_onnx.errors import ModelError
from mari_onnx.ir import read_graph, write_model
from mari_onnx.ir.captures import reading_instead
from mari_onnx.load import load_model
from models.catalog import Exported
from tests.committed import MODELS, reads
from tests.patterns.support import session

HEADER = '<ir_version: 10, opset_import: ["" : 17, "com.acme" : 1]>'


def model_of(text: str) -> onnx.ModelProto:
    return parser.parse_model(f"{HEADER} {text}")


def fields_but_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with lists sorted that have no order of their own, and without types that can be inferred."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {v for n in model.graph.node if onnx.defs.has(n.op_type, n.domain) for v in n.output}
    kept = [v for v in model.graph.value_info if v.name not in known]
    del copy.graph.value_info[:]
    copy.graph.value_info.extend(kept)
    for entries in (copy.graph.initializer, copy.graph.value_info):
        entries.sort(key=lambda e: e.name)
    return copy


def assert_survives(model: onnx.ModelProto) -> onnx.ModelProto:
    before = model.SerializeToString(deterministic=True)
    written = write_model(read_graph(model))
    assert model.SerializeToString(deterministic=True) == before
    assert fields_but_order(written) == fields_but_order(model)
    return written


@pytest.mark.parametrize("meta", MODELS, ids=lambda meta: meta.name)
def test_committed_models(meta: Exported) -> None:
    model = onnx.load(meta.path)
    written = write_model(read_graph(model))
    used = reads(written.graph)
    for entries in (model.graph.initializer, model.graph.value_info):
        kept = [e for e in entries if e.name in used or entries is model.graph.value_info]
        del entries[:]
        entries.extend(kept)
    made = {v for node in written.graph.node for v in node.output}
    kept_info = [v for v in model.graph.value_info if v.name in made]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept_info)
    assert fields_but_order(written) == fields_but_order(model)


def test_everything_that_describes() -> None:
    model = model_of("g (float[B] x) => (float[B] y) { y = Neg(x) }")
    model.producer_name, model.producer_version = "exporter", "1.2"
    model.domain, model.model_version, model.doc_string = "com.acme", 7, "what it is"
    helper.set_model_props(model, {"author": "us", "licence": "free"})
    graph = model.graph
    graph.doc_string = "the graph"
    graph.metadata_props.add(key="graph", value="1")
    node = graph.node[0]
    node.name, node.doc_string, node.overload = "n", "the node", ""
    node.metadata_props.add(key="node", value="2")
    graph.input[0].doc_string = "the input"
    graph.input[0].metadata_props.add(key="input", value="3")
    graph.output[0].doc_string = "the output"
    graph.quantization_annotation.add(tensor_name="y")
    assert_survives(model)


def test_a_graph_without_a_name_gets_one() -> None:
    """The checker asks for it."""
    model = model_of("g (float[B] x) => (float[B] y) { y = Neg(x) }")
    model.graph.name = ""
    written = write_model(read_graph(model))
    onnx.checker.check_model(written)


def test_value_types_of_what_is_there() -> None:
    """Only where nobody could infer them: those that can be may be out of date."""
    model = model_of("g (float[B] x) => (float[B] y) { n = Neg(x) a = com.acme.Acme(n) y = Abs(a) }")
    for name in ("a", "n", "gone"):
        model.graph.value_info.add().CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B"]))
    assert [v.name for v in write_model(read_graph(model)).graph.value_info] == ["a"]


def test_weights_of_every_type() -> None:
    model = model_of("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    uses = []
    for dtype in (
        "float32 float64 float16 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool complex64 str"
    ).split():
        array = np.array(["a", "b"], object) if dtype == "str" else np.array([0, 1]).astype(dtype)
        model.graph.initializer.append(numpy_helper.from_array(array, f"w_{dtype}"))
        uses.append(helper.make_node("Acme", [f"w_{dtype}"], [f"o_{dtype}"], domain="com.acme"))
    for kind in ("BFLOAT16", "FLOAT8E4M3FN", "INT4", "UINT4"):
        tensor = TensorProto(name=f"w_{kind}", data_type=getattr(TensorProto, kind), dims=[2])
        tensor.raw_data = {"BFLOAT16": b"\x00\x3f\x00\x40"}.get(kind, b"\x01\x02" if "FLOAT8" in kind else b"\x21")
        model.graph.initializer.append(tensor)
        uses.append(helper.make_node("Acme", [f"w_{kind}"], [f"o_{kind}"], domain="com.acme"))
    model.graph.node.extend(uses)
    assert_survives(model)


def test_weights_that_nobody_needs_go() -> None:
    model = model_of("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Neg(x) }")
    assert not write_model(read_graph(model)).graph.initializer


def test_a_weight_that_is_an_output() -> None:
    model = model_of("g (float[2] x) => (float[2] y, float[2] w) <float[2] w = {1, 2}> { y = Neg(x) }")
    assert_survives(model)


def test_a_weight_that_is_an_input_as_well() -> None:
    """It had a default that a caller could replace; what rules make of it could not be, so it is a constant now."""
    model = model_of("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }")
    if not any(v.name == "w" for v in model.graph.input):
        model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    graph = read_graph(model)
    assert list(graph.inputs) == ["x"]
    graph.model.ir_version = 3
    written = write_model(graph)
    assert [v.name for v in written.graph.input] == ["x"]
    assert written.ir_version >= 4, "before, weights had to be inputs"
    onnx.checker.check_model(written)


@pytest.mark.parametrize("flat", [True, False])
def test_sparse_weights(flat: bool) -> None:
    model = model_of("g (float[B,2] x) => (float[B,3] y) { y = MatMul(x, w) }")
    values = numpy_helper.from_array(np.array([5, 7], np.float32), "w")
    places = np.array([1, 5]) if flat else np.array([[0, 1], [1, 2]])
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(places, "w_indices"), [2, 3])
    model.graph.sparse_initializer.append(sparse)
    np.testing.assert_array_equal(read_graph(model).constant("w"), [[0, 5, 0], [0, 0, 7]])
    assert_survives(model)


def test_external_weights_are_not_read(tmp_path: Path) -> None:
    model = model_of("g (float[B,2] x) => (float[B,2] y) { y = Add(x, w) }")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", "4"), ("length", "8"), ("checksum", "abc")):
        tensor.external_data.add(key=key, value=value)
    model.graph.initializer.append(tensor)
    assert_survives(model)  # the file is not even there
    (tmp_path / "w.bin").write_bytes(np.array([9, 1, 2], np.float32).tobytes())
    np.testing.assert_array_equal(read_graph(model, tmp_path).constant("w"), [1, 2])


def test_attributes_of_every_kind() -> None:
    model = model_of("g (float[B] x) => (float[B] y) { y = Neg(x) }")
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([1], np.float32), "v"), numpy_helper.from_array(np.array([0]), "i"), [3]
    )
    inner = model_of("inner () => (float[B] p) { p = Abs(x) }").graph
    node = helper.make_node(
        "Everything",
        ["x", "", "x"],
        ["a", "", "b"],
        domain="com.acme",
        i=3,
        f=0.5,
        s="text",
        bytes=b"\xff\x00",
        t=numpy_helper.from_array(np.ones(2, np.float32), "t"),
        ints=[1, 2],
        floats=[0.25, 4.0],
        strings=["a", "b"],
        tensors=[numpy_helper.from_array(np.ones(2), "t1")],
        g=inner,
        gs=[inner],
        sparse=sparse,
        type=helper.make_tensor_type_proto(TensorProto.FLOAT, ["B", 3]),
    )
    node.attribute.append(helper.make_attribute("none", [], attr_type=AttributeProto.INTS))
    node.overload = "second"
    model.graph.node.insert(0, node)
    graph = read_graph(model)
    assert graph.nodes[0].captures == ("x",)
    assert_survives(model)


def test_a_node_that_was_moved_keeps_what_it_says_of_itself() -> None:
    model = model_of('g (float[B] x) => (float[B] y) { y = com.acme.Act <size = 3, kind = "soft"> (x) }')
    model.graph.node[0].doc_string = "why"
    model.graph.node[0].metadata_props.add(key="k", value="v")
    graph = read_graph(model)
    (node,) = graph.nodes
    graph.remove(node)
    graph.insert(node.reading(["other"]), (0,))
    (written,) = write_model(graph).graph.node
    assert list(written.input) == ["other"]
    written.input[:] = ["x"]
    assert written == model.graph.node[0]


# -- subgraphs ---------------------------------------------------------------------------------------------------------

BRANCHES = """g (bool c, float[2] x, float[2] z) => (float[2] y) {
    a = Neg(x)
    y = If(c) <
        then_branch = t () => (float[2] p) {
            d = Constant<value_ints = [1]>()
            p = If(c) <
                then_branch = tt () => (float[2] r) { r = Add(a, z) },
                else_branch = te () => (float[2] s) { a_inner = Abs(a) s = Neg(a_inner) }
            >
        },
        else_branch = e () => (float[2] q) { q = Relu(x) }
    >
}"""


def test_captured_values() -> None:
    model = model_of(BRANCHES)
    graph = read_graph(model)
    node = graph.producer("y")
    assert node is not None
    assert set(node.captures) == {"a", "z", "x", "c"}
    assert_survives(model)


def test_reading_another_value_inside() -> None:
    model = model_of(BRANCHES)
    graph = read_graph(model)
    node = graph.producer("y")
    assert node is not None
    moved = reading_instead(node, {"a": "other"})
    assert set(moved.captures) == {"other", "z", "x", "c"}
    assert set(node.captures) == {"a", "z", "x", "c"}, "the node itself stays as it is"
    graph.remove(node)
    graph.insert(moved, (1,))
    text = onnx.printer.to_text(write_model(graph).graph)
    assert "Add (other, z)" in text
    assert "Abs (other)" in text


def test_a_name_that_a_subgraph_makes_itself_is_not_captured() -> None:
    model = model_of("""g (bool c, float[2] x) => (float[2] y) {
        y = If(c) <
            then_branch = t () => (float[2] p) { p = Neg(x) },
            else_branch = e () => (float[2] q) { own = Neg(x) q = Abs(own) }
        >
    }""")
    (node,) = read_graph(model).nodes
    assert node.captures == ("x",)


def test_a_branch_whose_output_is_an_outer_value() -> None:
    model = model_of("""g (bool c, float[2] x) => (float[2] y) {
        a = Neg(x)
        y = If(c) <
            then_branch = t () => (float[2] a) { },
            else_branch = e () => (float[2] q) { q = Abs(x) }
        >
    }""")
    node = read_graph(model).producer("y")
    assert node is not None
    assert set(node.captures) == {"a", "x"}
    assert set(reading_instead(node, {"a": "b"}).captures) == {"b", "x"}


def test_inputs_of_a_loop_hide_outer_values() -> None:
    model = model_of("""g (int64 n, bool c, float[2] x) => (float[2] y) {
        y = Loop(n, c, x) <
            body = body (int64 i, bool k, float[2] state) => (bool k2, float[2] next) {
                k2 = Identity(k)
                next = Add(state, x)
            }
        >
    }""")
    (node,) = read_graph(model).nodes
    assert node.captures == ("x",)
    assert_survives(model)


# -- local functions ---------------------------------------------------------------------------------------------------


def test_local_functions_are_inlined_with_their_overloads() -> None:
    model = parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
    g (float[B] x) => (float[B] y) {
        a = local.twice(x)
        y = local.twice(a)
    }
    <domain: "local", opset_import: ["" : 17]>
    twice (v) => (w) { w = Add(v, v) }
    """)
    overloaded = model.functions.add()
    overloaded.CopyFrom(model.functions[0])
    overloaded.overload = "third"
    overloaded.node[0].op_type = "Mul"
    model.graph.node[1].overload = "third"
    loaded = load_model(model)
    assert not loaded.model.functions
    graph = read_graph(loaded.model)
    assert [n.op for n in graph.nodes] == ["Add", "Mul"]
    assert len({v for n in graph.nodes for v in n.outputs}) == 2
    x = np.array([1, 2, 3], np.float32)
    found = session(write_model(graph)).run(None, {"x": x})[0]
    np.testing.assert_array_equal(found, (x + x) ** 2)


def test_a_model_without_an_operator_set() -> None:
    model = model_of("g (float[B] x) => (float[B] y) { y = Neg(x) }")
    del model.opset_import[:]
    model.opset_import.add(domain="com.acme", version=1)
    with pytest.raises(ModelError, match="operator set"):
        read_graph(model)


def test_the_long_name_of_the_standard_domain() -> None:
    model = model_of("g (float[B] x) => (float[B] y) { y = Neg(x) }")
    model.graph.node[0].domain = "ai.onnx"
    model.opset_import[0].domain = "ai.onnx"
    graph = read_graph(model)
    assert graph.nodes[0].domain == ""
    assert graph.opset == 17
    assert_survives(model)
