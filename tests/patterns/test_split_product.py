"""[u, i] W = u W_u + i W_i."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply

RULE = "split-product"


def operands_of(outcome: Outcome, op: str) -> set[tuple[int, ...]]:
    """Shapes of the weights that nodes of an operator read on the right."""
    return {outcome.workspace.graph.weights[node.input[1]].shape for node in outcome.of(op)}


# -- fires -------------------------------------------------------------------------------------------------------------


def test_the_user_half_is_the_bias_of_the_item_half() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[B,4] y) <float[5,4] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"MatMul": 1, "Gemm": 1}
    assert operands_of(outcome, "MatMul") == {(3, 4)}
    assert operands_of(outcome, "Gemm") == {(2, 4)}


@pytest.mark.parametrize("axis", [1, -1])
def test_scattered_columns_are_gathered_in_two_products(axis: int) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3] user1, float[B,2] item1, float[B,1] user2, float[B,4] item2) => (float[B,4] y)
        <float[10,4] w> {{
            x = Concat<axis = {axis}>(user1, item1, user2, item2)
            y = MatMul(x, w)
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"MatMul": 1, "Gemm": 1, "Concat": 2}
    assert operands_of(outcome, "MatMul") == {(4, 4)}
    assert operands_of(outcome, "Gemm") == {(6, 4)}


def test_what_is_given_once_per_request_joins_the_user_half() -> None:
    """Without a candidate axis of its own it can only be joined by way of an Expand in the model."""
    outcome = apply(
        RULE,
        """score (float[1,3] given, float[B,2] item) => (float[B,4] y) <float[5,4] w> {
            sizes = Shape(item)
            batch = Slice(sizes, zero, one)
            target = Concat<axis = 0>(batch, three)
            wide = Expand(given, target)
            x = Concat<axis = 1>(wide, item)
            y = MatMul(x, w)
        }""",
        zero=np.array([0]),
        one=np.array([1]),
        three=np.array([3]),
    )
    assert outcome.times == 1
    assert outcome.ops == {"MatMul": 1, "Gemm": 1}


GEMM_BIASES = {
    "absent": ("", ""),
    "scalar": ("", "c"),
    "[1]": (", float[1] c", "c"),
    "[N]": (", float[4] c", "c"),
    "[1,N]": (", float[1,4] c", "c"),
    "[1,1]": (", float[1,1] c", "c"),
    "user [M,N]": ("", "user_c"),
    "item [M,N]": ("", "item_c"),
    "item [M,1]": ("", "item_c"),
}


@pytest.mark.parametrize("bias", GEMM_BIASES)
@pytest.mark.parametrize("transB", [0, 1])
@pytest.mark.parametrize("transA", [0, 1])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0), (2.0, 0.0)])
def test_gemm_with_every_legal_bias(bias: str, transA: int, transB: int, alpha: float, beta: float) -> None:
    declared, name = GEMM_BIASES[bias]
    inputs = "float[3,B] user, float[2,B] item" if transA else "float[B,3] user, float[B,2] item"
    operands = f"x, w, {name}" if name else "x, w"
    if name.endswith("_c"):
        inputs += f", float[B,{1 if bias == 'item [M,1]' else 4}] {name}"
    weights = {"c": np.float32(3)} if bias == "scalar" else {}
    outcome = apply(
        RULE,
        f"""score ({inputs}) => (float[B,4] y)
        <{"float[4,5]" if transB else "float[5,4]"} w {declared}> {{
            x = Concat<axis = {1 - transA}>(user, item)
            y = Gemm<transA = {transA}, transB = {transB}, alpha = {alpha}, beta = {beta}>({operands})
        }}""",
        **weights,
    )
    assert outcome.times == 1
    assert outcome.ops == ({"Gemm": 2, "Add": 1} if name == "item_c" else {"Gemm": 2})


@pytest.mark.parametrize(
    ("user", "item", "weight", "result"),
    [
        ("B,3", "B,2", "5,4", "B,4"),
        ("B,2,3", "B,2,2", "5,4", "B,2,4"),
        ("B,2,1,3", "B,2,1,2", "2,5,4", "B,2,1,4"),
        ("B,2,3", "B,2,2", "1,5,4", "B,2,4"),
        ("B,T,3", "B,T,2", "5,4", "B,T,4"),
        ("B,2,2,3", "B,2,2,2", "5,4", "B,2,2,4"),
        ("B,2,2,3", "B,2,2,2", "2,5,4", "B,2,2,4"),
        ("2,B,3", "2,B,2", "5,4", "2,B,4"),
        ("2,B,3", "2,B,2", "2,5,4", "2,B,4"),
    ],
)
def test_matmul_of_every_rank(user: str, item: str, weight: str, result: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[{user}] user, float[{item}] item) => (float[{result}] y) <float[{weight}] w> {{
            x = Concat<axis = -1>(user, item)
            y = MatMul(x, w)
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == (1 if user.count(",") == 1 else 2)


@pytest.mark.parametrize(
    ("user", "item", "weight", "result"),
    [
        ("3,B", "2,B", "4,5", "4,B"),
        ("B,3,2", "B,2,2", "4,5", "B,4,2"),
        ("B,3,2", "B,2,2", "1,4,5", "B,4,2"),
        ("B,2,3,2", "B,2,2,2", "2,4,5", "B,2,4,2"),
    ],
)
def test_weight_on_the_left(user: str, item: str, weight: str, result: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[{user}] user, float[{item}] item) => (float[{result}] y) <float[{weight}] w> {{
            x = Concat<axis = -2>(user, item)
            y = MatMul(w, x)
        }}""",
    )
    assert outcome.times == 1


