"""op_b([u, i]_a) = [op_b(u), op_b(i)]_a."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply, typed

RULE = "concat-rowwise"

F32 = np.float32


def times(call: str, axis: int, result: str, *, user: str = "B,3,4", item: str = "B,2,4", **settings: Any) -> int:
    """How often the rule fires for one operator behind a Concat, by default of tokens: [B, 3 + 2, 4]."""
    outcome = apply(
        RULE,
        f"""score (float[{user}] user, float[{item}] item) => (float[{result}] y) {{
            x = Concat<axis = {axis}>(user, item)
            y = {call}
        }}""",
        **settings,
    )
    return outcome.times


# -- softmax -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(("along", "fires"), [(-1, 1), (2, 1), (1, 0)])
def test_softmax(op: str, along: int, fires: int) -> None:
    assert times(f"{op}<axis = {along}>(x)", 1, "B,5,4", exact=False) == fires


@pytest.mark.parametrize(("opset", "along", "fires"), [(11, "", 0), (12, "", 0), (13, "", 1), (11, "<axis = 2>", 1)])
def test_softmax_before_opset_13_takes_all_axes_from_one_on(opset: int, along: str, fires: int) -> None:
    assert times(f"Softmax{along}(x)", 1, "B,5,4", exact=False, opset=opset) == fires


def test_not_a_softmax_over_columns_of_both_sides() -> None:
    assert times("Softmax(x)", 2, "B,3,6", user="B,3,4", item="B,3,2", exact=False) == 0


# -- normalisation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", ["", ", b"])
def test_layer_normalisation_of_tokens(bias: str) -> None:
    weights = {"s": np.array([1, 2, 3, 4], F32), "b": np.array([0, 1, 0, 1], F32)}
    assert times(f"LayerNormalization<axis = -1>(x, s{bias})", 1, "B,5,4", exact=False, **weights) == 1


def test_not_over_the_columns_of_both_sides() -> None:
    call = "LayerNormalization<axis = -1>(x, s)"
    assert times(call, 2, "B,3,6", user="B,3,4", item="B,3,2", exact=False, s=np.ones(6, F32)) == 0


def test_not_over_tokens_and_columns() -> None:
    assert times("LayerNormalization<axis = 1>(x, s)", 1, "B,5,4", exact=False, s=np.ones((5, 4), F32)) == 0


def test_not_with_a_scale_for_each_token() -> None:
    scale = np.arange(20, dtype=F32).reshape(5, 4)
    assert times("LayerNormalization<axis = -1>(x, s)", 1, "B,5,4", exact=False, s=scale) == 0


# -- reductions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin", "ReduceMean", "ReduceL1", "ReduceSumSquare", "ReduceProd"])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions_over_another_axis(op: str, keep: int) -> None:
    assert times(f"{op}<axes = [2], keepdims = {keep}>(x)", 1, "B,5,1" if keep else "B,5") == 1


@pytest.mark.parametrize("opset", [11, 13, 18, 20])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax"])
def test_axes_as_attribute_and_as_input(op: str, opset: int) -> None:
    as_input = opset >= (13 if op == "ReduceSum" else 18)
    call = f"{op}(x, axes)" if as_input else f"{op}<axes = [-1]>(x)"
    assert times(call, 1, "B,5,1", opset=opset, **({"axes": np.array([-1])} if as_input else {})) == 1


def test_an_axis_in_front_goes() -> None:
    call = "ReduceSum<keepdims = 0>(x, axes)"
    assert times(call, 2, "B,5", user="B,3,3", item="B,3,2", axes=np.array([1])) == 1


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("attrs", ["axis = 2", "axis = -1, keepdims = 0", "axis = 2, select_last_index = 1"])
def test_the_place_of_the_largest(op: str, attrs: str) -> None:
    result = "B,5" if "keepdims" in attrs else "B,5,1"
    text = f"""score (float[B,3,4] user, float[B,2,4] item) => (int64[{result}] y) {{
        x = Concat<axis = 1>(user, item)
        y = {op}<{attrs}>(x)
    }}"""
    assert apply(RULE, text).times == 1


@pytest.mark.parametrize("axis", ["axis = 1", "axis = -2"])
def test_not_the_place_among_all(axis: str) -> None:
    text = f"""score (float[B,3,4] user, float[B,2,4] item) => (int64[x,y,4] y) {{
        x = Concat<axis = 1>(user, item)
        y = ArgMax<{axis}>(x)
    }}"""
    assert apply(RULE, text).times == 0


def largest(attrs: str, *, count: str = "count = Constant<value_ints = [2]>()", result: str = "B,5,2") -> int:
    text = f"""score (float[B,3,4] user, float[B,2,4] item, int64[1] few) => (float[{result}] y, int64[{result}] z) {{
        {count}
        x = Concat<axis = 1>(user, item)
        y, z = TopK<{attrs}>(x, count)
    }}"""
    return apply(RULE, text).times


@pytest.mark.parametrize("attrs", ["axis = -1", "axis = 2, largest = 0", "axis = 2, sorted = 1"])
def test_the_largest_of_each_token(attrs: str) -> None:
    assert largest(attrs) == 1


def test_not_the_largest_of_all_tokens() -> None:
    assert largest("axis = 1", result="B,2,4") == 0


def test_not_as_many_as_the_request_says() -> None:
    count = """two = Constant<value_ints = [2]>() one = Constant<value_ints = [1]>()
        some = Max(few, one) count = Min(some, two)"""
    assert largest("axis = -1", count=count, result="B,5,n") == 0


@pytest.mark.parametrize("axes", [np.array([1]), np.array([1, 2]), np.array([-2])])
def test_not_over_the_joined_axis(axes: np.ndarray) -> None:
    result = ",".join(["B", *("1" if a in axes % 3 else "54"[a - 1] for a in (1, 2))])
    assert times("ReduceSum(x, axes)", 1, result, axes=axes) == 0


def test_not_over_everything() -> None:
    assert times("ReduceSum(x)", 1, "1,1,1") == 0


# -- cutting -----------------------------------------------------------------------------------------------------------


def test_slice_of_another_axis() -> None:
    weights = {"s": np.array([1]), "e": np.array([3]), "a": np.array([2])}
    assert times("Slice(x, s, e, a)", 1, "B,5,2", **weights) == 1


def split(call: str, first: str, second: str, opset: int, **weights: np.ndarray) -> int:
    outcome = apply(
        RULE,
        f"""score (float[B,3,4] user, float[B,2,4] item) => (float[{first}] y, float[{second}] z) {{
            x = Concat<axis = 1>(user, item)
            a, b = {call}
            y = Neg(a)
            z = Abs(b)
        }}""",
        opset=opset,
        **weights,
    )
    return outcome.times


@pytest.mark.parametrize(
    ("call", "opset"),
    [
        ("Split<axis = 2>(x)", 13),
        ("Split<axis = -1, num_outputs = 2>(x)", 18),
        ("Split<axis = 2, split = [2, 2]>(x)", 11),
    ],
)
def test_split_of_another_axis(call: str, opset: int) -> None:
    assert split(call, "B,5,2", "B,5,2", opset) == 1


@pytest.mark.parametrize("opset", [13, 20])
def test_split_into_pieces_of_given_sizes(opset: int) -> None:
    assert split("Split<axis = 2>(x, sizes)", "B,5,1", "B,5,3", opset, sizes=np.array([1, 3])) == 1


@pytest.mark.parametrize("axis", [1, -2])
def test_not_a_split_of_the_joined_axis(axis: int) -> None:
    assert split(f"Split<axis = {axis}>(x, sizes)", "B,1,4", "B,4,4", 17, sizes=np.array([1, 4])) == 0


def test_slice_backwards() -> None:
    weights = {"s": np.array([-1]), "e": np.array([-9]), "a": np.array([-1]), "t": np.array([-2])}
    assert times("Slice(x, s, e, a, t)", 1, "B,5,2", **weights) == 1


def test_slice_of_the_first_axes() -> None:
    """TensorFlow takes all of those in front of the one that it means."""
    ends = np.array([2**31 - 1, 2**31 - 1, 2])
    assert times("Slice(x, s, e)", 1, "B,5,1", s=np.array([0, 0, 1]), e=ends) == 1


def test_not_a_slice_of_the_joined_axis() -> None:
    weights = {"s": np.array([1]), "e": np.array([4]), "a": np.array([1])}
    assert times("Slice(x, s, e, a)", 1, "B,3,4", **weights) == 0
    assert times("Slice(x, s, e)", 1, "B,4,4", s=np.array([0, 1]), e=np.array([2**31 - 1, 5])) == 0


@pytest.mark.parametrize(
    ("index", "along", "joined", "user", "item", "result"),
    [
        (np.array(2), 2, 1, "B,3,4", "B,2,4", "B,5"),
        (np.array([2, 0, -1]), 2, 1, "B,3,4", "B,2,4", "B,5,3"),
        (np.array(1), 1, 2, "B,3,3", "B,3,2", "B,5"),
        (np.array([1]), 1, 2, "B,3,3", "B,3,2", "B,1,5"),
        (np.array([[1, 0], [2, 2]]), 1, 2, "B,3,3", "B,3,2", "B,2,2,5"),
    ],
)
def test_gather_of_another_axis(index: np.ndarray, along: int, joined: int, user: str, item: str, result: str) -> None:
    assert times(f"Gather<axis = {along}>(x, k)", joined, result, user=user, item=item, k=index) == 1


def test_not_a_gather_by_ids_of_the_request() -> None:
    text = """score (float[B,3,4] user, float[B,2,4] item, int64[B] item_id) => (float[B,5,M] y) {
        x = Concat<axis = 1>(user, item)
        y = Gather<axis = 2>(x, item_id)
    }"""
    assert apply(RULE, text).times == 0


# -- in general --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "zero", "fires"),
    [("Gather(table, x)", ", z", 1), ("Gather(table, x)", "", 0), ("Cast<to = 3>(x)", ", z", 0)],
)
def test_rows_of_a_quantized_table(made: str, zero: str, fires: int) -> None:
    """Integers that were made of floats stay together: ONNX Runtime multiplies them as they are."""
    parts = "".join(f"{side}_q = {made.replace('x', side)} " for side in ("user", "item"))
    outcome = apply(
        RULE,
        f"""score (int64[B,3] user, int64[B,2] item) => (float[{"B,5" if "Cast" in made else "B,5,2"}] y)
        <int8[4,2] table = {{1, -2, 3, 4, 5, 6, 7, -8}}, float s = {{0.5}}, int8 z = {{3}}> {{
            {parts} q = Concat<axis = 1>(user_q, item_q)
            y = DequantizeLinear(q, s{zero})
        }}""",
    )
    assert outcome.times == fires


def test_the_user_half_runs_once() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,4] user, float[B,2,4] item) => (float[B,5,1] y) <int64[1] axes = {2}> {
            x = Concat<axis = 1>(user, item)
            y = ReduceSum(x, axes)
        }""",
    )
    assert outcome.ops["ReduceSum"] == 2
    assert sorted(str(outcome.size_of(node.output[0])) for node in outcome.of("ReduceSum")) == [
        "(1, 3, 1)",
        "(B, 2, 1)",
    ]


