"""Columns that are written in place are a Concat, or a choice, before anything else is done."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

import mari_onnx
from mari_onnx.analysis import Side
from mari_onnx.ir import Node
from tests.analysis.support import analyze, assert_right, assert_side, parse
from tests.soundness.judge import NotRunnableError, Runner, difference

NUMBERS = {"zero": np.array(0), "one": np.array(1), "column": np.array([-1, 1]), "last": np.array([-1])}

ROWS = "s = Shape(x) b = Gather(s, zero) n = Range(zero, b, one) c = Reshape(n, column)"
"""The number of each candidate, `[B, 1]`, as PyTorch's first exporter writes it."""

PAIRS = ROWS + " h = Shape(c) r = Expand(c, h) p = Unsqueeze(r, last) l = Expand(k, h) q = Unsqueeze(l, last)"

COLUMN = PAIRS + " i = Concat<axis = -1>(p, q) w = ScatterND(x, i, z)"
"""`x[:, k] = z`"""


def of(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    """The model, with those of the constants that it reads."""
    return parse(text, **{n: w for n, w in {**NUMBERS, **weights}.items() if f"{n}," in text or f"{n})" in text})


def operators(model: onnx.ModelProto) -> set[str]:
    """The operators of the graph that is analysed."""
    return {n.op for n in analyze(model).network if isinstance(n, Node)}


def scatters(model: onnx.ModelProto) -> bool:
    return bool({"ScatterND", "ScatterElements"} & operators(model))


# -- what is a Concat ----------------------------------------------------------------------------------------------


def test_a_column_of_the_user() -> None:
    model = of(
        f"""g (float[B,4,2] u, float[B,1,2] v, float[B,4,2] j) => (float[B,4,2] y) {{
        x = Neg(u) z = Neg(v) {COLUMN} y = Mul(w, j) }}""",
        k=np.array([2]),
    )
    assert not {"ScatterND", "Range", "Expand"} & operators(model)
    assert_side(model, {"w": Side.USER}, users=["u", "v"])


@pytest.mark.parametrize("k", [0, 1, 3, -1, -4])
def test_a_column_of_the_items(k: int) -> None:
    """The candidate in the place of a step of the history."""
    text = f"""g (float[B,4,2] u, float[B,1,2] j) => (float[B,4,2] w) {{ x = Neg(u) z = Neg(j) {COLUMN} }}"""
    model = of(text, k=np.array([k]))
    assert not scatters(model)
    assert_side(model, {"w": Side.CROSS})


@pytest.mark.parametrize("k", [[0, 1], [1, 2], [3, 0], [2, 1], [0, 2], [-1, 0], [-2, -1, 0, 1]])
def test_several_columns(k: list[int]) -> None:
    text = f"""g (float[B,4] u, float[B,{len(k)}] z) => (float[B,4] w) {{
        x = Neg(u) {ROWS} h = Shape(z) r = Expand(c, h) p = Unsqueeze(r, last)
        l = Expand(k, h) q = Unsqueeze(l, last) i = Concat<axis = -1>(p, q) w = ScatterND(x, i, z) }}"""
    model = of(text, k=np.array(k))
    assert not scatters(model)
    assert_right(model)


@pytest.mark.parametrize("k", [[[0]], [[2], [0]], [[-1]], [[0], [1], [2], [3]]])
def test_rows_of_another_axis_than_the_candidates(k: list[list[int]]) -> None:
    text = f"""g (float[B,4,2] u, float[B,{len(k)},2] v) => (float[B,4,2] y) {{
        x = Transpose<perm = [1, 0, 2]>(u) z = Transpose<perm = [1, 0, 2]>(v) w = ScatterND(x, k, z)
        y = Transpose<perm = [1, 0, 2]>(w) }}"""
    model = of(text, k=np.array(k))
    assert not scatters(model)
    assert_right(model)


def test_an_axis_between_two_that_are_gone_through() -> None:
    text = """g (float[B,4,2] u, float[B,1,2] z) => (float[B,4,2] w) {
        x = Neg(u) s = Shape(z) b = Gather(s, zero) n = Range(zero, b, one) c = Reshape(n, deep)
        t = Concat<axis = 0>(s, m) p = Expand(c, t) q = Expand(k, t) d = Expand(inner, t)
        i = Concat<axis = 3>(p, q, d) w = ScatterND(x, i, z) }"""
    inner = np.array([0, 1]).reshape(1, 1, 2, 1)
    model = of(text, deep=np.array([-1, 1, 1, 1]), m=np.array([1]), k=np.array([3]), inner=inner)
    assert not scatters(model)
    assert_right(model)


@pytest.mark.parametrize("k", [0, 3, -1])
@pytest.mark.parametrize("kind", ["int64", "int32"])
def test_the_same_entry_everywhere(k: int, kind: str) -> None:
    text = """g (float[B,4,2] u, float[B,1,2] z) => (float[B,4,2] w) {
        x = Neg(u) s = Shape(z) i = Expand(k, s) w = ScatterElements<axis = 1>(x, i, z) }"""
    model = of(text, k=np.array(k, kind))
    assert not scatters(model)
    assert_right(model)


def test_entries_whose_sizes_are_written_themselves() -> None:
    """index_fill of PyTorch's first exporter: a size of the shape is replaced before the indices are expanded."""
    text = """g (float[B,4,2] u, float[B,4,2] v) => (float[B,4,2] y) {
        x = Neg(u) a = Shape(x) s = ScatterElements<axis = 0>(a, at, size) i = Expand(k, s) z = Expand(number, s)
        w = ScatterElements<axis = 1>(x, i, z) y = Mul(w, v) }"""
    k, number = np.array([0, 3]).reshape(1, 2, 1), np.array(7, np.float32)
    model = of(text, at=np.array([1]), size=np.array([2]), k=k, number=number)
    assert_side(model, {"w": Side.USER})
    assert not scatters(model)


@pytest.mark.parametrize("batch", [3, 5])
def test_a_fixed_number_of_candidates(batch: int) -> None:
    """The numbers of the candidates are constants, of which a graph of B candidates must keep none."""
    text = f"""g (float[{batch},4] u, float[{batch},1] j) => (float[{batch},4] y) {{
        x = Neg(u) w = ScatterND(x, i, j) y = Relu(w) }}"""
    indices = np.array([[[b, 2]] for b in range(batch)])
    assert not scatters(of(text, i=indices))
    assert_right(of(text, i=indices), batches=[batch])


# -- what is a choice ----------------------------------------------------------------------------------------------

OPEN = f"""g (float[B,T] u, float[B,1] j) => ({{kind}}[B,T] w) {{{{
    x = Cast<to = {{to}}>(u) z = Cast<to = {{to}}>(j) {COLUMN} }}}}"""


@pytest.mark.parametrize("k", [0, 1, -1])
@pytest.mark.parametrize(
    ("kind", "to"),
    [
        ("float", TensorProto.FLOAT),
        ("double", TensorProto.DOUBLE),
        ("float16", TensorProto.FLOAT16),
        ("int32", TensorProto.INT32),
        ("bool", TensorProto.BOOL),
    ],
)
def test_a_column_of_an_axis_of_open_size(k: int, kind: str, to: int) -> None:
    model = of(OPEN.format(kind=kind, to=to), k=np.array([k]))
    assert not scatters(model)
    found = analyze(model)
    assert (found.side("w"), found.facts["w"].shape) == (Side.CROSS, found.facts["x"].shape)
    for length in (2, 5):
        assert_right(model, lengths={"T": length})


def test_a_type_that_has_no_choice_stays() -> None:
    model = of(OPEN.format(kind="uint16", to=TensorProto.UINT16), k=np.array([1]))
    assert scatters(model)
    assert_right(model, lengths={"T": 3})


def test_several_columns_of_an_axis_of_open_size_stay() -> None:
    text = """g (float[B,T] u, float[B,2] j) => (float[B,T] w) {
        x = Transpose(u) z = Transpose(j) y = ScatterND(x, k, z) w = Transpose(y) }"""
    model = of(text, k=np.array([[0], [1]]))
    assert scatters(model)
    assert_right(model, lengths={"T": 3})


# -- what stays ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "k"),
    [
        ('ScatterND<reduction = "add">(x, k, z)', [[0], [1]]),
        ("ScatterND(x, k, z)", [[1], [1]]),
        ("ScatterND(x, k, z)", [[-1], [3]]),
        ("ScatterND(x, i, z)", [[1], [0]]),
    ],
)
def test_other_writes_to_rows_stay(write: str, k: list[list[int]]) -> None:
    """Sums, one entry twice, and indices that are not known."""
    text = f"""g (float[B,4] u, float[B,2] j) => (float[B,4] y) {{
        x = Transpose(u) z = Transpose(j) e = Shape(z) f = Slice(e, zero1, one1) a = ConstantOfShape(f)
        m = Cast<to = 7>(a) o = Unsqueeze(m, last) i = Add(o, k) w = {write} y = Transpose(w) }}"""
    model = of(text, k=np.array(k), zero1=np.array([0]), one1=np.array([1]))
    if "(x, i" not in write:
        assert scatters(model)
    assert_right(model)