def test_gemm_with_the_weight_on_the_left() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[4,B] y) <float[5,4] w, float[4,1] c> {
            x = Concat<axis = 1>(user, item)
            y = Gemm<transA = 1, transB = 1, alpha = 2.0>(w, x, c)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"Gemm": 2}


@pytest.mark.parametrize("dtype", ["float", "double", "float16", "int32"])
def test_types(dtype: str) -> None:
    outcome = apply(
        RULE,
        f"""score ({dtype}[B,3] user, {dtype}[B,2] item) => ({dtype}[B,4] y) <{dtype}[5,4] w> {{
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }}""",
    )
    assert outcome.times == 1
    assert ("Gemm" in outcome.ops) == (dtype != "int32")  # ONNX Runtime has no Gemm for integers


def test_rows_of_all_candidates_one_after_the_other() -> None:
    """[B*T, d]: for one candidate there are T rows, and no bias repeats those."""
    outcome = apply(
        RULE,
        """score (float[B,T,3] user, float[B,T,2] item) => (float[R,4] y)
        <float[5,4] w, float[4] b, int64[2] three = {-1, 3}, int64[2] two = {-1, 2}> {
            u = Reshape(user, three)
            i = Reshape(item, two)
            x = Concat<axis = 1>(u, i)
            y = Gemm(x, w, b)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["Tile"] == 1


def test_other_readers_keep_the_concat() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[B,4] y, float[B,5] z) <float[5,4] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
            z = Relu(x)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["Concat"] >= 1
    assert outcome.ops["Relu"] == 1


def test_the_concat_is_an_output() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[B,4] y, float[B,5] x) <float[5,4] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 1


def test_the_large_weight_is_dropped() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[B,4] y, float[B,4] z) <float[5,4] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
            z = Gemm(x, w)
        }""",
    )
    assert outcome.times == 2
    shapes = sorted(tuple(t.dims) for t in outcome.result.graph.initializer if len(t.dims) == 2)
    assert shapes == [(2, 4), (3, 4)]  # cut once, used twice


@pytest.mark.parametrize("opset", [11, 13, 20])
def test_operator_sets(opset: int) -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[B,4] y) <float[5,4] w, float[4] b> {
            x = Concat<axis = 1>(user, item)
            y = Gemm(x, w, b)
        }""",
        opset=opset,
    )
    assert outcome.times == 1


def test_fixed_batch() -> None:
    outcome = apply(
        RULE,
        """score (float[6,3] user, float[6,2] item) => (float[6,4] y) <float[5,4] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"MatMul": 1, "Gemm": 1}


def test_a_weight_that_is_computed_once_is_cut_once_per_request() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user1, float[B,2] item, float[B,1] user2, float[6,4] given) => (float[B,4] y) {
            x = Concat<axis = 1>(user1, item, user2)
            y = MatMul(x, given)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"MatMul": 1, "Gemm": 1, "Slice": 3, "Concat": 2}


