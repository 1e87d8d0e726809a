"""Value ranges derived from small graphs, one idiom each."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, parser

from mari_onnx.verification import draw_feeds, open_session, open_source
from mari_onnx.verification.draws import ANY_STRINGS, Caution
from mari_onnx.verification.feeds import plan_feeds
from mari_onnx.verification.signature import original_inputs, parse_user_inputs


def table(rows: int, width: int = 2) -> np.ndarray:
    return np.arange(rows * width, dtype=np.float32).reshape(rows, width)


def bounds(found, name: str) -> tuple[list[float], list[float]]:
    low, high = found[name].integer_bounds()
    return low.ravel().tolist(), high.ravel().tolist()


# Each body turns `ids` (int64 [B, 2]) into indices `i` of a table with 10 rows; then the bounds of each column.
INT_PATHS = {
    "direct": ("i = Identity(ids)", [0, 0], [9, 9]),
    "cast": ("n = Cast<to=6>(ids) i = Cast<to=7>(n)", [0, 0], [9, 9]),
    "through float": ("n = Cast<to=1>(ids) i = Cast<to=7>(n)", [0, 0], [9, 9]),
    "transpose": ("i = Transpose<perm=[1,0]>(ids)", [0, 0], [9, 9]),
    "flatten": ("i = Flatten<axis=0>(ids)", [0, 0], [9, 9]),
    "reshape": ("s = Constant<value_ints=[-1]>() i = Reshape(ids, s)", [0, 0], [9, 9]),
    "reshape by shape": (
        "s = Shape(ids) z = Constant<value_ints=[0]>() b = Gather(s, z) m = Constant<value_ints=[-1]>() "
        "q = Concat<axis=0>(b, m) i = Reshape(ids, q)",
        [0, 0],
        [9, 9],
    ),
    "unsqueeze and squeeze": (
        "a = Constant<value_ints=[1]>() n = Unsqueeze(ids, a) i = Squeeze(n, a)",
        [0, 0],
        [9, 9],
    ),
    "slice": (
        "a = Constant<value_ints=[1]>() o = Constant<value_ints=[0]>() e = Constant<value_ints=[1]>() "
        "i = Slice(ids, o, e, a)",
        [0, 0],
        [9, 1],
    ),
    "split": ("l, i = Split<axis=1>(ids)", [0, 0], [1, 9]),
    "column by Gather": ("c = Constant<value_int=1>() i = Gather<axis=1>(ids, c)", [0, 0], [1, 9]),
    "offset per column": ("o = Constant<value_ints=[0, 4]>() i = Add(ids, o)", [0, 0], [3, 5]),
    "shift for padding": ("o = Constant<value_ints=[0, 1]>() i = Add(ids, o)", [0, 0], [9, 8]),
    "one-based": ("o = Constant<value_int=1>() i = Sub(ids, o)", [1, 1], [10, 10]),
    "mirrored": ("o = Constant<value_int=12>() i = Sub(o, ids)", [3, 3], [12, 12]),
    "negated": ("n = Neg(ids) o = Constant<value_int=9>() i = Add(n, o)", [0, 0], [9, 9]),
    "scaled": ("o = Constant<value_int=3>() i = Mul(ids, o)", [0, 0], [3, 3]),
    "clipped inside": (
        "o = Constant<value_int=0>() e = Constant<value_int=9>() i = Clip(ids, o, e)",
        [0, 0],
        [19, 19],
    ),
    "clipped from below": ("o = Constant<value_int=2>() i = Max(ids, o)", [0, 0], [9, 9]),
    "modulo": ("o = Constant<value_int=10>() i = Mod(ids, o)", [0, 0], [1, 1]),
    "wrapped": (
        "z = Constant<value_int=0>() n = Constant<value_int=10>() neg = Less(ids, z) w = Add(ids, n) "
        "i = Where(neg, w, ids)",
        [0, 0],
        [9, 9],
    ),
    "masked to zero": (
        "z = Constant<value_int=0>() m = Equal(ids, z) i = Where(m, z, ids)",
        [0, 0],
        [9, 9],
    ),
    "wrapped by arithmetic": (
        "z = Constant<value_int=0>() o = Constant<value_int=10>() neg = Less(ids, z) pos = Not(neg) w = Add(ids, o) "
        "a = Cast<to=7>(neg) b = Cast<to=7>(pos) c = Mul(a, w) d = Mul(ids, b) i = Add(c, d)",
        [0, 0],
        [9, 9],
    ),
    "a constant by arithmetic": (
        "z = Constant<value_int=0>() o = Constant<value_int=3>() m = Equal(ids, z) k = Not(m) "
        "a = Cast<to=7>(m) b = Cast<to=7>(k) c = Mul(o, a) d = Mul(b, ids) i = Add(d, c)",
        [0, 0],
        [9, 9],
    ),
    "times mask": (
        "z = Constant<value_int=0>() g = Greater(ids, z) m = Cast<to=7>(g) i = Mul(ids, m)",
        [0, 0],
        [9, 9],
    ),
    "tile": ("r = Constant<value_ints=[1, 3]>() i = Tile(ids, r)", [0, 0], [9, 9]),
    "pad": ("p = Constant<value_ints=[0, 1, 0, 0]>() i = Pad(ids, p)", [0, 0], [9, 9]),
    "concat": ("i = Concat<axis=1>(ids, ids)", [0, 0], [9, 9]),
}


@pytest.mark.parametrize(("body", "low", "high"), INT_PATHS.values(), ids=INT_PATHS.keys())
def test_ids_are_followed_to_the_table(make, ranges_of, body, low, high):
    model = make(f"g (int64[B,2] ids) => (float[N] y) {{ {body} y = Gather(t, i) }}", t=table(10))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert bounds(ranges_of(model), "ids") == (low, high)


@pytest.mark.parametrize(("body", "low", "high"), INT_PATHS.values(), ids=INT_PATHS.keys())
def test_drawn_ids_run(make, body, low, high):
    model = make(f"g (int64[B,2] ids) => (float[N] y) {{ {body} y = Gather(t, i) }}", t=table(10))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    session = open_session(open_source(model))
    for seed in range(5):
        session.run(draw_feeds(model, [], 6, seed).full)


def test_smallest_table_counts(make, ranges_of):
    text = "g (int64[B] ids) => (float[B,2] y) { a = Gather(t, ids) b = Gather(s, ids) y = Add(a, b) }"
    assert bounds(ranges_of(make(text, t=table(10), s=table(4))), "ids") == ([0], [3])


def test_stacked_floats_are_whole_where_they_become_ids(make, ranges_of):
    text = """g (float[B,4] x) => (float[B,2] y) {
      axis = Constant<value_ints=[1]>() c0 = Constant<value_ints=[0]>() c1 = Constant<value_ints=[1]>()
      f = Slice(x, c0, c1, axis) i = Cast<to=7>(f) e = Gather(t, i) y = Squeeze(e, axis) }"""
    found = ranges_of(make(text, t=table(10)))["x"]
    assert found.integral.ravel().tolist() == [True, False, False, False]
    assert found.high.ravel()[0] == 9
    drawn = draw_feeds(make(text, t=table(10)), [], 50).full["x"]
    assert (drawn[:, 0] == np.floor(drawn[:, 0])).all()
    assert set(drawn[:, 0]) <= set(range(10))
    assert len(set(drawn[:, 0])) > 5
    assert (drawn[:, 1:] != np.floor(drawn[:, 1:])).all()


@pytest.mark.parametrize(
    ("call", "low", "high"),
    [
        ("Gather<axis=1>(data, k)", 0, 4),
        ("GatherElements<axis=1>(data, k)", 0, 4),
        ("ScatterElements<axis=1>(data, k, upd)", 0, 4),
        ("OneHot(k, depth, values)", 0, 6),
    ],
)
def test_lookups(make, ranges_of, call, low, high):
    text = f"""g (float[B,5] data, int64[B,1] k, float[B,1] upd) => (float[B,5] y) {{
      depth = Constant<value_int=7>() values = Constant<value_floats=[0.0, 1.0]>() y = {call} }}"""
    assert bounds(ranges_of(make(text)), "k") == ([low], [high])


@pytest.mark.parametrize(("batch_dims", "high"), [(0, [4, 6]), (1, [6, 7])])
def test_gather_nd_bounds_each_number_of_a_tuple(make, ranges_of, batch_dims, high):
    text = f"g (int64[3,2] k) => (float[N] y) {{ y = GatherND<batch_dims={batch_dims}>(t, k) }}"
    weights = np.zeros((5, 7), np.float32) if not batch_dims else np.zeros((3, 7, 8), np.float32)
    model = make(text, t=weights)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert bounds(ranges_of(model), "k") == ([0, 0], high)


@pytest.mark.parametrize(
    ("compare", "high"),
    [
        ("Less(pos, n)", 5),
        ("Greater(n, pos)", 5),
        ("LessOrEqual(pos, n)", 4),
        ("GreaterOrEqual(pos, n)", 5),
        ("Greater(pos, n)", 4),
        ("Less(fpos, fn)", 5),
    ],
)
def test_lengths_stay_within_the_sequence(make, ranges_of, compare, high):
    text = f"""g (int64[B,1] n) => (bool[B,5] y) {{
      zero = Constant<value_int=0>() five = Constant<value_int=5>() one = Constant<value_int=1>()
      pos = Range(zero, five, one) fpos = Cast<to=1>(pos) fn = Cast<to=1>(n) y = {compare} }}"""
    low, found = bounds(ranges_of(make(text)), "n")
    assert found == [high]
    assert low[0] in (0, 1)


def test_last_step_of_a_sequence(make, ranges_of):
    text = """g (float[B,6] h, int64[B,1] n) => (float[B,1] y) {
      one = Constant<value_int=1>() last = Sub(n, one) y = GatherElements<axis=1>(h, last) }"""
    assert bounds(ranges_of(make(text)), "n") == ([1], [6])


def test_reverse_sequence_lengths(make, ranges_of):
    text = "g (float[6,B] h, int64[B] n) => (float[6,B] y) { y = ReverseSequence<time_axis=0, batch_axis=1>(h, n) }"
    assert bounds(ranges_of(make(text)), "n") == ([1], [6])


@pytest.mark.parametrize(
    "mask",
    [
        "m = Equal(ids, zero)",
        "m = Greater(ids, zero)",
        "one = Constant<value_int=1>() m = GreaterOrEqual(ids, one)",
        "m = Cast<to=9>(ids)",
        "one = Constant<value_int=1>() c = Clip(ids, zero, one) m = Cast<to=9>(c)",
    ],
)
def test_masks_leave_something(make, mask):
    text = f"""g (int64[B,8] ids) => (bool[B,8] m, float[B,8,2] e) {{
      zero = Constant<value_int=0>() {mask} e = Gather(t, ids) }}"""
    drawn = np.concatenate([draw_feeds(make(text, t=table(20)), [], 40, seed).full["ids"] for seed in range(4)])
    real = drawn != 0
    assert real.any(axis=1).all()
    assert not real.all()
    # Padding sits at one end: no row has padding between two real entries.
    assert (np.abs(np.diff(real.astype(int), axis=1)).sum(axis=1) <= 1).all()
    assert drawn.max() > 10


@pytest.mark.parametrize("caution", [Caution.SMALL, Caution.ZERO])
def test_histories_are_never_empty_however_timid_the_draw(make, caution):
    """ONNX Runtime crashes where all sequences of a GRU have no steps."""
    model = make(
        """g (int64[B,3] user_ids, int64[B] item) => (float[B] y) {
        z = Constant<value_int=0>() m = Greater(user_ids, z) n = Cast<to=1>(m)
        t = Gather(w, user_ids) s = Mul(t, n) a = Constant<value_ints=[1]>() l = ReduceSum<keepdims=0>(s, a)
        e = Gather(w, item) y = Mul(l, e) }""",
        w=np.ones(5, np.float32),
    )
    inputs = original_inputs(source := open_source(model), {})
    plan = plan_feeds(source, inputs, parse_user_inputs(["user_ids"], inputs))
    ids = np.concatenate([plan.draw(1, seed, caution).full["user_ids"] for seed in range(40)])
    assert (ids.max(axis=1) == 1).all()
    assert ids.min() == 0


def test_neighbouring_histories_of_a_stacked_input_are_padded_apart(make):
    text = """g (float[B,6] x) => (bool[B,3] m, bool[B,3] o, float[B,3,2] e, float[B,3,2] f) {
      zero = Constant<value_int=0>()
      l, r = Split<axis=1>(x) a = Cast<to=7>(l) b = Cast<to=7>(r)
      m = Equal(a, zero) o = Equal(b, zero) e = Gather(t, a) f = Gather(s, b) }"""
    drawn = draw_feeds(make(text, t=table(9), s=table(30)), [], 60).full["x"]
    assert (drawn[:, :3] != 0).any(axis=1).all()
    assert (drawn[:, 3:] != 0).any(axis=1).all()


def test_bucket_boundaries_are_no_length(make, ranges_of):
    text = """g (int64[B,1] age) => (bool[B,3] y) {
      edges = Constant<value_ints=[18, 35, 60]>() y = Greater(age, edges) }"""
    found = ranges_of(make(text))["age"]
    assert not np.isfinite(found.high).any()
    assert draw_feeds(make(text), [], 200).full["age"].max() > 35


def test_unknown_integers_are_small(make):
    drawn = draw_feeds(make("g (int64[B,3] n) => (float[B,3] y) { y = Cast<to=1>(n) }"), [], 50).full["n"]
    assert set(drawn.ravel()) == {0, 1}


def test_a_decided_if_is_followed(make, ranges_of):
    text = """g (int64[B,1] ids) => (float[B,2] y) {
      s = Shape<start=1>(ids) one = Constant<value_ints=[1]>() c = Equal(s, one) cond = Squeeze(c)
      i = If(cond) <then_branch = a () => (p) { ax = Constant<value_ints=[1]>() p = Squeeze(ids, ax) },
                    else_branch = b () => (q) { q = Identity(ids) }>
      y = Gather(t, i) }"""
    assert bounds(ranges_of(make(text, t=table(10))), "ids") == ([0], [9])


def test_branches_of_an_open_if_both_count(make, ranges_of):
    text = """g (int64[B] ids, bool c) => (float[B,2] y) {
      y = If(c) <then_branch = a () => (p) { p = Gather(t, ids) },
                 else_branch = b () => (q) { q = Gather(s, ids) }> }"""
    assert bounds(ranges_of(make(text, t=table(10), s=table(6))), "ids") == ([0], [5])


def test_loop_bodies_are_looked_into(make, ranges_of):
    text = """g (int64[B] ids, int64 trips) => (float[B,2] y) {
      true = Constant<value=bool {1}>() start = Gather(t, ids)
      y = Loop(trips, true, start) <body = body (int64 k, bool on, float[B,2] v) => (bool on2, float[B,2] v2) {
        on2 = Identity(on) e = Gather(s, ids) v2 = Add(v, e) }> }"""
    found = ranges_of(make(text, t=table(10), s=table(6)))
    assert bounds(found, "ids") == ([0], [5])
    assert bounds(found, "trips") == ([1], [4])


def test_local_functions_are_looked_into(ranges_of):
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "my" : 1]>
        g (int64[B] ids) => (float[B] y) <float[7] t = {0, 0, 0, 0, 0, 0, 0}> { y = my.look(t, ids) }
        <domain: "my", opset_import: ["" : 17]> look (t, i) => (e) { e = Gather(t, i) }"""
    )
    assert bounds(ranges_of(model), "ids") == ([0], [6])


