"""After the rules: outputs made by those who compute them, constants folded, nothing dead, names as they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import parser

from mari_onnx.ir import Graph, Node, read_graph, write_model
from mari_onnx.normalise import normalise
from mari_onnx.tidy import tidy, with_unique_node_names, without_keepers
from models.catalog import Exported
from tests.committed import MODELS, reads, result_of
from tests.patterns.support import model_of, session


def graph_of(text: str) -> Graph:
    return read_graph(parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> {text}'))


def by_rule(graph: Graph, *outputs: str) -> Graph:
    """The same graph, where a rule has made the nodes of some values."""
    nodes = [
        replace(n, source=None, rule="some-rule") if any(o in outputs for o in n.outputs) else n for n in graph.nodes
    ]
    return Graph(graph.model, graph.opset, graph.inputs, graph.outputs, graph.weights, nodes)


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.sorted_nodes()]


def test_an_output_is_made_by_the_node_that_computes_it() -> None:
    graph = by_rule(graph_of("g (float[B] x) => (float[B] y) { a = Neg(x) y = Identity(a) }"), "y")
    tidied = without_keepers(graph)
    assert operators(tidied) == ["Neg"]
    assert tidied.nodes[0].outputs == ("y",)


def test_an_identity_of_the_models_own_stays() -> None:
    graph = graph_of("g (float[B] x) => (float[B] y) { a = Neg(x) y = Identity(a) }")
    assert operators(without_keepers(graph)) == ["Neg", "Identity"]


def test_other_readers_follow() -> None:
    graph = by_rule(
        graph_of("g (float[B] x) => (float[B] y, float[B] z) { a = Neg(x) y = Identity(a) z = Abs(a) }"), "y"
    )
    tidied = without_keepers(graph)
    assert operators(tidied) == ["Neg", "Abs"]
    assert tidied.producer("z").inputs == ("y",)


def test_two_outputs_of_one_value() -> None:
    graph = by_rule(
        graph_of("g (float[B] x) => (float[B] y, float[B] z) { a = Neg(x) y = Identity(a) z = Identity(a) }"), "y", "z"
    )
    tidied = without_keepers(graph)
    assert operators(tidied) == ["Neg", "Identity"]
    onnx.checker.check_model(write_model(tidied))


def test_an_input_that_is_an_output_under_another_name() -> None:
    graph = by_rule(graph_of("g (float[B] x) => (float[B] y) { y = Identity(x) }"), "y")
    assert operators(without_keepers(graph)) == ["Identity"]


def test_a_value_that_is_an_output_itself() -> None:
    graph = by_rule(graph_of("g (float[B] x) => (float[B] a, float[B] y) { a = Neg(x) y = Identity(a) }"), "y")
    assert operators(without_keepers(graph)) == ["Neg", "Identity"]


def test_a_value_that_a_subgraph_reads() -> None:
    graph = by_rule(
        graph_of("""g (bool c, float[B] x) => (float[B] y, float[B] z) {
            a = Neg(x)
            y = Identity(a)
            z = If(c) <
                then_branch = t () => (float[B] p) { p = Neg(a) },
                else_branch = e () => (float[B] q) { q = Abs(a) }
            >
        }"""),
        "y",
    )
    tidied = without_keepers(graph)
    assert operators(tidied) == ["Neg", "Identity", "If"]


def test_node_names_are_unique() -> None:
    """ONNX Runtime takes two nodes of one name for an error."""
    graph = graph_of("g (float[B] x) => (float[B] y) { [n] a = Neg(x) [m] y = Abs(a) }")
    more = [
        *graph.nodes,
        Node("Neg", ("y",), ("p",), name="n", rule="r"),
        Node("Neg", ("p",), ("q",), name="n", rule="r"),
        Node("Neg", ("q",), ("s",), rule="r"),
        Node("Neg", ("s",), ("t",), rule="r"),
    ]
    named = with_unique_node_names(Graph(graph.model, 17, graph.inputs, graph.outputs, graph.weights, more))
    names = [node.name for node in named.nodes]
    assert names[:2] == ["n", "m"]
    assert len(set(names)) == len(names)


DTYPES = {"float": np.float32, "double": np.float64, "float16": np.float16}
NORM = "g ({dtype}[B,4] x, {dtype}[B,4] y) => ({dtype}[B,4] z) <{dtype}[4] s> {{ {body} }}"
BLOCK = "a = Neg(x) b = Add(a, y) z = LayerNormalization<axis = -1>(b, s)"


def normed(body: str, dtype: str = "float") -> list[str]:
    """The operators of a tidied block, which computes what it did, with a weight s."""
    model = model_of(NORM.format(dtype=dtype, body=body))
    tidied = tidy(read_graph(model))
    numbers = np.arange(8).reshape(2, 4).astype(DTYPES[dtype])
    before, after = (session(m).run(None, {"x": numbers, "y": numbers**2}) for m in (model, write_model(tidied)))
    np.testing.assert_array_equal(after[0], before[0])
    return operators(tidied)


def test_an_add_in_front_of_a_normalisation_is_not_left_to_be_fused() -> None:
    assert normed(BLOCK) == ["Neg", "Sum", "LayerNormalization"]


@pytest.mark.parametrize(
    ("body", "dtype"),
    [
        (BLOCK, "double"),
        (BLOCK, "float16"),
        ("a = Neg(x) b = Add(a, s) z = LayerNormalization<axis = -1>(b, s)", "float"),
        ("a = Neg(x) b = Add(a, y) z = Softmax<axis = -1>(b)", "float"),
    ],
)
def test_other_sums_stay(body: str, dtype: str) -> None:
    assert "Sum" not in normed(body, dtype)


LAYER = """g (float[B,4] x) => (float[B,2,3] z) <float[4,6] w, int64[3] sizes = {{-1, 2, 3}}> {{
    {body}
}}"""


def laid_out(body: str) -> list[str]:
    """The operators of a tidied layer, which computes what it did."""
    model = model_of(LAYER.format(body=body))
    tidied = tidy(read_graph(model))
    numbers = np.arange(-6, 6).reshape(3, 4).astype(np.float32)
    before, after = (session(m).run(None, {"x": numbers}) for m in (model, write_model(tidied)))
    assert len(before) == len(after)
    np.testing.assert_array_equal(after[0], before[0])
    return operators(tidied)


def test_an_activation_follows_its_product() -> None:
    body = "a = Gemm(x, w) b = Reshape(a, sizes) z = {op}(b)"
    for op in ("Relu", "LeakyRelu<alpha = 0.25>", "Sigmoid"):
        assert laid_out(body.format(op=op)) == ["Gemm", op.split("<")[0], "Reshape"]


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("a = Gemm(x, w) b = Reshape(a, sizes) z = Exp(b)", "Reshape Exp"),
        ("a = MatMul(x, w) b = Reshape(a, sizes) z = Relu(b)", "Reshape Relu"),
        ("a = Gemm(x, w) b = Reshape(a, sizes) c = Relu(b) z = Add(b, c)", "Reshape Relu Add"),
        ("a = Gemm(x, w) b = Reshape(a, sizes) n = Neg(a) m = Reshape(n, sizes) c = Relu(b) z = Add(c, m)", "Relu Add"),
    ],
)
def test_other_activations_stay(body: str, kept: str) -> None:
    assert laid_out(body)[-len(kept.split()) :] == kept.split()


def test_an_activation_of_a_graph_output_stays() -> None:
    sizes = "float[4,6] w, int64[3] sizes = {-1, 2, 3}"
    model = model_of(f"""g (float[B,4] x) => (float[B,2,3] z, float[B,2,3] b) <{sizes}> {{
        a = Gemm(x, w)
        b = Reshape(a, sizes)
        z = Relu(b)
    }}""")
    assert operators(tidy(read_graph(model))) == ["Gemm", "Reshape", "Relu"]


PRODUCT = """g ({shape} x, float[B,3] y) => (float[B,4] z{more}) {{
    t = Transpose<perm = {perm}>(x)
    {body}
}}"""


def multiplied(shape: str, perm: str, body: str, opset: int = 17, more: str = "") -> list[str]:
    """The operators in front of a tidied product, which computes what it did."""
    text = PRODUCT.format(shape=f"float{shape}", perm=perm, body=body, more=more)
    model = model_of(text, opset=opset, axes=np.array([0], np.int64), last=np.array([-2], np.int64))
    tidied = tidy(read_graph(model))
    size = [int(s) for s in shape.strip("[]").split(",")]
    fed = {"x": np.arange(12.0, dtype=np.float32).reshape(size), "y": np.eye(3, dtype=np.float32)}
    before, after = (session(m).run(None, fed) for m in (model, write_model(tidied)))
    assert len(before) == len(after)
    np.testing.assert_array_equal(after[0], before[0])
    return operators(tidied)


@pytest.mark.parametrize(
    ("shape", "perm", "body"),
    [
        ("[1,4,3]", "[0, 2, 1]", "m = Squeeze(t, axes) z = MatMul(y, m)"),
        ("[4,1,3]", "[2, 1, 0]", "m = Squeeze(t, last) z = MatMul(y, m)"),
        ("[4,3,1]", "[2, 1, 0]", "m = Squeeze(t, axes) z = MatMul(y, m)"),
        ("[1,4,3]", "[0, 2, 1]", "m = Squeeze(t, axes) a = MatMul(y, m) b = MatMul(y, m) z = Add(a, b)"),
        (
            "[1,4,3]",
            "[0, 2, 1]",
            "m = Squeeze(t, axes) a = MatMul(y, t) s = Squeeze(a, axes) b = MatMul(y, m) z = Add(s, b)",
        ),
    ],
)
def test_a_matrix_is_turned_right_before_its_product(shape: str, perm: str, body: str) -> None:
    found = multiplied(shape, perm, body)
    assert found.index("Squeeze") < len(found) - 1 - found[::-1].index("Transpose")
    assert found.count("MatMul") == body.count("MatMul")


def test_a_matrix_is_turned_right_before_its_product_in_older_operator_sets() -> None:
    found = multiplied("[1,4,3]", "[0, 2, 1]", "m = Squeeze<axes = [0]>(t) z = MatMul(y, m)", opset=11)
    assert found == ["Squeeze", "Transpose", "MatMul"]


@pytest.mark.parametrize(
    ("shape", "perm", "body", "more"),
    [
        ("[1,3,4]", "[0, 1, 2]", "m = Squeeze(t, axes) z = MatMul(y, m)", ""),
        ("[1,4,3]", "[0, 2, 1]", "m = Squeeze(t, axes) z = MatMul(y, m)", ", float[1,3,4] t"),
        ("[1,4,3]", "[0, 2, 1]", "m = Squeeze(t, axes) z = MatMul(y, m)", ", float[3,4] m"),
        ("[1,4,3]", "[0, 2, 1]", "m = Squeeze(t, axes) n = Neg(m) a = MatMul(y, m) z = MatMul(y, n)", ""),
        ("[1,4,3]", "[0, 2, 1]", "m = Squeeze(t, axes) n = Neg(t) a = MatMul(y, m) s = Squeeze(n) z = Add(a, s)", ""),
    ],
)
def test_other_matrices_stay(shape: str, perm: str, body: str, more: str) -> None:
    found = multiplied(shape, perm, body, more=more)
    assert found.count("Transpose") == 1
    assert found.index("Transpose") < found.index("Squeeze")


@pytest.mark.parametrize("meta", MODELS, ids=lambda meta: meta.name)
def test_results_are_tidy(meta: Exported) -> None:
    graph = result_of(meta.path).model.graph
    read = reads(graph)
    assert all(any(o in read for o in node.output) for node in graph.node), "a node that nobody needs"
    assert all(tensor.name in read for tensor in graph.initializer), "a weight that nobody needs"
    names = [node.name for node in graph.node if node.name]
    assert len(set(names)) == len(names)
    assert not any(node.op_type in ("Identity", "Constant") for node in graph.node)
    made = {v for node in graph.node for v in node.output} | {v.name for v in graph.input}
    assert all(v.name in made for v in graph.value_info)


@pytest.mark.parametrize("meta", MODELS[:6], ids=lambda meta: meta.name)
def test_a_second_time_changes_nothing(meta: Exported) -> None:
    graph = tidy(normalise(read_graph(onnx.load(meta.path))))
    assert write_model(tidy(graph)) == write_model(graph)
