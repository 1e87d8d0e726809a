"""The traps of the design, one test each: the colour is right, and so is the optimized model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import mari_onnx
from mari_onnx.analysis import CandidateAxis, Side
from tests.analysis.support import BATCHES, analyze, assert_right, assert_side, parse

USER, ITEM, CROSS, SHARED, OPAQUE = Side.USER, Side.ITEM, Side.CROSS, Side.SHARED, Side.OPAQUE
BEYOND_ONE = BATCHES[1:]


def around(body: str, inputs: str = "float[B, 4] u, float[B, 4] i", outputs: str = "float[?,?] y") -> str:
    """A graph of one or several nodes."""
    return f"g ({inputs}) => ({outputs}) {body}"


# -- along the candidate axis ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduction_over_candidates_is_not_that_of_one_row(op: str, keepdims: int) -> None:
    model = parse(
        around(f"<int64[1] a = {{0}}> {{ p = Abs(u) r = {op} <keepdims: int = {keepdims}> (p, a) y = Add(r, i) }}")
    )
    assert_side(model, {"p": USER, "r": OPAQUE})


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("axes", ["{0}", "{-2}"])
def test_idempotent_reduction_over_equal_candidates_is_one_row(op: str, axes: str) -> None:
    model = parse(around(f"<int64[1] a = {axes}> {{ r = {op} <keepdims: int = 1> (u, a) y = Add(r, i) }}"))
    assert_side(model, {"r": SHARED}, {"r": None})


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceMin"])
def test_idempotent_reduction_over_different_candidates_is_opaque(op: str) -> None:
    model = parse(around(f"<int64[1] a = {{0}}> {{ m = Mul(u, i) r = {op} <keepdims: int = 1> (m, a) y = Add(r, i) }}"))
    assert_side(model, {"r": OPAQUE})


def test_reduction_of_everything_takes_the_candidates_along() -> None:
    assert_side(parse(around("{ r = ReduceSum(u) y = Add(r, i) }")), {"r": OPAQUE})


def test_reduction_without_axes_that_does_nothing() -> None:
    model = parse(around("<int64[0] a = {}> { r = ReduceSum <noop_with_empty_axes: int = 1> (u, a) y = Add(r, i) }"))
    assert_side(model, {"r": USER}, {"r": CandidateAxis(0)})


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, -2])
def test_softmax_over_candidates(op: str, axis: int) -> None:
    assert_side(parse(around(f"{{ s = {op} <axis: int = {axis}> (u) y = Add(s, i) }}")), {"s": OPAQUE})


def test_softmax_before_opset_13_takes_everything_behind_its_axis() -> None:
    inputs, outputs = "float[3, B, 4] u, float[3, B, 4] i", "float[?,?,?] y"
    model = parse(around("{ s = Softmax <axis: int = 0> (u) y = Add(s, i) }", inputs, outputs), opset=12)
    assert_side(model, {"s": OPAQUE})
    model = parse(around("{ s = Softmax <axis: int = 2> (u) y = Add(s, i) }", inputs, outputs), opset=12)
    assert_side(model, {"s": USER}, {"s": CandidateAxis(1)})


@pytest.mark.parametrize("axis", [0, -2])
def test_cumulative_sum_over_candidates(axis: int) -> None:
    assert_side(parse(around(f"<int64 a = {{{axis}}}> {{ c = CumSum(u, a) y = Add(c, i) }}")), {"c": OPAQUE})


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_arg_max_over_candidates(op: str) -> None:
    body = f"{{ n = {op} <axis: int = 0, keepdims: int = 1> (u) f = Cast <to: int = 1> (n) y = Add(f, i) }}"
    assert_side(parse(around(body)), {"n": OPAQUE})


def test_top_k_over_candidates() -> None:
    body = "<int64[1] k = {1}> { v, n = TopK <axis: int = 0> (u, k) y = Add(v, i) }"
    assert_side(parse(around(body)), {"v": OPAQUE, "n": OPAQUE})


def test_layer_normalization_over_candidates() -> None:
    w = np.ones((3, 4), np.float32)
    model = parse(around("{ n = LayerNormalization <axis: int = 0> (u, w) y = Add(n, i) }"), w=w)
    assert_side(model, {"n": OPAQUE}, batches=[3])


def test_layer_normalization_with_a_scale_per_candidate() -> None:
    """A scale that reaches in front of the normalised axes may have one row for each candidate."""
    w = np.arange(12, dtype=np.float32).reshape(3, 4)
    body = "{ n = LayerNormalization (u, w) y = Add(n, i) }"
    assert analyze(parse(around(body), w=w)).facts["n"].side is OPAQUE
    assert_side(parse(around(body, "float[3, 4] u, float[3, 4] i"), w=w), {"n": CROSS}, batches=[3])


def test_batch_normalization_with_candidates_as_channels() -> None:
    inputs, outputs = "float[2, 3] u, float[2, 3] i", "float[?,?] y"
    w = np.array([1, 2], np.float32)
    body = "{ t = Transpose <perm: ints = [1, 0]> (u) n = BatchNormalization (t, w, w, w, w)"
    body += " b = Transpose (n) y = Add(b, i) }"
    assert_side(parse(around(body, inputs, outputs), w=w), {"n": OPAQUE}, batches=[2])


def test_batch_normalization_in_training_mode() -> None:
    body = "{ n, m, v = BatchNormalization <training_mode: int = 1> (u, w, w, w, w) y = Add(n, i) }"
    w = np.array([1, 2, 3, 4], np.float32)
    model = parse(around(body), w=w)
    assert analyze(model).facts["n"].side is OPAQUE


def test_instance_normalization_with_candidates_elsewhere() -> None:
    inputs, outputs = "float[2, 3, B] u, float[2, 3, B] i", "float[?,?,?] y"
    body = "{ n = InstanceNormalization(u, w, w) y = Add(n, i) }"
    assert_side(parse(around(body, inputs, outputs), w=np.ones(3, np.float32)), {"n": OPAQUE})


def test_lp_normalization_over_candidates() -> None:
    assert_side(parse(around("{ n = LpNormalization <axis: int = 0> (u) y = Add(n, i) }")), {"n": OPAQUE})


def test_mean_variance_normalization_over_candidates() -> None:
    model = parse(around("{ n = MeanVarianceNormalization <axes: ints = [0]> (u) y = Add(n, i) }"))
    assert analyze(model).facts["n"].side is OPAQUE


def test_concat_over_candidates() -> None:
    body = "{ c = Concat <axis: int = 0> (u, i) y = Relu(c) }"
    assert_side(parse(around(body)), {"c": OPAQUE, "y": OPAQUE})
    body = "<int64[1] a = {0}> { c = Concat <axis: int = 0> (u, u) m = ReduceSum(c, a) y = Add(m, i) }"
    assert_side(parse(around(body)), {"c": USER, "m": OPAQUE}, {"c": CandidateAxis(0, 2, 1)})
    body = "<int64[1] a = {0}> { c = Concat <axis: int = 0> (u, u, i) m = ReduceMax(c, a) y = Add(m, i) }"
    assert_side(parse(around(body)), {"c": OPAQUE, "m": OPAQUE})


@pytest.mark.parametrize("fill", ["ConstantOfShape(s)", "Expand(one, s)"])
def test_heads_one_behind_the_other(fill: str) -> None:
    """As TensorFlow's rankers write attention: the heads follow one another along the candidates."""
    body = f"""<float one = {{1.0}}> {{
        h1, h2 = Split <axis: int = 2, num_outputs: int = 2> (u)
        h = Concat <axis: int = 0> (h1, h2)
        e = Exp(h)
        s = Shape(e)
        f = {fill}
        g = Mul(e, f)
        p1, p2 = Split <axis: int = 0, num_outputs: int = 2> (g)
        p = Concat <axis: int = 2> (p1, p2)
        y = Add(p, i)
    }}"""
    model = parse(around(body, "float[B, 3, 4] u, float[B, 3, 4] i", "float[B, 3, 4] y"))
    two = CandidateAxis(0, 2, 1)
    axes = {"h": two, "f": two, "g": two, "p1": CandidateAxis(0), "p": CandidateAxis(0)}
    assert_side(model, dict.fromkeys(axes, USER), axes)


