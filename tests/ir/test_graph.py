"""The graph: look-ups, edits and the journal that takes them back."""

from __future__ import annotations

import random

import numpy as np
import pytest
from onnx import parser

from mari_onnx.errors import ModelError
from mari_onnx.ir import Graph, Node, Weight, read_graph, write_model

TEXT = """<ir_version: 9, opset_import: ["" : 17]>
g (float[B,3] x) => (float[B,3] y, float[B,3] z) <float[3] w = {1, 2, 3}> {
    a = Add(x, w)
    b = Relu(a)
    y = Mul(a, b)
    z = Neg(b)
}"""


@pytest.fixture
def graph() -> Graph:
    return read_graph(parser.parse_model(TEXT))


def by_output(graph: Graph, value: str) -> Node:
    node = graph.producer(value)
    assert node is not None
    return node


def picture(graph: Graph) -> object:
    """Everything that can be read of a graph."""
    values = sorted({v for n in graph.nodes for v in (*n.reads, *n.outputs)})
    return (
        [(n, graph.order(n)) for n in graph.nodes],
        [graph.producer(v) for v in values],
        [set(graph.consumers(v)) for v in values],
        sorted(graph.weights),
        write_model(graph).SerializeToString(deterministic=True),
    )


def test_look_ups(graph: Graph) -> None:
    assert len(graph) == 4
    assert [n.op for n in graph] == ["Add", "Relu", "Mul", "Neg"]
    assert by_output(graph, "a").op == "Add"
    assert graph.producer("x") is None
    assert graph.producer("nothing") is None
    assert [n.op for n in graph.consumers("a")] == ["Relu", "Mul"]
    assert graph.consumers("y") == ()
    assert graph.is_output("y")
    assert not graph.is_output("a")
    assert graph.is_pinned("z")
    np.testing.assert_array_equal(graph.constant("w"), [1, 2, 3])
    assert graph.constant("x") is None


def test_a_value_read_twice_has_one_consumer() -> None:
    text = '<ir_version: 9, opset_import: ["" : 17]> g (float[B] x) => (float[B] y) { y = Mul(x, x) }'
    graph = read_graph(parser.parse_model(text))
    assert len(graph.consumers("x")) == 1
    graph.remove(graph.nodes[0])
    assert graph.consumers("x") == ()


def test_nodes_come_in_an_order_that_can_be_run() -> None:
    text = """<ir_version: 9, opset_import: ["" : 17]> g (float[B] x) => (float[B] y) {
        a = Neg(x)
        y = Abs(a)
    }"""
    model = parser.parse_model(text)
    graph = read_graph(model)
    first, second = graph.nodes
    upside_down = Graph(model, 17, graph.inputs, graph.outputs, {}, [second, first])
    assert [n.op for n in upside_down.nodes] == ["Abs", "Neg"]
    assert [n.op for n in upside_down.sorted_nodes()] == ["Neg", "Abs"]


def test_the_models_own_order_stays_where_it_can(graph: Graph) -> None:
    assert graph.sorted_nodes() == graph.nodes
    assert graph.sorted_nodes() == graph.sorted_nodes()


def test_some_nodes_come_in_an_order_that_can_be_run(graph: Graph) -> None:
    relu, product = by_output(graph, "b"), by_output(graph, "y")
    graph.remove(product)
    graph.insert(product, (-1,))
    assert [n.op for n in graph.nodes] == ["Mul", "Add", "Relu", "Neg"]
    assert graph.sorted_among([product, relu]) == [relu, product]


def test_a_cycle_is_an_error(graph: Graph) -> None:
    add = by_output(graph, "a")
    graph.remove(add)
    graph.insert(add.reading(["b", "w"]), (0,))
    with pytest.raises(ModelError, match="cycle"):
        graph.sorted_nodes()


def test_a_capture_decides_the_order() -> None:
    """What only a subgraph reads has to be there before its node."""
    text = """<ir_version: 9, opset_import: ["" : 17]>
    g (bool c, float[B] x) => (float[B] y) {
        a = Neg(x)
        y = If(c) <
            then_branch = t () => (float[B] p) { p = Abs(a) },
            else_branch = e () => (float[B] q) { q = Relu(x) }
        >
    }"""
    graph = read_graph(parser.parse_model(text))
    node = by_output(graph, "y")
    assert node.captures == ("a", "x")
    assert graph.consumers("a") == (node,)
    assert graph.is_pinned("a")
    reordered = Graph(graph.model, 17, graph.inputs, graph.outputs, {}, [node, by_output(graph, "a")])
    assert [n.op for n in reordered.sorted_nodes()] == ["Neg", "If"]