@pytest.mark.parametrize(
    "rows",
    [
        "n = Range(one, d, one)",  # the next candidate
        "t = Range(zero, b, one) n = Sub(e, t)",  # backwards
        "t = Range(zero, b, one) n = Mul(t, zero)",  # all write to the first
        "n = Identity(i)",  # as an input says
    ],
)
def test_rows_that_are_not_those_of_the_candidates_stay(rows: str) -> None:
    text = f"""g (float[B,4] u, float[B,1] z, int64[B] i) => (float[B,4] w) {{
        x = Neg(u) s = Shape(x) b = Gather(s, zero) d = Add(b, one) e = Sub(b, one) {rows}
        c = Reshape(n, column) h = Shape(c) p = Unsqueeze(c, last) l = Expand(k, h) q = Unsqueeze(l, last)
        j = Concat<axis = -1>(p, q) w = ScatterND(x, j, z) }}"""
    model = of(text, k=np.array([0]))
    assert scatters(model)
    assert analyze(model).side("w") is Side.OPAQUE


def test_writes_to_fewer_candidates_stay() -> None:
    text = """g (float[B,4] u, float[B,1] j) => (float[B,4] w) {
        x = Neg(u) z = Slice(j, from, to, from) w = ScatterElements<axis = 1>(x, i, z) }"""
    model = of(text, **{"from": np.array([0]), "to": np.array([1])}, i=np.array([[2]]))
    assert scatters(model)
    assert_right(model)