HEADS = """
    zero = Constant <value_ints: ints = [0]> ()
    first_axis = Constant <value_ints: ints = [1]> ()
    h1, h2 = Split <axis: int = 2, num_outputs: int = 2> (u)
    h = Concat <axis: int = 0> (h1, h2)
    s = Shape(u)
    b = Slice(s, zero, first_axis)
    n = Shape(h)
    rows = Slice(n, zero, first_axis)
"""


@pytest.mark.parametrize("rows", ["rows", "counted", "read"])
def test_masks_of_heads_one_behind_the_other(rows: str) -> None:
    """One that is the same in all rows is that of any layout, however the number of rows was found."""
    body = f"""<float[1,3,2] mask = {{1, 0, 1, 0, 0, 1}}, int64[2] tail = {{3, 2}}, int64[1] two = {{2}}> {{
        {HEADS}
        counted = Mul(b, two)
        e = Exp(h)
        m = Shape(e)
        read = Slice(m, zero, first_axis)
        sizes = Concat <axis: int = 0> ({rows}, tail)
        f = Expand(mask, sizes)
        g = Mul(e, f)
        p = Slice(g, b, rows, zero)
        q = Concat <axis: int = 2> (p, p)
        y = Add(q, i)
    }}"""
    model = parse(around(body, "float[B, 3, 4] u, float[B, 3, 4] i", "float[B, 3, 4] y"))
    axes = {"g": CandidateAxis(0, 2, 1), "p": CandidateAxis(0)}
    assert_side(model, dict.fromkeys(axes, USER), axes)
    assert analyze(model).facts["f"].axis in (CandidateAxis(0, 1, 2), CandidateAxis(0, 2, 1))


