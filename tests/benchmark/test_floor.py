"""A floor computes the same scores as the model that it is made of, for the inputs that it was frozen with."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mari_onnx import ModelError
from mari_onnx.benchmark.floor import freeze
from mari_onnx.ir.external import is_external
from mari_onnx.load import load_model
from mari_onnx.runtime import session
from tests import rankers
from tests.committed import MODELS, built, request_for

WHOLE = np.random.default_rng(0).integers(-3, 4, (1, 4)).astype(np.float32)
ITEMS = np.random.default_rng(1).integers(-3, 4, (5, 4)).astype(np.float32)


def model(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> {body}')


def frozen(original: onnx.ModelProto, row: np.ndarray = WHOLE) -> onnx.ModelProto:
    """The floor; the same scores as the original's, to the last bit."""
    onnx.checker.check_model(original)
    floor = freeze(original, {"u": row})
    onnx.checker.check_model(floor)
    assert [v.name for v in floor.graph.input] == ["i"]
    before = session(original, threads=1).run(None, {"u": row, "i": ITEMS})
    after = session(floor, threads=1).run(None, {"i": ITEMS})
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    return floor


def operators(graph: onnx.GraphProto) -> list[str]:
    return [node.op_type for node in graph.node]


def test_the_users_side_is_gone():
    floor = frozen(
        model("""r (float[1,4] u, float[B,4] i) => (float[B,4] y) {
            a = Relu(u)
            b = Neg(a)
            c = Exp(i)
            y = Add(b, i)
        }""")
    )
    assert operators(floor.graph) == ["Add"]  # Exp was read by nobody


def test_an_input_that_items_read_directly():
    floor = frozen(model("r (float[1,4] u, float[B,4] i) => (float[B,4] y) { y = Mul(u, i) }"))
    assert [t.name for t in floor.graph.initializer] == ["u"]


def test_a_result_of_the_user_alone():
    floor = frozen(
        model("""r (float[1,4] u, float[B,4] i) => (float[1,4] z, float[B,4] y) {
            z = Relu(u)
            y = Add(z, i)
        }""")
    )
    assert sorted(operators(floor.graph)) == ["Add", "Identity"]


def test_what_takes_its_size_from_the_items_stays():
    floor = frozen(
        model("""r (float[1,4] u, float[B,4] i) => (float[B,4] y) {
            a = Relu(u)
            s = Shape(i)
            e = Expand(a, s)
            y = Add(e, i)
        }""")
    )
    assert operators(floor.graph) == ["Shape", "Expand", "Add"]


def test_constants_are_left_to_the_runtime():
    original = model("""r (float[1,4] u, float[B,4] i) => (float[B,4] y) {
            w = Constant<value = float[1,4] {1, 2, 3, 4}>()
            v = Neg(w)
            a = Mul(u, v)
            b = Add(a, i)
            y = Mul(b, v)
        }""")
    assert operators(frozen(original).graph) == ["Constant", "Neg", "Add", "Mul"]


def test_a_value_that_a_branch_reads():
    original = model("""r (float[1,4] u, float[B,4] i) => (float[B,4] y) {
            a = Relu(u)
            m = ReduceMax<keepdims = 0>(i)
            zero = Constant<value = float {0}>()
            c = Greater(m, zero)
            y = If (c) <
                then_branch = t () => (float[B,4] p) { p = Add(a, i) },
                else_branch = e () => (float[B,4] q) { q = Mul(u, i) }
            >
        }""")
    assert "Relu" not in operators(frozen(original).graph)


def test_a_sequence_cannot_be_stored():
    original = model("""r (float[1,4] u, float[B,4] i) => (float[B,2] y) {
            a = Neg(u)
            s = SplitToSequence<axis = 1>(a, two)
            n = ArgMax<axis = 0, keepdims = 0>(i)
            f = Gather(n, zero)
            k = Mod(f, two)
            p = SequenceAt(s, k)
            h = Slice(i, starts, ends, axes)
            y = Add(p, h)
        }""")
    ints = {"two": 2, "zero": 0, "starts": [0], "ends": [2], "axes": [1]}
    original.graph.initializer.extend(onnx.numpy_helper.from_array(np.array(v, np.int64), n) for n, v in ints.items())
    found = operators(frozen(original).graph)
    assert "SplitToSequence" in found
    assert "Neg" not in found


def test_what_is_random_stays():
    original = model("""r (float[1,4] u, float[B,4] i) => (float[B,4] y) {
            a = RandomNormalLike(u)
            b = Relu(u)
            c = Add(a, b)
            y = Add(c, i)
        }""")
    assert operators(freeze(original, {"u": WHOLE}).graph) == ["RandomNormalLike", "Add", "Add"]


def test_the_original_is_not_changed():
    original = model("r (float[1,4] u, float[B,4] i) => (float[B,4] y) { a = Neg(u) \n y = Mul(a, i) }")
    before = original.SerializeToString(deterministic=True)
    frozen(original)
    assert original.SerializeToString(deterministic=True) == before


def test_a_users_side_that_does_not_run():
    original = model("r (float[1,4] u, float[B,4] i) => (float[B,4] y) { a = Reshape(u, s) \n y = Mul(a, i) }")
    original.graph.initializer.append(onnx.numpy_helper.from_array(np.array([3], np.int64), "s"))
    with pytest.raises(ModelError, match="the user's side alone cannot be run"):
        freeze(original, {"u": WHOLE})


def test_tables_in_files_are_read_where_they_are_and_those_of_the_items_stay_there(tmp_path):
    loaded = load_model(rankers.with_tables(tmp_path))
    user, items = np.array([1, 1, 1]), np.array([0, 1, 2])
    floor = freeze(loaded.model, {"user_id": user}, loaded.folder)
    assert [t.name for t in floor.graph.initializer if is_external(t)] == ["item_table"]
    (before,) = session(loaded.model, threads=1, folder=tmp_path).run(None, {"user_id": user, "item_id": items})
    (after,) = session(floor, threads=1, folder=tmp_path).run(None, {"item_id": items})
    np.testing.assert_allclose(after, before, rtol=1e-5)


@pytest.mark.parametrize("name", ["din_dyn", "stacked_dnn_ts17", "fixed_batch_dnn_dyn", "dien_ts17", "two_tower_dyn"])
def test_committed_models(name):
    meta = next(m for m in MODELS if m.name == name)
    result = built(meta).model
    request = request_for(meta, result, meta.fixed_batch or 5)
    sides = {s["name"]: s["side"] for s in meta.inputs} | {"X_user": "user", "X_item": "item"}
    users = {n: array for n, array in request.items() if sides[n] == "user"}
    rest = {n: array for n, array in request.items() if n not in users}
    assert users
    floor = freeze(result, users)
    assert {v.name for v in floor.graph.input} == set(rest)
    assert len(floor.graph.node) < len(result.graph.node)
    before, after = session(result).run(None, request), session(floor).run(None, rest)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