def test_writes_to_certain_candidates_stay() -> None:
    text = """g (float[B,4] u, float[B,4] j) => (float[B,4] w) {
        x = Neg(u) z = Slice(j, from, to) w = ScatterND(x, k, z) }"""
    model = of(text, **{"from": np.array([0]), "to": np.array([1])}, k=np.array([[0]]))
    assert scatters(model)
    assert_right(model)


@pytest.mark.parametrize("k", [4, -5])
def test_columns_that_do_not_exist_stay(k: int) -> None:
    text = f"g (float[B,4] u, float[B,1] z) => (float[B,4] w) {{ x = Neg(u) {COLUMN} }}"
    assert scatters(of(text, k=np.array([k])))


def test_columns_of_each_candidate_are_no_concat() -> None:
    text = f"""g (float[B,4] u, float[B,1] z, int64[B,1] k) => (float[B,4] w) {{ x = Neg(u) {COLUMN} }}"""
    model = of(text)
    assert scatters(model)
    assert_side(model, {"w": Side.CROSS})


def test_columns_that_lie_all_over_stay() -> None:
    columns = list(range(0, 80, 2))
    text = f"""g (float[B,80] u, float[B,{len(columns)}] j) => (float[B,80] w) {{
        x = Transpose(u) z = Transpose(j) y = ScatterND(x, k, z) w = Transpose(y) }}"""
    model = of(text, k=np.array(columns).reshape(-1, 1))
    assert scatters(model)
    assert_right(model)


# -- any -----------------------------------------------------------------------------------------------------------


