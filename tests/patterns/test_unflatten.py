"""unflatten(f(flatten(x))) = f(x)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.ir.dims import CANDIDATES
from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.rivals import rewrite_best
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of, typed

RULE = "unflatten"

F32 = np.float32


def rows(layers: str, width: int = 5, *, result: str = "B,T,{width}", **settings: Any) -> Outcome:
    """The rule on layers that turn the rows ``r [B*T, 5]`` into ``q [B*T, width]``."""
    return apply(
        RULE,
        f"""score (float[B,T,5] item) => (float[{result.format(width=width)}] y) {{
            five = Constant<value_ints = [-1, 5]>()
            r = Reshape(item, five)
            {layers}
            sizes = Shape(item)
            zero = Constant<value_ints = [0]>()
            two = Constant<value_ints = [2]>()
            lead = Slice(sizes, zero, two)
            last = Constant<value_ints = [{width}]>()
            back = Concat<axis = 0>(lead, last)
            y = Reshape(q, back)
        }}""",
        **settings,
    )


W = np.random.default_rng(0).integers(-3, 4, (5, 4)).astype(F32)


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "width", "weights"),
    [
        ("q = Relu(r)", 5, {}),
        ("q = MatMul(r, w)", 4, {"w": W}),
        ("q = Gemm(r, w)", 4, {"w": W}),
        ("q = Gemm(r, w, c)", 4, {"w": W, "c": W[0]}),
        ("q = Gemm(r, w, c)", 4, {"w": W, "c": W[:1]}),
        ("q = Gemm<transB = 1>(r, w, c)", 4, {"w": W.T.copy(), "c": W[0, :1]}),
        ("q = Add(r, c)", 5, {"c": W.T[0].copy()}),
        ("q = Mul(c, r)", 5, {"c": W.T[:1].copy()}),
        ("q = Mul(c, r)", 5, {"c": F32(3)}),
        ("q = Concat<axis = 1>(r, r)", 10, {}),
        ("q = Concat<axis = -1>(r, r)", 10, {}),
        ("q = Clip(r, low)", 5, {"low": F32(0)}),
        ("h = MatMul(r, w)\n q = Mul(h, h)", 4, {"w": W}),
        ('q = Einsum<equation = "bi,io->bo">(r, w)', 4, {"w": W}),
    ],
)
def test_layers(layers: str, width: int, weights: dict[str, np.ndarray]) -> None:
    outcome = rows(layers, width, **weights)
    assert outcome.times == 1
    assert not any("r" in node.output for node in outcome.result.graph.node)


@pytest.mark.parametrize(
    "layers", ["q = Softmax<axis = -1>(r)", "q = LogSoftmax<axis = -1>(r)", "q = Softmax<axis = 1>(r)"]
)
def test_softmax_of_the_last_axis(layers: str) -> None:
    assert rows(layers, exact=False).times == 1


@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_normalisation(axis: int) -> None:
    assert rows(f"q = LayerNormalization<axis = {axis}>(r, s)", s=np.ones(5, F32), exact=False).times == 1


def test_rows_laid_out_anew_by_themselves() -> None:
    layers = """
        wide = Constant<value_ints = [-1, 5, 1]>()
        u = Reshape(r, wide)
        e = Relu(u)
        last_axis = Constant<value_ints = [2]>()
        q = Squeeze(e, last_axis)
    """
    assert rows(layers).times == 1


def test_lookups() -> None:
    outcome = apply(
        RULE,
        """score (int64[B,T] item, float[B,T,4] user) => (float[B,T,4] y)
        <float[6,4] table, int64[1] flat = {-1}, int64[2] four = {-1, 4}> {
            ids = Reshape(item, flat)
            e = Gather(table, ids)
            u = Reshape(user, four)
            q = Mul(e, u)
            sizes = Shape(user)
            y = Reshape(q, sizes)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["Tile"] == 0


def test_user_and_item_rows_meet() -> None:
    """What was one axis of B * T is two again, so the user's tokens are seen to be the same for all."""
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,3,2] item) => (float[B,3,5] y)
        <float[6,5] w, int64[2] four = {-1, 4}, int64[2] two = {-1, 2}, int64[3] back = {-1, 3, 5}> {
            u = Reshape(user, four)
            i = Reshape(item, two)
            x = Concat<axis = 1>(u, i)
            q = MatMul(x, w)
            y = Reshape(q, back)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["Tile"] == 0


def test_heads_that_are_merged_as_well() -> None:
    """As behind an attention whose heads were an axis, or part of one: [B, T * heads, k] as rows [B * T, heads * k]."""
    outcome = apply(
        RULE,
        """score (float[B,6,2] item) => (float[B,3,5] y)
        <float[4,5] w, int64[2] four = {-1, 4}, int64[3] back = {-1, 3, 5}> {
            r = Reshape(item, four)
            q = MatMul(r, w)
            y = Reshape(q, back)
        }""",
    )
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("MatMul")[0].input[0]) == (CANDIDATES, 3, 4)