def test_what_is_alike_laid_out_anew() -> None:
    """Rows of which nobody can tell them apart are in blocks, or next to one another, as is wanted."""
    body = f"""<float[1,3] mask = {{1, 0, 1}}, int64[1] two = {{2}}, int64[1] three = {{3}}, int64[1] left = {{-1}}> {{
        {HEADS}
        all = Mul(b, two)
        sizes = Concat <axis: int = 0> (all, three)
        f = Expand(mask, sizes)
        in_front = Concat <axis: int = 0> (two, left, three)
        behind = Concat <axis: int = 0> (left, two, three)
        p = Reshape(f, in_front)
        q = Reshape(f, behind)
        v = ReduceSum <keepdims: int = 0> (p, zero)
        w = ReduceSum <keepdims: int = 0> (q, first_axis)
        x = Add(v, w)
        y = Add(x, i)
    }}"""
    model = parse(around(body, "float[B, 3, 4] u, float[B, 3] i", "float[B, 3] y"))
    axes = {"p": CandidateAxis(1), "q": CandidateAxis(0), "x": CandidateAxis(0)}
    assert_side(model, dict.fromkeys(axes, USER), axes)


@pytest.mark.parametrize("made", ["Identity(candidates)", "Mul(candidates, mask)", "Add(mask, candidates)"])
def test_rows_that_differ_are_of_one_layout(made: str) -> None:
    """What is not alike behind a mask any more does not lie as the heads do."""
    body = f"""<float[1,1] one = {{1}}, int64[2] flat = {{-1, 2}}> {{
        h1, h2 = Split <axis: int = 1, num_outputs: int = 2> (u)
        h = Concat <axis: int = 0> (h1, h2)
        n = Shape(h)
        mask = Expand(one, n)
        rows = Reshape(u, flat)
        candidates = Exp(rows)
        f = {made}
        e = Neg(f)
        z = Add(e, h)
        p1, p2 = Split <axis: int = 0, num_outputs: int = 2> (z)
        y = Add(p1, i)
    }}"""
    model = parse(around(body, "float[B, 4] u, float[B, 2] i"))
    assert_side(model, {"e": USER, "z": OPAQUE}, {"e": CandidateAxis(0, 1, 2)})