def test_a_weight_of_the_user_is_cut_once_per_request() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,3] user, float[B,2,2] item, float[B,5,4] user_w) => (float[B,2,4] y) {
            x = Concat<axis = 2>(user, item)
            y = MatMul(x, user_w)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 2
    assert outcome.ops["Slice"] == 2


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_where_the_product_sums_over_candidates() -> None:
    outcome = apply(
        RULE,
        """score (float[5,3] user, float[5,2] item, float[5,4] user_w) => (float[5,4] y) {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, user_w)
        }""",
        batches=(5,),
    )
    assert outcome.times == 0


def test_not_where_the_other_operand_differs_between_candidates() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,3] user, float[B,2,2] item, float[B,5,4] item_w) => (float[B,2,4] y) {
            x = Concat<axis = 2>(user, item)
            y = MatMul(x, item_w)
        }""",
    )
    assert outcome.times == 0


@pytest.mark.parametrize(
    "text",
    [
        # joined tokens, not columns
        """score (float[B,3,5] user, float[B,2,5] item) => (float[B,5,4] y) <float[5,4] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }""",
        # the candidates themselves are joined
        """score (float[B,5] user, float[B,5] item) => (float[M,4] y) <float[5,4] w> {
            x = Concat<axis = 0>(user, item)
            y = MatMul(x, w)
        }""",
        # both operands
        """score (float[B,3] user, float[B,2] item) => (float[B,B2] y) {
            x = Concat<axis = 1>(user, item)
            t = Transpose(x)
            y = MatMul(x, t)
        }""",
        # a vector
        """score (float[B,3] user, float[B,2] item) => (float[B] y) <float[5] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }""",
        # user parts only
        """score (float[B,3] user, float[B,2] user2, float[B,4] item) => (float[B,4] y) <float[5,4] w> {
            x = Concat<axis = 1>(user, user2)
            p = MatMul(x, w)
            y = Add(p, item)
        }""",
        # item parts only
        """score (float[B,3] item, float[B,2] item2, float[B,4] user) => (float[B,4] y) <float[5,4] w> {
            x = Concat<axis = 1>(item, item2)
            p = MatMul(x, w)
            y = Add(p, user)
        }""",
    ],
)
def test_not_elsewhere(text: str) -> None:
    assert apply(RULE, text).times == 0


def test_not_where_a_size_is_unknown() -> None:
    outcome = apply(
        RULE,
        """score (float[B,N] user, float[B,2] item) => (float[B,4] y) <float[5,4] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    sides=st.lists(st.sampled_from(["user", "item"]), min_size=1, max_size=5),
    sizes=st.lists(st.integers(0, 3), min_size=5, max_size=5),
    lead=st.lists(st.integers(1, 2), max_size=2),
    op=st.sampled_from(["MatMul", "Gemm", "left"]),
    dtype=st.sampled_from(["float", "double"]),
)
def test_any_product(sides: list[str], sizes: list[int], lead: list[int], op: str, dtype: str) -> None:
    lead = [] if op == "Gemm" else lead
    sizes = sizes[: len(sides)]
    names = [f"{side}{n}" for n, side in enumerate(sides)] + ["item_last"]
    sizes.append(2)
    total, outer = sum(sizes), "".join(f"{d}," for d in lead)
    left = op == "left"
    shapes = [f"{outer}{size},B" if left else f"B,{outer}{size}" for size in sizes]
    inputs = ", ".join(f"{dtype}[{shape}] {name}" for shape, name in zip(shapes, names, strict=True))
    result = f"{outer}4,B" if left else f"B,{outer}4"
    call = "MatMul(w, x)" if left else f"{op}(x, w)"
    outcome = apply(
        RULE,
        f"""score ({inputs}, {dtype}[B,1] user_unused) => ({dtype}[{result}] y)
        <{dtype}[{"4," if left else ""}{total}{"" if left else ",4"}] w> {{
            x = Concat<axis = {-2 if left else -1}>({", ".join(names)})
            y = {call}
        }}""",
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == any(side == "user" and size for side, size in zip(sides, sizes, strict=False))
