"""Constants as weights, nothing that does nothing, constant expressions folded, nothing dead."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import mari_onnx
from mari_onnx.ir import Graph, read_graph, write_model
from mari_onnx.normalise import (
    FOLD_LIMIT,
    bypass_no_ops,
    constants_to_weights,
    fold_constants,
    free_claimed_names,
    name_nodes,
    normalise,
    without_dead_nodes,
    without_unread_outputs,
)
from models.catalog import Exported, draw
from tests.committed import MODELS, batches_of, expected
from tests.patterns.support import model_of, session


def graph_of(text: str, opset: int = 17) -> Graph:
    return read_graph(parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}, "com.acme" : 1]> {text}'))


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.sorted_nodes()]


@pytest.mark.parametrize("meta", MODELS, ids=lambda meta: meta.name)
def test_outputs_stay_as_they_are(meta: Exported) -> None:
    model = onnx.load(meta.path)
    before = model.SerializeToString(deterministic=True)
    result = write_model(normalise(read_graph(model)))
    assert model.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(result, full_check=True)
    assert not any(node.op_type in ("Constant", "Identity") for node in result.graph.node)
    for batch in batches_of(meta):
        found = session(result).run(None, draw(meta, batch, seed=0)[1])
        for left, right in zip(expected(meta.path, batch), found, strict=True):
            np.testing.assert_allclose(right, left, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("meta", MODELS, ids=lambda meta: meta.name)
def test_a_second_time_changes_nothing(meta: Exported) -> None:
    once = normalise(read_graph(onnx.load(meta.path)))
    assert write_model(normalise(once)) == write_model(once)


# -- constants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "expected_value"),
    [
        ("value_int = 3", np.array(3)),
        ("value_ints = [1, 2]", np.array([1, 2])),
        ("value_float = 0.5", np.array(0.5, np.float32)),
        ("value_floats = [0.5, 2.0]", np.array([0.5, 2], np.float32)),
        ("value = float[2] {1, 2}", np.array([1, 2], np.float32)),
        ("value = int64 {7}", np.array(7)),
    ],
)
def test_constants_become_weights(attribute: str, expected_value: np.ndarray) -> None:
    graph = constants_to_weights(
        graph_of(f"g (float[B] x) => (float[B] y) {{ c = Constant<{attribute}>() y = com.acme.Use(x, c) }}")
    )
    assert operators(graph) == ["Use"]
    found = graph.constant("c")
    assert found is not None
    assert found.dtype == expected_value.dtype
    assert found.shape == expected_value.shape
    np.testing.assert_array_equal(found, expected_value)


def test_constants_of_strings_stay() -> None:
    text = 'g (float[B] x) => (float[B] y) { c = Constant<value_strings = ["a"]>() y = com.acme.Use(x, c) }'
    assert operators(constants_to_weights(graph_of(text))) == ["Constant", "Use"]


def test_sparse_constants_stay_right() -> None:
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[B,3] x) => (float[B,3] y) { y = Add(x, c) }'
    )
    values = numpy_helper.from_array(np.array([5], np.float32), "v")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1]), "i"), [3])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], sparse_value=sparse))
    result = write_model(normalise(read_graph(model)))
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(session(result).run(None, {"x": x})[0], x + np.array([0, 5, 0]))


# -- what does nothing -------------------------------------------------------------------------------------------------


def test_identities_in_a_row() -> None:
    graph = bypass_no_ops(
        graph_of(
            "g (float[B] x) => (float[B] y) { a = Identity(x) b = Identity(a) c = Neg(b) d = Identity(c) y = Abs(d) }"
        )
    )
    assert operators(graph) == ["Neg", "Abs"]
    assert graph.nodes[0].inputs == ("x",)


def test_an_output_keeps_its_name() -> None:
    graph = bypass_no_ops(graph_of("g (float[B] x) => (float[B] y) { a = Neg(x) y = Identity(a) }"))
    assert operators(graph) == ["Neg", "Identity"]


def test_what_a_subgraph_reads_keeps_its_name() -> None:
    graph = bypass_no_ops(
        graph_of("""g (bool c, float[B] x) => (float[B] y) {
            a = Identity(x)
            y = If(c) <
                then_branch = t () => (float[B] p) { p = Neg(a) },
                else_branch = e () => (float[B] q) { q = Abs(a) }
            >
        }""")
    )
    assert operators(graph) == ["Identity", "If"]


@pytest.mark.parametrize(
    ("call", "opset", "stays"),
    [
        ("Dropout(x)", 17, False),
        ("Dropout<ratio = 0.5>(x)", 11, False),
        ("Dropout(x, r)", 17, False),
        ("Dropout(x, r, off)", 17, False),
        ("Dropout(x, , off)", 17, False),
        ("Dropout(x, r, on)", 17, True),
        ("Dropout(x, zero, on)", 17, False),
        ("Dropout(x, r, t)", 17, True),
    ],
)
def test_dropout(call: str, opset: int, stays: bool) -> None:
    text = f"""g (float[B] x, bool t) => (float[B] y)
    <float r = {{0.5}}, float zero = {{0}}, bool off = {{0}}, bool on = {{1}}> {{
        a = {call}
        y = Neg(a)
    }}"""
    assert operators(bypass_no_ops(graph_of(text, opset))) == (["Dropout", "Neg"] if stays else ["Neg"])


@pytest.mark.parametrize(
    ("outputs", "call", "opset"),
    [("a, m, v", "BatchNormalization<training_mode = 1>", 17), ("a, m, v, n, w", "BatchNormalization", 13)],
)
def test_statistics_of_the_rows_given_need_all_their_outputs(outputs: str, call: str, opset: int) -> None:
    text = f"""g (float[B,2] x) => (float[B,2] y) <float[2] one = {{1, 1}}, float[2] z = {{0, 0}}> {{
        {outputs} = {call}(x, one, z, z, one)
        y = Neg(a)
    }}"""
    (node, _) = without_unread_outputs(graph_of(text, opset)).sorted_nodes()
    assert list(node.outputs) == outputs.split(", ")


@pytest.mark.parametrize(
    ("call", "read", "kept"),
    [
        ("Attention(q, q, q, , p, p)", "", ["a", "k", "v"]),
        ("Attention(q, q, q, , p, p)", "k", ["a", "k", "v"]),
        ("Attention(q, q, q)", "v", ["a", "k", "v"]),
        ("Attention(q, q, q)", "", ["a"]),
    ],
)
def test_keys_and_values_so_far_are_given_together(call: str, read: str, kept: list[str]) -> None:
    """ONNX Runtime does not run an Attention that is given keys and values of before and does not give back all."""
    more = f", float[B,2,S,4] {read}" if read else ""
    text = f"""g (float[B,2,3,4] q, float[B,2,5,4] p) => (float[B,2,3,4] y{more}) {{
        a, k, v, s = {call}
        y = Neg(a)
    }}"""
    (node, _) = without_unread_outputs(graph_of(text, 24)).sorted_nodes()
    assert list(node.outputs) == kept


def test_a_mask_that_nothing_reads_does_not_matter() -> None:
    text = "g (float[B] x) => (float[B] y) { a, m = Dropout(x) y = Neg(a) }"
    assert operators(bypass_no_ops(graph_of(text))) == ["Neg"]


def test_a_dropout_whose_mask_is_read_stays() -> None:
    text = "g (float[B] x) => (float[B] y, bool[B] m) { a, m = Dropout(x) y = Neg(a) }"
    assert "Dropout" in operators(bypass_no_ops(graph_of(text)))


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ("y, m, d = LayerNormalization(x, x)", ["y"]),
        ("a, m, d = LayerNormalization(x, x) y = Add(a, d)", ["a", "", "d"]),
        ("a, y = TopK(x, k)", ["a", "y"]),
        ("y, b = Split<axis = 1>(x)", ["y", "b"]),
        ("y, b = com.acme.Both(x)", ["y", "b"]),
    ],
)
def test_optional_outputs_that_nobody_reads(nodes: str, names: list[str]) -> None:
    graph = graph_of(f"g (float[2] x, int64[1] k) => (float[2] y) {{ {nodes} }}")
    assert list(normalise(graph).nodes[0].outputs) == names


def test_a_first_output_that_nobody_reads_keeps_its_place() -> None:
    graph = graph_of("g (float[3,1,2] x, float[1,3,2] w, float[1,3,1] r) => (y) { a, y = RNN<hidden_size=1>(x, w, r) }")
    assert list(normalise(graph).nodes[0].outputs) == ["a", "y"]


def test_outputs_that_a_body_reads_stay() -> None:
    graph = graph_of("""g (bool c, float[2] x) => (float[2] y) {
        a, m, d = LayerNormalization(x, x)
        y = If (c) <then_branch = t () => (z) { z = Add(a, m) }, else_branch = e () => (z) { z = Neg(a) }>
    }""")
    assert list(normalise(graph).nodes[0].outputs) == ["a", "m"]


def test_identities_of_other_domains_stay() -> None:
    text = "g (float[B] x) => (float[B] y) { a = com.acme.Identity(x) y = Neg(a) }"
    assert operators(bypass_no_ops(graph_of(text))) == ["Identity", "Neg"]


# -- folding -----------------------------------------------------------------------------------------------------------


def test_expressions_of_constants_are_evaluated() -> None:
    graph = fold_constants(
        graph_of("""g (float[B,2] x) => (float[B,2] y) <float[2] w = {1, 2}, float[2] v = {3, 5}> {
            a = Add(w, v)
            b = Mul(a, a)
            y = Add(x, b)
        }""")
    )
    assert operators(graph) == ["Add"]
    np.testing.assert_array_equal(graph.constant("b"), [16, 49])


def test_several_outputs() -> None:
    graph = fold_constants(
        graph_of("""g (float[B,2] x) => (float[B,2] y) <float[4] w = {4, 1, 3, 2}, int64[1] k = {2}> {
            top, where = TopK(w, k)
            y = Add(x, top)
        }""")
    )
    assert operators(graph) == ["Add"]
    np.testing.assert_array_equal(graph.constant("top"), [4, 3])


@pytest.mark.parametrize(
    "nodes",
    [
        "a = RandomNormal<shape = [2]>()",
        "a = RandomUniformLike(w)",
        "a = Bernoulli(w)",
        "a = com.acme.Make(w)",
        "a, m = Dropout(w, half, on)",
    ],
)
def test_what_is_drawn_or_unknown_is_not_evaluated(nodes: str) -> None:
    text = f"""g (float[B,2] x) => (float[B,2] y) <float[2] w = {{0, 1}}, float half = {{0.5}}, bool on = {{1}}> {{
        {nodes}
        y = Add(x, a)
    }}"""
    assert len(operators(fold_constants(graph_of(text)))) == 2


def test_an_output_is_not_evaluated() -> None:
    text = "g (float[B,2] x) => (float[2] y, float[B,2] z) <float[2] w = {1, 2}> { y = Neg(w) z = Abs(x) }"
    assert operators(fold_constants(graph_of(text))) == ["Neg", "Abs"]


def test_a_large_result_is_not_evaluated() -> None:
    """A ConstantOfShape in the file would be larger than the model."""
    text = f"""g (float[B,1] x) => (float[B,{FOLD_LIMIT + 1}] y) <int64[1] n = {{{FOLD_LIMIT + 1}}}> {{
        a = ConstantOfShape(n)
        y = Add(x, a)
    }}"""
    assert operators(fold_constants(graph_of(text))) == ["ConstantOfShape", "Add"]


def test_what_fails_stays_for_the_runtime_to_tell() -> None:
    text = """g (float[B] x) => (float[B] y) <int64[1] w = {9}, float[2] t = {1, 2}> {
        a = Gather(t, w)
        y = Add(x, a)
    }"""
    assert operators(fold_constants(graph_of(text))) == ["Gather", "Add"]


def test_sequences_of_constants() -> None:
    text = """g (float[B,2] x) => (float[B,2] y) <float[2] w = {1, 2}, int64 i = {0}> {
        s = SequenceConstruct(w, w)
        a = SequenceAt(s, i)
        y = Add(x, a)
    }"""
    result = write_model(normalise(graph_of(text)))
    x = np.zeros((3, 2), np.float32)
    np.testing.assert_array_equal(session(result).run(None, {"x": x})[0], [[1, 2]] * 3)


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_dead_code_goes_in_order() -> None:
    graph = without_dead_nodes(
        graph_of("""g (float[B] x) => (float[B] y) <float[1] w = {1}, float[1] v = {2}> {
            a = Neg(x)
            dead = Add(a, w)
            deader = Abs(dead)
            y = Add(a, v)
        }""")
    )
    assert operators(graph) == ["Neg", "Add"]
    assert list(graph.weights) == ["v"]


def test_what_a_subgraph_reads_is_alive() -> None:
    graph = without_dead_nodes(
        graph_of("""g (bool c, float[B] x) => (float[B] y) <float[1] w = {1}> {
            a = Neg(x)
            y = If(c) <
                then_branch = t () => (float[B] p) { p = Add(a, w) },
                else_branch = e () => (float[B] q) { q = Abs(x) }
            >
        }""")
    )
    assert operators(graph) == ["Neg", "If"]
    assert list(graph.weights) == ["w"]


def test_inputs_stay_even_if_nobody_reads_them() -> None:
    graph = normalise(graph_of("g (float[B] x, float[B] unused) => (float[B] y) { y = Neg(x) }"))
    assert list(graph.inputs) == ["x", "unused"]


def test_reports_have_a_name_for_every_node_and_the_file_has_not() -> None:
    graph = name_nodes(graph_of("g (float[B] x) => (float[B] y) { a = Neg(x) y = Abs(a) }"))
    assert [node.name for node in graph.nodes] == ["a", "y"]
    assert [node.name for node in write_model(graph).graph.node] == ["", ""]


def test_types_are_those_of_the_model() -> None:
    graph = fold_constants(
        graph_of("g (float16[B] x) => (float16[B] y) <float16[1] w = {1}> { a = Neg(w) y = Add(x, a) }")
    )
    assert graph.weights["a"].dtype == TensorProto.FLOAT16


def test_a_gemm_that_adds_nothing_does_not_scale_it() -> None:
    graph = normalise(
        graph_of("""g (float[B,2] x) => (float[B,2] y) <float[2,2] w = {1, 2, 3, 4}, float[2] c = {1, 2}> {
            a = Gemm<alpha = 2.0, beta = 0.0>(x, w)
            b = Gemm<beta = 0.0, transB = 1>(a, w)
            y = Gemm<beta = 0.5>(b, w, c)
        }""")
    )
    assert [dict(node.attrs) for node in graph.nodes] == [{"alpha": 2.0}, {"transB": 1}, {"beta": 0.5}]


# -- names that ONNX Runtime gives -------------------------------------------------------------------------------------

SAVED = """g (float[B,3,8] user, float[B,3,4] item) => (float[B,3,4] y)
<int64[2] gemm_input_shape = {-1, 8}, int64[3] gemm_output_shape = {-1, 3, 4}, float[8,4] w, float[4] b> {
    rows = Reshape(user, gemm_input_shape) h = Gemm(rows, w, b) first = Reshape(h, gemm_output_shape)
    n = Neg(user) p = MatMul(n, w) second = Add(p, b)
    s = Mul(first, second) y = Add(s, item)
}"""


def test_a_saved_model_with_another_product_to_fuse_loads() -> None:
    """The product of what is there once has known sizes in the result."""
    model = model_of(SAVED)
    result = mari_onnx.optimize(model, ["user"])
    assert result.verification is not None
    assert result.verification.passed


def test_names_are_freed_in_subgraphs() -> None:
    graph = graph_of("""g (bool c) => (int64[2] y) <int64[2] gemm_input_shape = {-1, 8}> {
        y = If(c) <then_branch = t () => (int64[2] a) { a = Neg(gemm_input_shape) },
                   else_branch = e () => (int64[2] b) { b = Abs(gemm_input_shape) }>
    }""")
    freed = free_claimed_names(graph)
    (name,) = freed.weights
    assert name != "gemm_input_shape"
    assert all(node.captures == (name,) for node in freed.nodes)
    assert session(write_model(freed)).run(None, {"c": np.array(True)})[0].tolist() == [1, -8]


def test_a_weight_that_is_an_output_keeps_its_name() -> None:
    graph = graph_of("""g (float[B] x) => (int64[2] gemm_input_shape, float[B] y)
        <int64[2] gemm_input_shape = {-1, 8}> { y = Neg(x) }""")
    assert free_claimed_names(graph) is graph