@pytest.mark.parametrize(
    ("start", "end", "axis"),
    [
        ("zero", "b", CandidateAxis(0)),
        ("b", "rows", CandidateAxis(0)),
        ("zero", "rows", CandidateAxis(0, 2, 1)),
        ("b", "far", CandidateAxis(0)),
        ("minus", "far", CandidateAxis(0)),
        ("zero", "first_axis", None),
        ("first_axis", "more", None),
        ("zero", "more", None),
        ("b", "b", None),
    ],
)
def test_slices_between_blocks(start: str, end: str, axis: CandidateAxis | None) -> None:
    body = f"""<int64[1] far = {{9223372036854775807}}> {{
        {HEADS}
        more = Add(b, first_axis)
        minus = Neg(b)
        e = Exp(h)
        p = Slice(e, {start}, {end}, zero)
        m = ReduceMax <keepdims: int = 1> (e, zero)
        y = Concat <axis: int = 0> (p, m)
    }}"""
    model = parse(around(body, "float[B, 3, 4] u, float[B, 3, 4] i", "float[?, 3, 2] y"))
    assert_side(model, {"p": OPAQUE if axis is None else USER}, {} if axis is None else {"p": axis})


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("sizes", "axis"), [("b, two", CandidateAxis(0)), ("one, rest", None)])
def test_blocks_of_given_sizes(opset: int, sizes: str, axis: CandidateAxis | None) -> None:
    body = f"""<int64[1] zero = {{0}}, int64[1] one = {{1}}> {{
        h = Concat <axis: int = 0> (u, u, u)
        s = Shape(u)
        b = Slice(s, zero, one)
        two = Add(b, b)
        all = Add(b, two)
        rest = Sub(all, one)
        sizes = Concat <axis: int = 0> ({sizes})
        p1, p2 = Split <axis: int = 0> (h, sizes)
        y = Add(p1, i)
    }}"""
    model = parse(around(body), opset)
    if axis is None:
        assert_side(model, {"h": USER, "p1": OPAQUE, "p2": OPAQUE})
    else:
        assert_side(model, dict.fromkeys(("h", "p1", "p2"), USER), {"p1": axis, "p2": CandidateAxis(0, 2, 1)})


@pytest.mark.parametrize(("opset", "sizes"), [(12, "[6, 3]"), (12, "[5, 4]"), (13, "{6, 3}"), (13, "{5, 4}")])
def test_blocks_of_a_fixed_number_of_candidates(opset: int, sizes: str) -> None:
    """Where the blocks end is a matter of positions: one that ends among the candidates of another is none."""
    cut = f"Split <axis: int = 0, split: ints = {sizes}> (e)" if opset == 12 else "Split <axis: int = 0> (e, n)"
    body = f"""{{
        h = Concat <axis: int = 0> (u, u, u)
        e = Exp(h)
        p1, p2 = {cut}
        y = Concat <axis: int = 0> (p1, p2, i)
    }}"""
    given = f"<int64[2] n = {sizes}> " if opset == 13 else ""
    model = parse(around(given + body, "float[3, 4] u, float[3, 4] i"), opset)
    whole = sizes[1] == "6"
    assert_side(model, {"p1": USER if whole else OPAQUE}, {"p1": CandidateAxis(0, 2, 1)} if whole else {}, batches=(3,))


def test_other_blocks_than_those_of_all_candidates() -> None:
    """Where the heads come first among the entries of a candidate, every other one is another head's."""
    body = """{
        n = Reshape(u, flat)
        p1, p2 = Split <axis: int = 0, num_outputs: int = 2> (n)
        y = Add(p1, i)
    }"""
    text = around(f"<int64[2] flat = {{-1, 2}}> {body}", "float[B, 4] u, float[B, 2] i")
    assert_side(parse(text), {"n": USER, "p1": OPAQUE}, {"n": CandidateAxis(0, 1, 2)})