@st.composite
def writes(draw: st.DrawFn) -> onnx.ModelProto:
    """A write with constant numbers on one axis, some of them wrong, and the numbers of the other axes in front."""
    shape = ["B", *draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))]
    axis = draw(st.integers(1, len(shape) - 1))
    shape[axis] = size = draw(st.integers(1, 5))
    numbers = draw(st.lists(st.integers(-size - 1, size), min_size=1, max_size=4))
    updates = [*shape[:axis], len(numbers), *shape[axis + 1 :]]
    indices, weights = draw(st.sampled_from([_entries, _tuples]))(shape, axis, numbers)
    op = "ScatterND" if indices[-1].op_type == "Concat" else "ScatterElements"
    attrs = {"axis": axis} if op == "ScatterElements" else {}
    user = draw(st.booleans())
    nodes = [
        helper.make_node("Neg", ["u"], ["x"]),
        helper.make_node("Shape", ["v"], ["sizes"]),
        *indices,
        helper.make_node(op, ["x", indices[-1].output[0], "v"], ["w"], **attrs),
        helper.make_node("Mul", ["w", "j"], ["y"]),
    ]
    floats = {"u": shape, "v": updates, "j": shape if user else ["B", *[1] * (len(shape) - 1)]}
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in floats.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    constants = [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


Arrays = dict[str, np.ndarray]
Found = tuple[list[onnx.NodeProto], Arrays]


def _entries(shape: list[int | str], axis: int, numbers: list[int]) -> Found:
    line = np.array(numbers).reshape([-1] + [1] * (len(shape) - axis - 1))
    return [helper.make_node("Expand", ["line", "sizes"], ["i"])], {"line": line}


def _tuples(shape: list[int | str], axis: int, numbers: list[int]) -> Found:
    """The numbers of every axis up to the one that is written, each repeated for all others."""
    weights = {"zero": np.array(0), "one": np.array(1), "end": np.array([axis + 1]), "front": np.array([0])}
    weights |= {"last": np.array([-1])}
    nodes = [
        helper.make_node("Slice", ["sizes", "front", "end"], ["wide"]),
        helper.make_node("Gather", ["sizes", "zero"], ["count"]),
        helper.make_node("Range", ["zero", "count", "one"], ["n0"]),
    ]
    for k in range(axis + 1):
        if k:
            weights[f"n{k}"] = np.array(numbers) if k == axis else np.arange(int(shape[k]))
        weights[f"to{k}"] = np.array([-1] + [1] * (axis - k))
        nodes += [
            helper.make_node("Reshape", [f"n{k}", f"to{k}"], [f"line{k}"]),
            helper.make_node("Expand", [f"line{k}", "wide"], [f"wide{k}"]),
            helper.make_node("Unsqueeze", [f"wide{k}", "last"], [f"part{k}"]),
        ]
    parts = [f"part{k}" for k in range(axis + 1)]
    return [*nodes, helper.make_node("Concat", parts, ["i"], axis=-1)], weights


@given(writes(), st.sampled_from([["u"], ["u", "v"], ["v"]]))
def test_any_write_of_columns(model: onnx.ModelProto, users: list[str]) -> None:
    """What ONNX Runtime writes is what the optimized model has, unless it refuses to write to what is not there."""
    result = mari_onnx.optimize(model, user_inputs=users, verify=False).model
    for batch in (1, 2, 3, 0):
        feeds, single = fed(model, result, users, batch)
        try:
            expected = Runner(model)(feeds)
        except NotRunnableError:
            return
        problem = difference(expected, Runner(result)(single), exact=True)
        assert problem is None, f"{problem} at B = {batch}\n{onnx.printer.to_text(model)}"


def fed(model: onnx.ModelProto, result: onnx.ModelProto, users: list[str], batch: int) -> tuple[Arrays, Arrays]:
    """Inputs of the model and of the result."""
    rng = np.random.default_rng(batch)
    feeds, single = Arrays(), Arrays()
    for value, narrow in zip(model.graph.input, result.graph.input, strict=True):
        rows = rng.integers(-4, 5, [d.dim_value or batch for d in value.type.tensor_type.shape.dim]).astype(np.float32)
        feeds[value.name] = single[value.name] = np.repeat(rows[:1], batch, 0) if value.name in users else rows
        if narrow.type.tensor_type.shape.dim[0].dim_value == 1:
            single[value.name] = np.resize(rows, (1, *rows.shape[1:]))
    return feeds, single