def test_names_are_unique_and_always_the_same() -> None:
    def names() -> list[str]:
        graph = read_graph(parser.parse_model(TEXT))
        return [graph.unique_name(hint) for hint in ("a", "new", "new", "x", "w", "y", "new")]

    first = names()
    assert len(set(first)) == len(first)
    assert not {"a", "x", "w", "y"} & set(first)
    assert first == names()


def test_inserting_next_to_a_node(graph: Graph) -> None:
    relu = by_output(graph, "b")
    graph.insert(Node("Neg", ("a",), ("n",)), (*graph.order(relu), 1))
    assert [n.op for n in graph.nodes] == ["Add", "Relu", "Neg", "Mul", "Neg"]


def test_roll_back_to_each_mark(graph: Graph) -> None:
    pictures, marks = [], []
    relu = by_output(graph, "b")
    steps = [
        lambda: graph.insert(Node("Abs", ("a",), ("c",)), (1, 0)),
        lambda: graph.remove(relu),
        lambda: graph.add_weight("v", Weight.of(np.zeros(3, np.float32))),
        lambda: graph.insert(Node("Add", ("c", "v"), ("b",)), (1, 1)),
    ]
    for step in steps:
        marks.append(graph.mark())
        pictures.append(picture(graph))
        step()
    for mark, before in zip(reversed(marks), reversed(pictures), strict=True):
        graph.roll_back(mark)
        assert picture(graph) == before


@pytest.mark.parametrize("seed", range(20))
def test_any_edits_taken_back(seed: int) -> None:
    graph = read_graph(parser.parse_model(TEXT))
    before = picture(graph)
    dice = random.Random(seed)
    mark = graph.mark()
    for number in range(30):
        nodes = graph.nodes
        kind = dice.choice(["insert", "remove", "weight", "inner"])
        if kind == "remove" and nodes:
            graph.remove(dice.choice(nodes))
        elif kind == "weight":
            graph.add_weight(graph.unique_name("v"), Weight.of(np.zeros(1)))
        elif kind == "inner":
            inner = graph.mark()
            graph.insert(Node("Neg", ("x",), (f"gone{number}",)), (number,))
            graph.roll_back(inner)
        else:
            source = dice.choice(["x", *[n.output for n in nodes]])
            graph.insert(Node("Neg", (source,), (f"n{number}",)), (dice.randrange(5), number))
    graph.roll_back(mark)
    assert picture(graph) == before


def test_edits_leaves_out_what_came_and_went(graph: Graph) -> None:
    mark = graph.mark()
    relu = by_output(graph, "b")
    passing = Node("Abs", ("a",), ("c",))
    graph.insert(passing, (1, 0))
    graph.remove(relu)
    staying = Node("Elu", ("a",), ("b",))
    graph.insert(staying, (1,))
    graph.remove(passing)
    assert graph.edits(mark) == ([staying], [relu])


def test_a_commit_cannot_be_taken_back(graph: Graph) -> None:
    mark = graph.mark()
    graph.insert(Node("Abs", ("a",), ("c",)), (1, 0))
    graph.commit()
    graph.roll_back(mark)
    assert len(graph) == 5


def test_others_take_part_in_a_roll_back(graph: Graph) -> None:
    told: list[str] = []
    mark = graph.mark()
    graph.note_undo(lambda: told.append("first"))
    graph.note_undo(lambda: told.append("second"))
    graph.roll_back(mark)
    assert told == ["second", "first"]


def test_how_messages_call_a_node() -> None:
    assert Node("Add", ("a", "b"), ("c",), name="n").where() == "Add 'n'"
    assert Node("Add", ("a", "b"), ("c",)).where() == "Add 'c'"
    assert Node("Foo", (), ("c",), domain="com.acme").where() == "com.acme::Foo 'c'"


def test_absent_inputs() -> None:
    node = Node("Clip", ("x", "", "high"), ("y",))
    assert node.reads == ("x", "high")
    assert node.has_input(0)
    assert not node.has_input(1)
    assert node.has_input(2)
    assert not node.has_input(3)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_weights_keep_their_shape(shape: tuple[int, ...]) -> None:
    weight = Weight.of(np.ones(shape, np.float32))
    assert weight.shape == shape
    assert weight.size == int(np.prod(shape))
    assert weight.load().shape == shape