def test_concat_of_user_tensors_in_front_of_the_candidates() -> None:
    """Concatenating along axis 0 is fine where the candidates lie on axis 1."""
    inputs = "float[3, B] u, float[3, B] i"
    assert_side(
        parse(around("{ c = Concat <axis: int = 0> (u, u) y = Concat <axis: int = 0> (c, i) }", inputs)), {"c": USER}
    )


def test_gather_of_a_certain_candidate() -> None:
    body = "<int64 n = {5}> { r = Gather <axis: int = 0> (u, n) y = Add(r, i) }"
    assert_side(parse(around(body)), {"r": OPAQUE}, batches=[6, 7])
    with pytest.raises(Exception, match="out of"):
        assert_right(parse(around(body)), batches=[2])


def test_gather_with_ids_of_the_candidates_from_a_table_of_the_candidates() -> None:
    body = "{ r = Gather <axis: int = 1> (u, n) y = MatMul(r, i) }"
    model = parse(around(body, "float[B, 4] u, int64[B] n, float[B, 4] i"))
    assert_side(model, {"r": OPAQUE}, users=["u", "n"])


@pytest.mark.parametrize(("start", "end", "step"), [(0, 2, 1), (1, 99, 1), (-1, 99, 1), (99, -99, -1), (0, 99, 2)])
def test_slice_of_the_candidates(start: int, end: int, step: int) -> None:
    body = f"<int64[1] a = {{{start}}}, int64[1] e = {{{end}}}, int64[1] x = {{0}}, int64[1] s = {{{step}}}>"
    body += "{ c = Slice(u, a, e, x, s) y = ReduceSum <keepdims: int = 1> (c, x) z = Add(i, y) }"
    model = parse(around(body, outputs="float[?,?] z"))
    assert_side(model, {"c": OPAQUE}, batches=BEYOND_ONE)


@pytest.mark.parametrize(
    "first",
    [
        "Slice(u, none, one, none)",
        "Slice(u, none, one, none, one)",
        "Slice(u, two_none, row_and_all)",
        "Gather <axis: int = 0> (u, none)",
    ],
)
@pytest.mark.parametrize("side", ["u", "i"])
def test_the_first_of_candidates_that_are_all_the_same(first: str, side: str) -> None:
    weights = "<int64[1] none = {0}, int64[1] one = {1}, int64[2] two_none = {0, 0}, int64[2] row_and_all = {1, 99}>"
    body = f"{weights} {{ c = {first.replace('u,', f'{side},')} y = Add(c, i) }}"
    assert_side(parse(around(body)), {"c": SHARED if side == "u" else OPAQUE})


def test_slice_that_keeps_all_candidates() -> None:
    body = "<int64[1] a = {0}, int64[1] e = {9223372036854775807}> { c = Slice(u, a, e, a) y = Add(c, i) }"
    assert_side(parse(around(body)), {"c": USER}, {"c": CandidateAxis(0)})


def test_pad_of_the_candidates() -> None:
    body = "<int64[4] p = {1, 0, 0, 0}, int64[1] a = {0}> { c = Pad(u, p) s = ReduceSum(c, a) y = Add(s, i) }"
    assert_side(parse(around(body)), {"c": OPAQUE})
    body = "<int64[4] p = {0, 1, 0, 0}> { y = Pad(u, p) z = Relu(i) }"
    assert_side(parse(around(body, outputs="float[?,?] y, float[?,?] z")), {"y": USER})


# -- where the candidates lie ------------------------------------------------------------------------------------------


def test_constant_that_varies_along_the_candidates() -> None:
    inputs = "float[3, 4] u, float[3, 4] i"
    w = np.arange(3, dtype=np.float32).reshape(3, 1)
    for body in (
        "{ m = Mul(u, w) y = Add(m, i) }",
        "{ m = Concat <axis: int = 1> (u, w) y = Concat <axis: int = 1> (m, i) }",
    ):
        assert_side(parse(around(body, inputs), w=w), {"m": CROSS}, batches=[3])
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    body = "{ m = Gemm(u, w, c) y = Concat <axis: int = 1> (m, i) }"
    model = parse(around(body, inputs), w=np.ones((4, 2), np.float32), c=matrix)
    assert_side(model, {"m": CROSS}, batches=[3])


