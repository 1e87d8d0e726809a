"""What is told of the entries of an index is what ONNX Runtime has there."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.analysis import Inputs, InputSide, analyze_graph
from mari_onnx.ir import read_graph
from mari_onnx.ir.dims import CANDIDATES, substitute
from mari_onnx.normalise import normalise
from mari_onnx.positions import Positions, positions, times_each, tuples
from tests.soundness.judge import NotRunnableError, Runner

CONSTANTS = {
    "zero": np.array(0),
    "one": np.array(1),
    "two": np.array(2),
    "front": np.array([0]),
    "last": np.array([-1]),
    "row": np.array([1, -1]),
    "column": np.array([-1, 1]),
    "flat": np.array([-1]),
    "threes": np.array([3, 1]),
    "pairs": np.array([2, 1, 1]),
    "twice": np.array([1, 2]),
    "list": np.array([4, 0, 2]),
    "table": np.array([[1, 2], [3, 4]]),
    "rows": np.array([[0, 0], [1, 1]]),
}

STARTS = (
    "v0 = Range(zero, b, one)",
    "v0 = Range(one, b, one)",
    "v0 = Range(zero, b, two)",
    "v0 = Identity(list)",
    "v0 = Identity(table)",
    "v0 = Identity(rows)",
    "v0 = Identity(two)",
)

STEPS = (
    "Reshape({}, row)",
    "Reshape({}, column)",
    "Reshape({}, flat)",
    "Unsqueeze({}, front)",
    "Unsqueeze({}, last)",
    "Squeeze({}, front)",
    "Expand({}, threes)",
    "Expand({}, pairs)",
    "Expand({}, s)",
    "Tile({}, threes)",
    "Tile({}, twice)",
    "Transpose({})",
    "Neg({})",
)


@st.composite
def ladders(draw: st.DrawFn) -> onnx.ModelProto:
    steps = draw(st.lists(st.sampled_from(STEPS), max_size=4))
    body = " ".join(f"v{k + 1} = {step.format(f'v{k}')}" for k, step in enumerate(steps))
    text = f"g (float[B,3] i) => (y) {{ s = Shape(i) b = Gather(s, zero) {draw(st.sampled_from(STARTS))} {body}"
    return parsed(f"{text} y = Abs(v{len(steps)}) }}")


def parsed(text: str) -> onnx.ModelProto:
    """The model, without what is wrong with it: that is for ONNX Runtime to say."""
    head = '<ir_version: 8, opset_import: ["" : 18]>'
    model = onnx.parser.parse_model(f"{head} {text.replace('(y) {', '(int64[] y) {')}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in CONSTANTS.items())
    return model


def entries(found: Positions, batch: int) -> np.ndarray:
    """The index that is described."""
    shape = [int(substitute(d, batch)) for d in found.shape]
    if found.axis is None:
        assert found.numbers is not None
        return np.full(shape, found.numbers[0])
    along = [1] * len(shape)
    along[found.axis] = -1
    line = np.arange(shape[found.axis]) if found.numbers is None else np.array(found.numbers)
    return np.broadcast_to(line.reshape(along), shape)


@given(ladders(), st.sampled_from([1, 2, 3, 5]))
def test_what_is_told_is_there(model: onnx.ModelProto, batch: int) -> None:
    graph = normalise(read_graph(model))
    analysis = analyze_graph(graph, Inputs({"i": InputSide.ITEM}, {"i": 0}))
    node = graph.producer("y")
    found = positions(graph, analysis, node.inputs[0]) if node is not None else None
    if found is None:
        return
    model.graph.output.append(onnx.ValueInfoProto(name=next(n.input[0] for n in model.graph.node if "y" in n.output)))
    try:
        truth = Runner(model)({"i": np.zeros((batch, 3), np.float32)})[1]
    except NotRunnableError:
        return
    assert np.array_equal(entries(found, batch), truth), found


@given(ladders(), st.sampled_from([1, 2, 3, 5]))
def test_numbers_that_are_repeated_are_there(model: onnx.ModelProto, batch: int) -> None:
    graph = normalise(read_graph(model))
    analysis = analyze_graph(graph, Inputs({"i": InputSide.ITEM}, {"i": 0}))
    node = graph.producer("y")
    each = times_each(graph, analysis, node.inputs[0], CANDIDATES) if node is not None else None
    if each is None:
        return
    model.graph.output.append(onnx.ValueInfoProto(name=next(n.input[0] for n in model.graph.node if "y" in n.output)))
    try:
        truth = Runner(model)({"i": np.zeros((batch, 3), np.float32)})[1]
    except NotRunnableError:
        return
    assert np.array_equal(truth.reshape(-1), np.repeat(np.arange(batch), each))


@pytest.mark.parametrize(
    ("index", "each"),
    [
        ("Reshape(t, flat)", 3),
        ("Reshape(c, flat)", 1),
        ("Reshape(back, flat)", None),
        ("Reshape(shifted, flat)", None),
        ("Reshape(i, flat)", None),
        ("Identity(t)", None),
    ],
)
def test_how_often_each_number_is_there(index: str, each: int | None) -> None:
    text = f"""g (int64[B,3] i) => (y) {{
        s = Shape(i) b = Gather(s, zero) n = Range(zero, b, one) c = Reshape(n, column) t = Expand(c, s)
        back = Transpose(t) d = Add(b, one) m = Range(one, d, one) e = Reshape(m, column) shifted = Expand(e, s)
        x = {index} z = Unsqueeze(x, last) y = Abs(z) }}"""
    graph = normalise(read_graph(parsed(text)))
    analysis = analyze_graph(graph, Inputs({"i": InputSide.ITEM}, {"i": 0}))
    node = graph.producer("y")
    assert node is not None
    assert times_each(graph, analysis, node.inputs[0], CANDIDATES) == each


@pytest.mark.parametrize(
    ("index", "axes"),
    [
        ("Concat<axis = -1>(r, k)", [0, None]),
        ("Concat<axis = 2>(k, r)", [None, 0]),
        ("Identity(r)", [0]),
        ("Concat<axis = 1>(r, k)", None),
        ("Concat<axis = -1>(p, k)", None),
        ("Concat<axis = -1>(w, k)", None),
    ],
)
def test_the_numbers_of_an_index(index: str, axes: list[int | None] | None) -> None:
    text = f"""g (float[B,3] i, int64[B,1,1] w) => (y) {{
        s = Shape(i) b = Gather(s, zero) n = Range(zero, b, one) c = Reshape(n, column) r = Unsqueeze(c, last)
        p = Concat<axis = -1>(r, r) e = Shape(r) k = Expand(two, e) x = {index} y = Abs(x) }}"""
    graph = normalise(read_graph(parsed(text)))
    analysis = analyze_graph(graph, Inputs({"i": InputSide.ITEM, "w": InputSide.ITEM}, {"i": 0, "w": 0}))
    node = graph.producer("y")
    assert node is not None
    found = tuples(graph, analysis, node.inputs[0])
    assert (None if found is None else [p.axis for p in found]) == axes
