"""Axes that go together, tried out on each operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.reductions import REDUCTIONS
from mari_onnx.patterns._axes import Row
from mari_onnx.patterns._labels import TABLE, labels_of
from tests.patterns.support import Array, Feeds, assert_same, at_work, model_of, numbers, session, sides_of

B = 4
ITEM = "float[B,5,6] item"


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


CASES: dict[str, tuple[str, str, int, dict[str, Array]]] = {
    "Abs": ("Abs(item)", ITEM, 17, {}),
    "Add": ("Add(item, b)", f"{ITEM}, float[5,6] b", 17, {}),
    "Where": ("Where(k, b, item)", f"{ITEM}, bool[5,1] k, float[6] b", 17, {}),
    "Expand": ("Expand(item, s)", "float[B,1,6] item", 17, {"s": ints(1, 5, 6)}),
    "Tile": ("Tile(item, s)", "float[B,2,6] item", 17, {"s": ints(1, 3, 1)}),
    "Softmax": ("Softmax<axis = 1>(item)", ITEM, 17, {}),
    "Softmax of old": ("Softmax<axis = 1>(item)", ITEM, 11, {}),
    "Hardmax": ("Hardmax<axis = 1>(item)", ITEM, 17, {}),
    "ArgMax": ("ArgMax<axis = 1, keepdims = 0>(item)", ITEM, 17, {}),
    "ArgMin": ("ArgMin(item)", ITEM, 17, {}),
    "LogSoftmax": ("LogSoftmax(item)", ITEM, 17, {}),
    "LayerNormalization": ("LayerNormalization<axis = 1>(item, b, c)", f"{ITEM}, float[5,6] b, float[5,6] c", 17, {}),
    "RMSNormalization": ("RMSNormalization(item, b)", f"{ITEM}, float[6] b", 23, {}),
    "BatchNormalization": (
        "BatchNormalization(item, b, c, d, e)",
        f"{ITEM}, float[5] b, float[5] c, float[5] d, float[5] e",
        17,
        {},
    ),
    "MatMul": ("MatMul(item, b)", f"{ITEM}, float[6,3] b", 17, {}),
    "MatMul of batches": ("MatMul(item, items)", f"{ITEM}, float[B,6,3] items", 17, {}),
    "Gemm": ("Gemm(item, b, c)", "float[B,6] item, float[6,3] b, float[3] c", 17, {}),
    "Gemm, turned": ("Gemm<transA = 1, transB = 1>(item, b)", "float[6,B] item, float[3,6] b", 17, {}),
    "ReduceSum": ("ReduceSum<keepdims = 0>(item, s)", ITEM, 17, {"s": ints(1)}),
    "ReduceMax": ("ReduceMax<axes = [-1]>(item)", ITEM, 17, {}),
    "Transpose": ("Transpose<perm = [1, 2, 0]>(item)", ITEM, 17, {}),
    "Reshape": ("Reshape(item, s)", ITEM, 17, {"s": ints(0, 1, 5, 3, 2)}),
    "Flatten": ("Flatten<axis = 1>(item)", ITEM, 17, {}),
    "Squeeze": ("Squeeze(item, s)", "float[B,1,6] item", 17, {"s": ints(1)}),
    "Unsqueeze": ("Unsqueeze(item, s)", ITEM, 17, {"s": ints(2)}),
    "Concat": ("Concat<axis = 1>(item, items)", f"{ITEM}, float[B,1,6] items", 17, {}),
    "Split": ("Split<axis = 1>(item, s)", ITEM, 17, {"s": ints(2, 3)}),
    "Slice": ("Slice(item, s, e, a)", ITEM, 17, {"s": ints(0, 1), "e": ints(9, 4), "a": ints(2, 1)}),
    "Slice, turned": ("Slice(item, s, e, a, t)", ITEM, 17, {"s": ints(5), "e": ints(-9), "a": ints(2), "t": ints(-1)}),
    "Gather": ("Gather<axis = 1>(item, i)", f"{ITEM}, int64[2,3] i", 17, {}),
    "Gather of a table": (
        "Gather(w, item)",
        "int64[B,5] item",
        17,
        {"w": np.arange(12, dtype=np.float32).reshape(6, 2)},
    ),
    "Einsum": ('Einsum<equation = "bij,jk->kbi">(item, b)', f"{ITEM}, float[6,3] b", 17, {}),
    "Einsum with an ellipsis": (
        'Einsum<equation = "...ij,...jk->...k">(item, items)',
        f"{ITEM}, float[B,6,3] items",
        17,
        {},
    ),
    "Einsum of ones": ('Einsum<equation = "bij,bij->bi">(item, items)', f"{ITEM}, float[B,1,6] items", 17, {}),
    "TopK": ("TopK<axis = 1>(item, s)", ITEM, 17, {"s": ints(2)}),
}
OUTPUTS = {
    "Split": "float[] x, float[] z",
    "TopK": "float[] x, int64[] z",
    "ArgMax": "int64[] x",
    "ArgMin": "int64[] x",
}


def test_every_operator_is_tried() -> None:
    tried = {call.partition("(")[0].partition("<")[0] for call, *_ in CASES.values()}
    assert TABLE.keys() - {*UNARY, *BROADCASTING, *REDUCTIONS} <= tried


@pytest.mark.parametrize("case", CASES)
def test_operators(case: str) -> None:
    call, inputs, opset, weights = CASES[case]
    outputs = OUTPUTS.get(case, "float[] x")
    names = ", ".join(output.split()[1] for output in outputs.split(", "))
    model = model_of(f"g ({inputs}) => ({outputs}) {{ {names} = {call} }}", opset=opset, **weights)
    at = at_work(model, sides_of(model))
    node = at.graph.producer("x")
    labels = labels_of(node, at) if node is not None else None
    assert node is not None
    assert labels is not None
    given = {v: row for v, row in zip(node.inputs, labels.inputs, strict=True) if v not in weights}
    told = sorted({label for row in (*given.values(), *labels.outputs) for label in row if label is not None})
    assert told
    feeds = {v.name: _drawn(v.type.tensor_type) for v in model.graph.input}
    runner = session(model)

    def run(feeds: Feeds) -> list[Array]:
        return [np.asarray(output) for output in runner.run(None, feeds)]

    before = run(feeds)
    for label in told:
        # In another order.
        turned = run({v: _reversed(array, given.get(v, ()), label) for v, array in feeds.items()})
        expected = [_reversed(o, row, label) for o, row in zip(before, labels.outputs, strict=True)]
        assert_same(expected, turned, exact=False, note=f"label {label}")
        # The first entry alone.
        if label not in labels.mixed and any(label in row for row in labels.outputs):
            first = run({v: _first_kept(array, given.get(v, ()), label) for v, array in feeds.items()})
            pairs = zip(before, first, labels.outputs, strict=True)
            kept = [(o.take(0, row.index(label)), f.take(0, row.index(label))) for o, f, row in pairs]
            assert_same([o for o, _ in kept], [f for _, f in kept], note=f"label {label}")


def _drawn(kind: Any) -> Array:
    return numbers(np.random.default_rng(0), kind.elem_type, [d.dim_value or B for d in kind.shape.dim])


def _reversed(array: Array, row: Row, label: int) -> Array:
    """An array with its entries along a label in the opposite order."""
    return np.flip(array, [axis for axis, own in enumerate(row) if own == label]).copy()


def _first_kept(array: Array, row: Row, label: int) -> Array:
    """An array with nothing of what it was along a label but the first entry."""
    changed = array.copy()
    for axis, own in enumerate(row):
        if own == label:
            view = np.moveaxis(changed, axis, 0)
            view[1:] = np.roll(view[1:], 1) if view.dtype.kind in "ib" else view[1:] * 2 - 3
    return changed


@pytest.mark.parametrize(
    ("call", "inputs", "opset", "inside", "mixed"),
    [
        ("Softmax<axis = 1>(item)", ITEM, 17, ((0, 1, 2),), {1}),
        ("Softmax<axis = 1>(item)", ITEM, 11, ((0, 1, 2),), {1, 2}),
        ("Add(item, b)", "float[B,5,6] item, float[N,6] b", 17, ((0, None, 2), (None, 2)), set()),
        (
            "MatMul(item, items)",
            "float[B,4,5,6] item, float[B,N,6,3] items",
            17,
            ((0, None, 2, 4), (0, None, 4, 3)),
            set(),
        ),
        ("Slice(item, s, s)", ITEM, 17, ((None, 1, 2), (None,), (None,)), set()),
        ("Reshape(item, n)", "float[B,N,6] item", 17, ((0, 1, None), (None,)), set()),
    ],
)
def test_what_belongs_together(call: str, inputs: str, opset: int, inside: tuple[Row, ...], mixed: set[int]) -> None:
    """An open size may be 1 when the model runs."""
    constants = {"s": ints(1), "n": ints(0, -1, 3, 2)}
    weights = {name: array for name, array in constants.items() if f" {name}" in call}
    model = model_of(f"g ({inputs}) => (float[] x) {{ x = {call} }}", opset=opset, **weights)
    at = at_work(model, sides_of(model))
    node = at.graph.producer("x")
    labels = labels_of(node, at) if node is not None else None
    assert labels is not None
    assert (labels.inputs, labels.mixed) == (inside, mixed)