def test_rows_that_are_cut_anew() -> None:
    """[B, 3, 4] as rows of 6, put back as [B, 2, 6]: it is the same memory, and candidates keep their axis."""
    text = """score (float[B,3,4] item) => (float[B,2,6] y)
    <int64[2] six = {-1, 6}, int64[3] back = {-1, 2, 6}> {
        r = Reshape(item, six)
        q = Relu(r)
        y = Reshape(q, back)
    }"""
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("Relu")[0].input[0]) == (CANDIDATES, 2, 6)


@pytest.mark.parametrize(
    ("front", "back"), [("[0, 0, 1, 1, 5]", "[0, 3, 2, 2, 1]"), ("[1, -1, 3, 1, 5]", "[1, -1, 3, 1, 4]")]
)
def test_axes_of_size_one_in_between(front: str, back: str) -> None:
    """As tf2onnx writes an einsum."""
    sizes = [abs(int(d)) for d in back.strip("[]").split(",")]
    shape = ["B" if d == 0 or (i == 1 and sizes[0]) else d for i, d in enumerate(sizes)]
    back = back.replace("[0", "[-1")
    outcome = apply(
        RULE,
        f"""score (float[B,3,5] item) => ({typed("float", shape)} y) <float[5,4] w> {{
            front = Constant<value_ints = {front}>()
            five = Constant<value_ints = [-1, 5]>()
            back = Constant<value_ints = {back}>()
            a = Reshape(item, front)
            r = Reshape(a, five)
            q = MatMul(r, w)
            y = Reshape(q, back)
        }}""",
    )
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("MatMul")[0].input[0]) == (CANDIDATES, 3, 5)


HEADS = """score (float[B,2,3,4] item, float[{key}] item2) => (float[B,2,{result}] y)
<int64[3] flat = {{-1, 3, 4}}, int64[3] flat_key = {{{flat_key}}}, int64[4] back = {{-1, 2, {result}}}> {{
    q = Reshape(item, flat)
    k = Reshape(item2, flat_key)
    {layers}
    y = Reshape(s, back)
}}"""


@pytest.mark.parametrize(
    ("layers", "result"),
    [
        ("t = Transpose<perm = [0, 2, 1]>(k) s = MatMul(q, t)", "3,5"),
        ("t = Transpose<perm = [0, 2, 1]>(k) m = MatMul(q, t) s = Softmax<axis = -1>(m)", "3,5"),
        ("t = Transpose<perm = [0, 2, 1]>(k) m = MatMul(q, t) s = Concat<axis = 2>(m, q)", "3,9"),
    ],
)
def test_matrices_of_heads(layers: str, result: str) -> None:
    text = HEADS.format(key="B,2,5,4", flat_key="-1, 5, 4", layers=layers, result=result)
    outcome = apply(RULE, text, exact="Softmax" not in layers)
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("MatMul")[0].input[0]) == (CANDIDATES, 2, 3, 4)


def test_a_matrix_that_is_the_same_for_all_heads() -> None:
    text = HEADS.format(key="B,2,3,4", flat_key="-1, 3, 4", layers="m = MatMul(q, w) s = Add(m, k)", result="3,4")
    for shape in ((4, 4), (1, 4, 4)):
        outcome = apply(RULE, text, w=np.arange(16).reshape(shape).astype(F32))
        assert outcome.times == 1