def test_constant_that_varies_along_the_candidates_is_found_in_a_reduction() -> None:
    """Were the product user-side, its mean over the candidates would be that of one row."""
    w = np.arange(3, dtype=np.float32).reshape(3, 1)
    body = "<int64[1] a = {0}> { m = Mul(u, w) r = ReduceMean(m, a) y = Add(r, i) }"
    assert_side(parse(around(body, "float[3, 4] u, float[3, 4] i"), w=w), {"r": OPAQUE}, batches=[3])


def test_one_number_per_candidate_against_rows_aligns_with_their_columns() -> None:
    model = parse(around("{ s = Add(u, v) y = Add(s, i) }", "float[4] v, float[4, 4] u, float[4, 4] i"))
    assert_side(model, {"s": OPAQUE}, users=["u", "v"], batches=[4])
    model = parse(around("{ s = Add(u, v) y = Add(s, i) }", "float[B] v, float[B, B] u, float[B, 4] i"))
    assert analyze(model, ["u", "v"]).facts["s"].side is OPAQUE


def test_matmul_that_sums_over_candidates() -> None:
    body = "{ t = Transpose <perm: ints = [1, 0]> (u) m = MatMul(t, u) y = MatMul(i, m) }"
    assert_side(parse(around(body)), {"t": USER, "m": OPAQUE}, {"t": CandidateAxis(1)})
    body = "{ m = Gemm <transA: int = 1> (u, u) y = MatMul(i, m) }"
    assert_side(parse(around(body)), {"m": OPAQUE})
    body = '{ m = Einsum <equation: string = "bi,bj->ij"> (u, u) y = MatMul(i, m) }'
    assert_side(parse(around(body)), {"m": OPAQUE})


def test_matmul_of_candidates_against_candidates() -> None:
    body = "{ t = Transpose <perm: ints = [1, 0]> (u) m = MatMul(u, t) y = MatMul(m, i) }"
    assert_side(parse(around(body)), {"m": OPAQUE})


def test_two_axes_of_the_same_size() -> None:
    """The candidates are followed by their place: that another axis is as long means nothing."""
    inputs = "float[512, 512] u, float[512, 512] i"
    body = (
        "{ t = Transpose <perm: ints = [1, 0]> (u) r = Relu(t) b = Transpose <perm: ints = [1, 0]> (r) y = Add(b, i) }"
    )
    assert_side(parse(around(body, inputs)), {"r": USER}, {"r": CandidateAxis(1), "b": CandidateAxis(0)}, batches=[512])
    body = "{ t = Transpose <perm: ints = [1, 0]> (u) y = Add(t, i) }"
    assert_side(parse(around(body, inputs)), {"y": OPAQUE}, batches=[512])
    body = "<int64[1] a = {1}> { r = ReduceSum(u, a) y = Add(r, i) }"
    assert_side(parse(around(body, inputs)), {"r": USER, "y": CROSS}, batches=[512])


@pytest.mark.parametrize("shape", ["{4, -1}", "{-1, 3}", "{2, -1}"])
def test_reshape_that_tears_the_axis(shape: str) -> None:
    body = f"<int64[2] s = {shape}, int64[2] a = {{0, 1}}> {{ r = Reshape(u, s) q = ReduceSum(r, a) y = Add(q, i) }}"
    assert_side(parse(around(body)), {"r": OPAQUE}, batches=[3, 6])


