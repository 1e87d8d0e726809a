"""op(repeat(u), i) = op(u, i)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import OTHER_SIZE, Outcome, apply, typed

RULE = "broadcast"

ARITHMETIC = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"]
COMPARISONS = ["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"]
LOGIC = ["And", "Or", "Xor"]


def repeats(outcome: Outcome) -> int:
    return outcome.ops["Expand"] + outcome.ops["Tile"]


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["user, item", "item, user"])
@pytest.mark.parametrize("op", ARITHMETIC)
def test_arithmetic(op: str, order: str) -> None:
    outcome = apply(RULE, f"score (float[B,3] user, float[B,3] item) => (float[B,3] y) {{ y = {op}({order}) }}")
    assert outcome.times == 1
    assert outcome.ops == {op: 1}


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons(op: str) -> None:
    outcome = apply(RULE, f"score (int64[B,3] user, int64[B,3] item) => (bool[B,3] y) {{ y = {op}(item, user) }}")
    assert outcome.times == 1
    assert outcome.ops == {op: 1}


@pytest.mark.parametrize("op", LOGIC)
def test_logic(op: str) -> None:
    outcome = apply(RULE, f"score (bool[B,3] user, bool[B,3] item) => (bool[B,3] y) {{ y = {op}(user, item) }}")
    assert outcome.ops == {op: 1}


@pytest.mark.parametrize("dtype", ["float", "double", "int64", "int32"])
def test_types(dtype: str) -> None:
    outcome = apply(RULE, f"score ({dtype}[B,3] user, {dtype}[B,3] item) => ({dtype}[B,3] y) {{ y = Mul(user, item) }}")
    assert outcome.ops == {"Mul": 1}


def test_pow_and_mod() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,3] item, int64[B,3] item_id) => (float[B,3] y, int64[B,3] z)
        <int64 two = {2}, int64 five = {5}> {
            square = Mul(user, user)
            y = Pow(item, square)
            ids = Cast<to = 7>(square)
            some = Max(ids, five)
            z = Mod(item_id, some)
        }""",
    )
    assert outcome.times == 2
    assert repeats(outcome) == 0


@pytest.mark.parametrize("which", [("user_c", "item", "item2"), ("item_c", "user", "item"), ("item_c", "item", "user")])
def test_where_in_each_place(which: tuple[str, str, str]) -> None:
    declared = ", ".join(f"{'bool' if name.endswith('_c') else 'float'}[B,3] {name}" for name in which)
    outcome = apply(RULE, f"score ({declared}) => (float[B,3] y) {{ y = Where({', '.join(which)}) }}")
    assert outcome.ops == {"Where": 1}


def test_two_user_operands_at_once() -> None:
    outcome = apply(
        RULE,
        """score (bool[B,3] item, float[B,3] user, float[B,1] user2) => (float[B,3] y) {
            y = Where(item, user, user2)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"Where": 1}


def test_many_operands() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] item, float[B,3] user, float[B,1] user2, float[B,3] item2) => (float[B,3] y) {
            y = Sum(user, item, user2, item2)
        }""",
    )
    assert outcome.ops == {"Sum": 1}


def test_slope_of_a_prelu() -> None:
    outcome = apply(RULE, "score (float[B,3] item, float[B,3] user) => (float[B,3] y) { y = PRelu(item, user) }")
    assert outcome.ops == {"PRelu": 1}