def test_not_a_second_output() -> None:
    text = """score (float[B,3,4] user, float[B,2,4] item) => (float[B,5,4] y, float[B,5,1] m) <float[4] s> {
        x = Concat<axis = 1>(user, item)
        y, m = LayerNormalization<axis = -1>(x, s)
    }"""
    assert apply(RULE, text, exact=False).times == 0


@given(
    rank=st.integers(2, 4),
    picks=st.data(),
    keep=st.booleans(),
    op=st.sampled_from(["ReduceSum", "ReduceMax", "ReduceMin", "ReduceSumSquare"]),
)
def test_any_reduction(rank: int, picks: st.DataObject, keep: bool, op: str) -> None:
    order = picks.draw(st.permutations(range(rank)))
    candidates, joined = order[:2]
    axes = sorted(picks.draw(st.sets(st.integers(0, rank - 1).filter(lambda a: a != candidates), min_size=1)))
    shape: list[object] = [2] * rank
    shape[candidates] = "B"
    left, right = ([*shape[:joined], size, *shape[joined + 1 :]] for size in (3, 2))
    shape[joined] = 5
    result = [1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes]
    outcome = apply(
        RULE,
        f"""score ({typed("float", left)} user, {typed("float", right)} item) => ({typed("float", result)} y) {{
            x = Concat<axis = {joined}>(user, item)
            y = {op}<keepdims = {int(keep)}>(x, axes)
        }}""",
        opset=20,
        axes=np.array(axes),
    )
    assert outcome.times == (joined not in axes)