@pytest.mark.parametrize("back", ["-1, 8", "-1, 1, 8", "1, -1, 8", "-1, 2, 4"])
def test_heads_of_one_query_that_lie_side_by_side_again(back: str) -> None:
    """[B, 2 * 4] as [B * 2, 1, 4] and back, as ``nn.MultiheadAttention`` has it for one query of each candidate."""
    shape = back.replace("-1", "B").replace(" ", "")
    outcome = apply(
        RULE,
        f"""score (float[B,8] item, float[B,8] item2) => (float[{shape}] y)
        <int64[3] heads = {{-1, 1, 4}}, int64[{len(back.split(","))}] back = {{{back}}}> {{
            q = Reshape(item, heads)
            k = Reshape(item2, heads)
            t = Transpose<perm = [0, 2, 1]>(k)
            m = MatMul(q, t)
            s = Sigmoid(m)
            o = MatMul(s, k)
            y = Reshape(o, back)
        }}""",
        exact=False,
    )
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("MatMul")[0].input[0]) == (CANDIDATES, 2, 1, 4)


TIME_MAJOR = """score (float[{front}3,B,8] item, float[{front}5,B,8] item2) => (float[{result}] y)
<int64[3] heads = {{3, -1, 4}}, int64[3] keys = {{5, -1, 4}}, int64[{rank}] back = {{{back}}}> {{
    r = Reshape(item, heads)
    q = Transpose<perm = [1, 0, 2]>(r)
    l = Reshape(item2, keys)
    k = Transpose<perm = [1, 2, 0]>(l)
    v = Transpose<perm = [1, 0, 2]>(l)
    m = MatMul(q, k)
    s = Softmax<axis = -1>(m)
    o = MatMul(s, v)
    t = Transpose<perm = {turn}>(o)
    y = Reshape(t, back)
}}"""


@pytest.mark.parametrize(
    ("turn", "back", "result"),
    [
        ("[1, 0, 2]", "3, -1, 8", "3,B,8"),
        ("[1, 0, 2]", "3, -1, 2, 4", "3,B,2,4"),
        ("[1, 0, 2]", "1, 3, -1, 8", "1,3,B,8"),
        ("[2, 1, 0]", "4, 3, -1, 2", "4,3,B,2"),
    ],
)
@pytest.mark.parametrize("front", ["", "1,"])
def test_rows_that_were_merged_on_another_axis(turn: str, back: str, result: str, front: str) -> None:
    """Queries [T, B, heads * k] as [T, B * heads, k], turned to [B * heads, T, k], and the result turned back."""
    text = TIME_MAJOR.format(turn=turn, back=back, result=result, rank=len(back.split(",")), front=front)
    outcome = apply(RULE, text, exact=False)
    assert outcome.times == (0 if front else 1), "an axis more in front lies on another place"
    if not front:
        assert [outcome.size_of(v) for v in outcome.of("MatMul")[0].input] == [
            (CANDIDATES, 2, 3, 4),
            (CANDIDATES, 2, 4, 5),
        ]


@pytest.mark.parametrize("axes", ["axes = [0], ", "axes = [-3, 1], ", ""])
def test_what_is_found_of_all_rows_stays(axes: str) -> None:
    text = HEADS.format(
        key="B,2,3,4",
        flat_key="-1, 3, 4",
        layers=f"n = Neg(k) m = ReduceMax<{axes}keepdims = 1>(n) s = Sub(q, m)",
        result="3,4",
    )
    outcome = apply(RULE, text)
    assert outcome.times == 1
    assert outcome.size_of(outcome.of("ReduceMax")[0].input[0]) == (2 * CANDIDATES, 3, 4)


@pytest.mark.parametrize("opset", [11, 17, 18])
@pytest.mark.parametrize(("op", "kept"), [("ReduceMax", 1), ("ReduceMax", 0), ("ReduceSum", 1), ("ReduceSum", 0)])
def test_sums_over_columns(op: str, kept: int, opset: int) -> None:
    given = opset >= (13 if op == "ReduceSum" else 18)
    call = f"{op}<keepdims = {kept}>(q, one)" if given else f"{op}<keepdims = {kept}, axes = [1]>(q)"
    result = [1, 4] if kept else [4]
    text = f"""score (float[B,2,3,4] item) => ({typed("float", ["B", 2, *result])} y)
    <int64[3] flat = {{-1, 3, 4}}, int64[1] one = {{1}}, int64[{len(result) + 2}] back> {{
        q = Reshape(item, flat)
        s = {call}
        y = Reshape(s, back)
    }}"""
    assert apply(RULE, text, opset=opset, back=np.array([-1, 2, *result])).times == 1