def test_strings_come_from_the_vocabulary(make):
    text = """g (string[B,1] city) => (int64[B,1] y) {
      y = ai.onnx.ml.LabelEncoder<keys_strings=["x","y","z"], values_int64s=[1,2,3]>(city) }"""
    drawn = draw_feeds(make(text), [], 60).full["city"]
    assert set(drawn.ravel()) == {"x", "y", "z"}
    free = draw_feeds(make("g (string[B] c) => (string[B] y) { y = Identity(c) }"), [], 3).full["c"]
    assert set(free.tolist()) <= set(ANY_STRINGS)


def test_masks_of_truth_values_are_never_empty(make):
    text = "g (bool[B,4] m) => (bool[B,4] y) { y = Not(m) }"
    drawn = draw_feeds(make(text), [], 100).full["m"]
    assert drawn.any(axis=1).all()
    assert not drawn.all(axis=1).all()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("float16", 10), ("double", 11), ("bfloat16", 16)],
)
def test_other_floats(make, name, dtype):
    drawn = draw_feeds(make(f"g ({name}[B,3] x) => ({name}[B,3] y) {{ y = Identity(x) }}"), [], 4).full["x"]
    assert drawn.dtype == onnx.helper.tensor_dtype_to_np_dtype(dtype)


def test_small_integers_stay_in_their_type(make):
    text = "g (int8[B,1] k) => (float[B,1,2] y) { i = Cast<to=7>(k) y = Gather(t, i) }"
    drawn = draw_feeds(make(text, t=table(1000)), [], 50).full["k"]
    assert drawn.dtype == np.int8
    assert drawn.min() >= 0