@pytest.mark.parametrize("shape", ["B,4", "B,1"])
def test_bias_of_a_gemm(shape: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,3] item, float[{shape}] user) => (float[B,4] y) <float[3,4] w> {{
            y = Gemm<alpha = 2.0, beta = 0.5>(item, w, user)
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"Gemm": 1}


@pytest.mark.parametrize(
    ("user", "item", "result"),
    [
        ("B,1", "B,3", "B,3"),
        ("B,3", "B,1", "B,3"),
        ("B", "B", "B"),
        ("B,T,3", "B,T,1", "B,T,3"),
        ("B,1,3", "B,T,3", "B,T,3"),
        ("B,T,1", "B,1,3", "B,T,3"),
        ("B,3", "2,B,3", "2,B,3"),
        ("2,B,3", "B,3", "2,B,3"),
        ("B,2,1,3", "B,1,2,3", "B,2,2,3"),
        ("2,B,1", "2,B,3", "2,B,3"),
        ("3,B", "3,B", "3,B"),
    ],
)
def test_ranks_and_axes(user: str, item: str, result: str) -> None:
    outcome = apply(
        RULE, f"score (float[{user}] user, float[{item}] item) => (float[{result}] y) {{ y = Add(user, item) }}"
    )
    assert outcome.times == 1
    assert outcome.ops == {"Add": 1}


def test_an_expand_of_the_models_own_along_another_axis() -> None:
    """The item repeated for each token of the user's history, as target attention does."""
    outcome = apply(
        RULE,
        """score (float[B,T,3] user, float[B,3] item) => (float[B,T,3] y) <int64[1] one = {1}, int64 axis = {1}> {
            sizes = Shape(user)
            query = Unsqueeze(item, one)
            tokens = Expand(query, sizes)
            y = Mul(tokens, user)
        }""",
    )
    assert outcome.times >= 1
    assert repeats(outcome) == 0


def test_fixed_batch() -> None:
    outcome = apply(RULE, "score (float[5,5] user, float[5,5] item) => (float[5,5] y) { y = Add(user, item) }")
    assert outcome.ops == {"Add": 1}


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_where_rank_would_shrink() -> None:
    """Add(Expand(x[3], [1, 3]), y[3]) has rank 2, though no size needs the Expand."""
    outcome = apply(
        RULE,
        """score (float[3] x, float[3] z, float[B,3] item) => (float[1,3] y, float[B,3] s) <int64[2] sizes> {
            e = Expand(x, sizes)
            y = Add(e, z)
            s = Add(y, item)
        }""",
        sizes=np.array([1, 3]),
    )
    assert outcome.times == 0
    assert outcome.ops == {"Expand": 1, "Add": 2}


def test_rank_may_come_from_the_other_operand() -> None:
    outcome = apply(
        RULE,
        """score (float[3] x, float[B,3] item) => (float[B,3] y) <int64[2] sizes> {
            e = Expand(x, sizes)
            y = Add(e, item)
        }""",
        sizes=np.array([1, 3]),
    )
    assert outcome.ops == {"Add": 1}


def test_not_where_a_size_would_shrink() -> None:
    outcome = apply(
        RULE,
        "score (float[B,3] user, float[1,3] given, float[B,2] item) => (float[B,3] y, float[B,2] z) "
        "{ y = Add(user, given) z = Relu(item) }",
    )
    assert outcome.times == 0
    assert repeats(outcome) == 1


def test_not_where_an_unknown_size_may_be_larger() -> None:
    """Expand(x [1] -> [N]) meets M columns: M may be 1."""
    outcome = apply(
        RULE,
        """score (float[1] x, float[N] n, float[B,M] item) => (float[B,K] y) {
            sizes = Shape(n)
            wide = Expand(x, sizes)
            y = Add(wide, item)
        }""",
    )
    assert outcome.times == 0


def test_not_the_input_of_a_prelu() -> None:
    """A slope does not stretch what it is applied to."""
    outcome = apply(RULE, "score (float[B,3] item, float[B,3] user) => (float[B,3] y) { y = PRelu(user, item) }")
    assert outcome.times == 0
    assert repeats(outcome) == 1


def test_not_the_operands_of_a_gemm() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,4] item) => (float[B,4] y) <float[3,4] w> { y = Gemm(user, w, item) }""",
    )
    assert outcome.times == 0


def test_not_the_bias_of_a_gemm_that_has_several_rows_for_each_candidate() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] item, float[B,3,4] user) => (float[M,4] y)
        <float[2,4] w, int64[2] two = {-1, 2}, int64[2] four = {-1, 4}> {
            i = Reshape(item, two)
            u = Reshape(user, four)
            y = Gemm(i, w, u)
        }""",
    )
    assert outcome.times == 0