@pytest.mark.parametrize("opset", [11, 12, 13])
@pytest.mark.parametrize(
    ("layer", "last"), [("Softmax<axis = -1>", True), ("Softmax<axis = 1>", False), ("Softmax", None)]
)
def test_a_softmax_before_opset_13(layer: str, last: bool | None, opset: int) -> None:
    """It runs over all axes from its own on there, by default from axis 1 on."""
    text = f"""score (float[B,3,5,2] item) => (float[B,3,5,2] y)
    <int64[3] rows = {{-1, 5, 2}}, int64[4] back = {{-1, 3, 5, 2}}> {{
        r = Reshape(item, rows)
        q = {layer}(r)
        y = Reshape(q, back)
    }}"""
    fires = last or (opset == 13)
    assert apply(RULE, text, opset=opset, exact=False).times == int(fires)


def test_rows_that_are_repeated_inside() -> None:
    layers = """
        wide = Constant<value_ints = [-1, 5, 1]>()
        u = Reshape(r, wide)
        times = Constant<value_ints = [1, 1, 3]>()
        t = Tile(u, times)
        tall = Constant<value_ints = [1, 5, 3]>()
        e = Expand(u, tall)
        m = Mul(t, e)
        inner = Constant<value_ints = [2]>()
        q = ReduceSum<keepdims = 0>(m, inner)
    """
    assert rows(layers).times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "width", "weights"),
    [
        ("q = Softmax<axis = 0>(r)", 5, {}),
        ("t = Transpose(r)\n q = Transpose(t)", 5, {}),
        ("q = CumSum(r, axis)", 5, {"axis": np.array(0)}),
        ("q = Gemm<alpha = 2.0>(r, w)", 4, {"w": W}),
        ("q = Gemm<beta = 2.0>(r, w, c)", 4, {"w": W, "c": W[0]}),
        ("q = Identity(r)", 5, {}),
    ],
)
def test_not_these_layers(layers: str, width: int, weights: dict[str, np.ndarray]) -> None:
    assert rows(layers, width, exact=False, **weights).times == 0


def test_not_an_einsum_of_one_operand() -> None:
    """It has no weight to be asked for."""
    text = """score (float[B,5,6] item) => (float[B,5,6] y) <int64[2] flat = {-1, 6}, int64[3] rows = {-1, 5, 6}> {
        x = Reshape(item, flat)
        same = Einsum<equation = "ab->ab">(x)
        y = Reshape(same, rows)
    }"""
    outcome = apply(RULE, text)
    assert outcome.times == 0
    assert not any("internal error" in reason for reason in outcome.reasons)