def test_reshape_that_merges_and_parts_the_axis() -> None:
    body = "<int64[1] f = {-1}, int64[3] p = {-1, 2, 2}> { m = Reshape(u, f) q = Reshape(m, p) r = Relu(q)"
    body += " b = Reshape(r, k) y = Add(b, i) }"
    model = parse(around(body), k=np.array([-1, 4]))
    axes = {"m": CandidateAxis(0, 1, 4), "r": CandidateAxis(0), "b": CandidateAxis(0)}
    assert_side(model, dict.fromkeys("mrb", USER), axes)


def test_squeeze_without_axes() -> None:
    inputs = "float[B, 1, 4] u, float[B, 4] i"
    model = parse(around("{ s = Squeeze(u) y = Add(s, i) }", inputs))
    # With one candidate the original itself loses an axis more than it should.
    assert_side(model, {"s": USER}, {"s": CandidateAxis(0)}, batches=BEYOND_ONE)
    model = parse(around("{ s = Squeeze(u) y = Add(s, i) }", "float[B, T, 4] u, float[B, 4] i"))
    assert analyze(model).facts["s"].side is OPAQUE


def test_expand_to_a_number_that_is_not_that_of_the_candidates() -> None:
    """With one candidate, and with one only, this makes three rows of it."""
    body = "<int64[2] s = {3, 4}, int64[1] a = {0}> { e = Expand(u, s) q = ReduceSum(e, a) y = Add(q, i) }"
    assert_side(parse(around(body)), {"e": OPAQUE}, batches=[1, 3])


# -- what cannot be shared ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "node",
    [
        "RandomNormalLike <seed: float = 1.0> (u)",
        "RandomUniformLike <seed: float = 1.0> (u)",
        "Bernoulli <seed: float = 1.0> (p)",
        "Dropout <seed: int = 1> (u, h, t)",
    ],
)
def test_random_numbers_are_drawn_for_each_row(node: str) -> None:
    body = f"<float h = {{0.5}}, bool t = {{1}}> {{ p = Sigmoid(u) r = {node} y = Add(r, i) }}"
    model = parse(around(body), opset=17)
    assert_side(model, {"r": OPAQUE, "y": OPAQUE})


def test_random_numbers_from_request_features_are_not_folded() -> None:
    model = parse(
        around("{ r = RandomUniform <shape: ints = [1, 4], seed: float = 1.0> () s = Add(u, r) y = Add(s, i) }")
    )
    assert_side(model, {"r": OPAQUE, "s": OPAQUE})


def test_dropout_that_does_nothing_is_no_obstacle() -> None:
    body = "<float h = {0.5}, bool t = {0}> { d, m = Dropout(u, h, t)"
    body += " n = Cast <to: int = 1> (m) r = Add(d, n) y = Add(r, i) }"
    assert_side(parse(around(body)), {"r": USER})


def test_user_tensor_that_is_an_output_keeps_its_rows() -> None:
    model = parse(around("{ z = Relu(u) y = Add(z, i) }", outputs="float[B, 4] z, float[B, 4] y"))
    assert_side(model, {"z": USER})


def test_user_input_that_is_an_output() -> None:
    model = parse(around("{ z = Relu(u) y = Add(z, i) }", outputs="float[B, 4] u, float[B, 4] y"))
    assert_side(model, {"z": USER})


def _with_subgraph(op: str) -> onnx.ModelProto:
    """A user-side value read by a subgraph as it is."""
    if op == "If":
        text = "{ p = Relu(u) r = If (c) <then_branch = t () => (float[?,?] a) { a = Add(p, i) },"
        text += " else_branch = e () => (float[?,?] b) { b = Sub(p, i) }> y = Add(r, p) }"
        return parse(around(text, "float[B, 4] u, float[B, 4] i, bool c"))
    if op == "Loop":
        text = "{ p = Relu(u) y = Loop (n, c, i) <body = l (int64 k, bool d, float[?,?] x) => (bool o, float[?,?] z)"
        text += " { o = Identity(d) z = Add(x, p) }> }"
        return parse(around(text), n=np.array(2, np.int64), c=np.array(True))
    text = "{ p = Relu(u) f, y = Scan <num_scan_inputs: int = 1,"
    text += " body = s (float[4] a, float[4] b) => (float[4] d, float[4] e)"
    text += " { m = ReduceSum <keepdims: int = 0> (p, x) d = Add(a, m) e = Add(b, m) }> (w, i) }"
    return parse(around(text), w=np.zeros(4, np.float32), x=np.array([0]))