def test_not_rows_that_are_repeated_block_by_block() -> None:
    """[T*B, d] and [B*T, d]: the user's rows are T, and stand in another order."""
    outcome = apply(
        RULE,
        """score (float[B,2,3] item, float[B,2,3] user) => (float[M,3] y) <int64[2] three = {-1, 3}> {
            i = Reshape(item, three)
            u = Reshape(user, three)
            y = Add(u, i)
        }""",
    )
    assert outcome.times == 0


def test_an_output_is_still_repeated() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,3] item) => (float[B,3] h, float[B,3] y) {
            h = Relu(user)
            y = Add(h, item)
        }""",
    )
    assert outcome.times == 1
    assert repeats(outcome) == 1


def test_other_readers_still_get_the_repeated_rows() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,3] item) => (float[B,6] z, float[B,3] y) {
            h = Relu(user)
            y = Add(h, item)
            z = Concat<axis = 1>(h, item)
        }""",
    )
    assert outcome.times == 1
    assert repeats(outcome) == 1


# -- any model ---------------------------------------------------------------------------------------------------------


@st.composite
def two_shapes(draw: st.DrawFn) -> tuple[list[object], list[object], list[object]]:
    """Shapes that broadcast, with B on one axis of both, and the shape of the result."""
    rank = draw(st.integers(1, 4))
    axis = draw(st.integers(0, rank - 1))
    result: list[object] = [draw(st.integers(1, 3)) for _ in range(rank)]
    result[axis] = "B"

    def operand() -> list[object]:
        shape = [d if d == "B" or draw(st.booleans()) else 1 for d in result]
        return shape[draw(st.integers(0, axis)) :]

    user, item = operand(), operand()
    aligned = [[1] * (rank - len(s)) + s for s in (user, item)]
    seen = [b if a == 1 else a for a, b in zip(*aligned, strict=True)]
    return user, item, seen[rank - max(len(user), len(item)) :]


@given(shapes=two_shapes(), op=st.sampled_from(["Add", "Sub", "Mul", "Max"]), swap=st.booleans())
def test_any_shapes(shapes: tuple[list[object], list[object], list[object]], op: str, swap: bool) -> None:
    user, item, result = (",".join(map(str, shape)) for shape in shapes)
    operands = "item, user" if swap else "user, item"
    outcome = apply(
        RULE,
        f"score (float[{user}] user, float[{item}] item) => (float[{result}] y) {{ y = {op}({operands}) }}",
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == 1
    assert outcome.ops == {op: 1}


small_shape = st.lists(st.integers(1, 2), max_size=3)


@given(narrow=small_shape, target=small_shape, other=small_shape)
def test_any_expand_of_the_models_own(narrow: list[int], target: list[int], other: list[int]) -> None:
    """Rank and every size stay, whatever the Expand is needed for."""
    wide = list(np.broadcast_shapes(narrow, target))
    result = list(np.broadcast_shapes(wide, other))
    x, y, z = (typed("float", shape) for shape in (narrow, result, other))
    outcome = apply(
        RULE,
        f"""score ({x} x, {z} z, float[B] user, float[B] item) => ({y} y, float[B] s) {{
            e = Expand(x, sizes)
            y = Add(e, z)
            s = Add(user, item)
        }}""",
        sizes=np.array(target, np.int64),
    )
    needed = list(np.broadcast_shapes(narrow, other)) != result
    assert outcome.times == (1 if needed else 2)


def test_not_where_candidates_share_an_axis_with_a_length() -> None:
    """As many rows as four candidates have steps: one candidate's rows are not repeated by themselves."""
    rows = 4 * OTHER_SIZE
    text = f"""score (float[4,T] user, float[4,3] item) => (float[{rows}] y, float[4,3] z)
        <int64[1] flat = {{-1}}, float[{rows}] w> {{ r = Reshape(user, flat) y = Add(r, w) z = Neg(item) }}"""
    assert apply(RULE, text).times == 0