def test_not_where_nothing_lies_between() -> None:
    text = """score (float[B,3,5] item) => (float[B,3,5] y)
    <int64[2] five = {-1, 5}, int64[3] back = {-1, 3, 5}> {
        r = Reshape(item, five)
        y = Reshape(r, back)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_the_candidates_would_lose_their_axis() -> None:
    """[B, 4, 3] as rows of 6, put back as [2, B, 6]."""
    text = """score (float[B,4,3] item) => (float[B,6] y)
    <int64[2] six = {-1, 6}, int64[3] back = {2, -1, 6}> {
        r = Reshape(item, six)
        q = Relu(r)
        z = Reshape(q, back)
        t = Transpose<perm = [1, 0, 2]>(z)
        y = ReduceMax<axes = [1], keepdims = 0>(t)
    }"""
    assert apply(RULE, text).times == 0


@pytest.mark.parametrize(
    "layers",
    [
        "t = Transpose<perm = [1, 0, 2]>(q) s = Transpose<perm = [1, 0, 2]>(t)",
        "t = Transpose(q) s = Transpose(t)",
        "m = ReduceMax<axes = [0], keepdims = 1>(q) e = Expand(m, sizes) s = Sub(q, e)",
        "s = CumSum(q, first)",
    ],
)
def test_not_where_heads_are_mixed(layers: str) -> None:
    text = HEADS.format(key="B,2,3,4", flat_key="-1, 3, 4", layers="sizes = Shape(q) " + layers, result="3,4")
    assert apply(RULE, text, first=np.array(0)).times == 0


def test_not_rows_of_other_tensors() -> None:
    """Rows of [B, 2, 5] and of [2, B, 5] stand in another order."""
    text = """score (float[B,2,5] item, float[2,B,5] item2) => (float[B,2,5] y)
    <int64[2] five = {-1, 5}, int64[3] back = {-1, 2, 5}> {
        r = Reshape(item, five)
        s = Reshape(item2, five)
        q = Add(r, s)
        y = Reshape(q, back)
    }"""
    assert apply(RULE, text).times == 0


def test_not_with_a_weight_for_each_row() -> None:
    text = """score (float[6,3,5] item) => (float[6,3,5] y)
    <float[18,5] w, int64[2] five = {18, 5}, int64[3] back = {6, 3, 5}> {
        r = Reshape(item, five)
        q = Add(r, w)
        y = Reshape(q, back)
    }"""
    assert apply(RULE, text).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------

LAYERS = {
    "Relu": ("Relu({0})", lambda width: width),
    "MatMul": ("MatMul({0}, w{width})", lambda width: 3),
    "Gemm": ("Gemm({0}, w{width}, c)", lambda width: 3),
    "Add": ("Add({0}, v{width})", lambda width: width),
    "Square": ("Mul({0}, {0})", lambda width: width),
    "Join": ("Concat<axis = 1>({0}, r)", lambda width: width + 2),
    "Scale": ("Mul({0}, k)", lambda width: width),
}


@given(
    layers=st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=4),
    lead=st.sampled_from([["B", 3], ["B", 2, 2], [2, "B"], ["B", "T"], ["B", 1], ["B", 1, 2], [1, "B", 3]]),
)
def test_any_layers(layers: list[str], lead: list[object]) -> None:
    width, value, nodes, weights = 2, "r", [], {}
    random = np.random.default_rng(len(layers))
    for index, name in enumerate(layers):
        text, grows = LAYERS[name]
        nodes.append(f"q{index} = {text.format(value, width=width)}")
        weights |= {
            f"w{width}": random.integers(-1, 2, (width, 3)).astype(F32),
            f"v{width}": random.integers(-1, 2, width).astype(F32),
            "c": np.array([1, 0, -1], F32),
            "k": F32(2),
        }
        value, width = f"q{index}", grows(width)
    used = {name: w for name, w in weights.items() if any(f" {name})" in n or f" {name}," in n for n in nodes)}
    outcome = apply(
        RULE,
        f"""score ({typed("float", [*lead, 2])} item) => ({typed("float", [*lead, width])} y) {{
            two = Constant<value_ints = [-1, 2]>()
            r = Reshape(item, two)
            {" ".join(nodes)}
            sizes = Shape(item)
            zero = Constant<value_ints = [0]>()
            rank = Constant<value_ints = [{len(lead)}]>()
            front = Slice(sizes, zero, rank)
            last = Constant<value_ints = [{width}]>()
            back = Concat<axis = 0>(front, last)
            y = Reshape({value}, back)
        }}""",
        batches=(1, 2, 7),
        **used,
    )
    # Nothing was merged where the candidates are the only rows.
    assert outcome.times == (0 if lead == ["B", 1] else 1)


def test_what_is_not_computed_behind_it_is_use_enough() -> None:
    """onnxsim writes every layer of tokens as Reshape, Gemm, Reshape; of the last one a single token is read."""
    text = """score (float[B,24,64] item) => (float[B,64] y) <float[64,64] w, float[64] b,
        int64[2] flat = {-1, 64}, int64[3] rows = {-1, 24, 64}, int64 last = {23}> {
        x = Reshape(item, flat)
        p = Gemm(x, w, b)
        z = Reshape(p, rows)
        y = Gather<axis = 1>(z, last)
    }"""
    model = model_of(text)
    workspace, found = rewrite_best(lambda: at_work(model, sides_of(model)), RULES, CostModel())
    assert {a.rule for a in found.applied} >= {"unflatten", "early-pick"}
    read = [workspace.fact(n.inputs[0]).shape for n in workspace.graph.nodes if n.op in ("Gemm", "MatMul")]
    assert read in ([(CANDIDATES, 1, 64)], [(CANDIDATES, 64)]), "one row for each candidate"