def test_small_constants_in_external_files_are_read_and_large_ones_are_not(tmp_path, make, ranges_of, monkeypatch):
    text = "g (int64[B,2] ids) => (float[B,2,2] y) { i = Add(ids, offsets) y = Gather(t, i) }"
    model = make(text, t=table(100_000), offsets=np.array([0, 600], np.int64))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, size_threshold=0)
    read: list[str] = []
    load = onnx.external_data_helper.load_external_data_for_tensor
    monkeypatch.setattr(
        onnx.external_data_helper,
        "load_external_data_for_tensor",
        lambda tensor, folder: (read.append(tensor.name), load(tensor, folder))[1],
    )
    assert bounds(ranges_of(path), "ids") == ([0, 0], [599, 99_399])
    assert read == ["offsets"]


def test_custom_operators_do_not_stop_the_walk(ranges_of):
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "acme" : 1]>
        g (int64[B] ids, float[B] x) => (float[B] y, float[B] z) <float[7] t = {0, 0, 0, 0, 0, 0, 0}>
        { z = acme.Magic(x, ids) y = Gather(t, ids) }"""
    )
    assert bounds(ranges_of(model), "ids") == ([0], [6])


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 30), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
    cast=st.booleans(),
)
def test_stacked_fields_get_their_own_ranges(sizes, order, cast):
    """Any number of fields behind offsets in one table, in any column order."""
    from mari_onnx.verification import original_inputs, plan_feeds

    columns = list(range(len(sizes)))
    order.shuffle(columns)
    starts = np.cumsum([0, *sizes[:-1]])
    offsets = np.zeros(len(sizes), np.int64)
    offsets[columns] = starts
    kind = onnx.TensorProto.FLOAT if cast else onnx.TensorProto.INT64
    nodes = [
        helper.make_node("Cast", ["x"], ["ids"], to=onnx.TensorProto.INT64),
        helper.make_node("Add", ["ids", "offsets"], ["i"]),
        helper.make_node("Gather", ["t", "i"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["B", len(sizes)])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [
            onnx.numpy_helper.from_array(offsets, "offsets"),
            onnx.numpy_helper.from_array(table(sum(sizes)), "t"),
        ],
    )
    source = open_source(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    found = plan_feeds(source, original_inputs(source, {}), ()).ranges["x"]
    expected = np.array(sizes, float)[np.argsort(columns)] - 1
    assert found.high.ravel().tolist() == expected.tolist()
    assert found.integer_bounds()[0].ravel().tolist() == [0.0] * len(sizes)