@pytest.mark.parametrize(("op", "side"), [("If", CROSS), ("Loop", CROSS), ("Scan", OPAQUE)])
def test_tensor_captured_by_a_subgraph(op: str, side: Side) -> None:
    assert_side(_with_subgraph(op), {"p": USER, "y": side})


def test_same_tensor_as_data_and_as_size() -> None:
    """Its shape still tells how many candidates there are, whatever becomes of the data."""
    body = "{ p = Relu(u) s = Shape(p) e = ConstantOfShape <value: tensor = float[1] {2}> (s)"
    body += " q = Mul(e, i) y = Add(q, p) }"
    model = parse(around(body))
    assert_side(model, {"p": USER, "s": SHARED, "e": USER})
    assert analyze(model).facts["s"].sized


def test_size_of_the_candidates_as_a_number() -> None:
    body = "<int64 z = {0}> { s = Shape(u) n = Gather(s, z) f = Cast <to: int = 1> (n) m = Mul(u, f) y = Add(m, i) }"
    assert_side(parse(around(body)), {"m": USER})


def test_numbers_of_the_candidates_differ() -> None:
    body = "<int64 z = {0}, int64 o = {1}, int64[1] x = {1}> { s = Shape(u) n = Gather(s, z) r = Range(z, n, o)"
    body += " f = Cast <to: int = 1> (r) c = Unsqueeze(f, x) m = Mul(u, c) y = Add(m, i) }"
    assert_side(parse(around(body)), {"r": ITEM, "m": CROSS})


def test_dynamic_quantization_of_a_mixed_tensor_has_one_scale_for_all() -> None:
    body = "{ m = Mul(u, i) q, s, z = DynamicQuantizeLinear(m) y = DequantizeLinear(q, s, z) }"
    assert_side(parse(around(body)), {"q": OPAQUE, "s": OPAQUE})
    body = "{ q, s, z = DynamicQuantizeLinear(u) d = DequantizeLinear(q, s, z) y = Add(d, i) }"
    assert_side(parse(around(body)), {"q": USER, "s": SHARED, "d": USER})


def test_max_pool_indices_count_through_all_candidates() -> None:
    inputs, outputs = "float[B, 2, 4] u, float[B, 2, 4] i", "float[?,?,?] y, int64[?,?,?] n"
    body = "{ p, n = MaxPool <kernel_shape: ints = [2], strides: ints = [1]> (u) y = Mul(i, i) }"
    assert_side(parse(around(body, inputs, outputs)), {"p": USER, "n": OPAQUE})


def test_custom_operator_is_opaque() -> None:
    model = parse(around("{ y = Add(u, i) }"))
    model.opset_import.append(helper.make_opsetid("acme", 1))
    model.graph.node.insert(0, helper.make_node("Twice", ["u"], ["t"], domain="acme"))
    model.graph.output.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, None))
    assert analyze(model).facts["t"].side is OPAQUE


def test_unknown_is_never_invariant() -> None:
    """A value of unknown shape may have candidates on any axis."""
    body = "{ n = NonZero(u) t = Transpose(n) f = Cast <to: int = 1> (t) m = MatMul(f, w)"
    body += " y = Concat <axis: int = 0> (m, i) }"
    model = parse(around(body), w=np.ones((2, 4), np.float32))
    assert_side(model, dict.fromkeys(("n", "t", "f", "m", "y"), OPAQUE))


def test_refusal_says_which_node_and_why() -> None:
    model = parse(around("<int64[1] a = {0}> { r = ReduceSum(u, a) y = Add(r, i) }"))
    assert analyze(model).facts["y"].opaque == "ReduceSum 'r': reduces over the candidates"
    assert mari_onnx.optimize(model, ["u"], verify=False).model.graph.node
