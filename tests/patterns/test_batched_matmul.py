"""repeat(U) @ I = U @ I."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import apply, typed

RULE = "batched-matmul"


# -- fires -------------------------------------------------------------------------------------------------------------


def test_keys_of_the_user_on_the_right_become_one_matrix() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] item, float[B,2,5] user) => (float[B,3,5] y) { y = MatMul(item, user) }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"Squeeze": 1, "MatMul": 1}
    assert outcome.size_of(outcome.of("MatMul")[0].input[1]) == (2, 5)


def test_no_candidates() -> None:
    """Only with one matrix on the right: ONNX Runtime 1.31 does not broadcast one matrix to none."""
    text = "score (float[B,3,2] item, float[B,2,5] user) => (float[B,3,5] y) { y = MatMul(item, user) }"
    assert apply(RULE, text, batches=(0,)).times == 1


def test_rows_of_the_user_on_the_left_broadcast() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,5] item) => (float[B,3,5] y) { y = MatMul(user, item) }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"MatMul": 1}


@pytest.mark.parametrize("opset", [11, 12, 13, 20])
def test_squeeze_in_each_operator_set(opset: int) -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] item, float[B,2,5] user) => (float[B,3,5] y) { y = MatMul(item, user) }""",
        opset=opset,
    )
    assert outcome.ops == {"Squeeze": 1, "MatMul": 1}
    assert len(outcome.of("Squeeze")[0].input) == (1 if opset < 13 else 2)


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ("B,H,T,4 user", "B,H,4,S item", "B,H,T,S"),
        ("B,H,T,4 item", "B,H,4,S user", "B,H,T,S"),
        ("B,1,T,4 user", "B,H,4,S item", "B,H,T,S"),
        ("H,B,T,4 item", "H,B,4,S user", "H,B,T,S"),
        ("H,B,T,4 item", "B,4,S user", "H,B,T,S"),
        ("B,T,4 user", "H,B,4,S item", "H,B,T,S"),
        ("B,1,4 item", "B,4,1 user", "B,1,1"),
    ],
)
def test_ranks(left: str, right: str, result: str) -> None:
    a, b = left.split()[-1], right.split()[-1]
    shapes = {text.split()[1]: text.split()[0] for text in (left, right)}
    outcome = apply(
        RULE,
        f"""score (float[{shapes["user"]}] user, float[{shapes["item"]}] item) => (float[{result}] y) {{
            y = MatMul({a}, {b})
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["Expand"] == 0


def test_both_ways_of_attention_over_the_users_history() -> None:
    """Scores and weighted sum: keys and values are those of the user, once."""
    outcome = apply(
        RULE,
        """score (float[B,1,4] item, float[B,T,4] user) => (float[B,1,4] y) {
            keys = Transpose<perm = [0, 2, 1]>(user)
            scores = MatMul(item, keys)
            y = MatMul(scores, user)
        }""",
    )
    assert outcome.times == 2
    assert outcome.ops["Expand"] == 0


def test_an_expand_of_the_models_own() -> None:
    outcome = apply(
        RULE,
        """score (float[1,2,3] given, float[B,3,4] item) => (float[B,2,4] y)
        <int64[1] zero = {0}, int64[1] one = {1}, int64[2] tail = {2, 3}> {
            sizes = Shape(item)
            b = Slice(sizes, zero, one)
            target = Concat<axis = 0>(b, tail)
            wide = Expand(given, target)
            y = MatMul(wide, item)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops == {"MatMul": 1}


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_where_the_result_would_shrink() -> None:
    """Both sides are the user's: the product itself runs once."""
    outcome = apply(
        RULE,
        """score (float[B,2,3] user, float[B,3,2] user2, float[B,2,2] item) => (float[B,2,2] y) {
            p = MatMul(user, user2)
            y = Add(p, item)
        }""",
    )
    assert outcome.times == 0
    assert outcome.ops["MatMul"] == 1


def test_not_where_rows_are_repeated() -> None:
    """The Expand makes rows of the left matrix, which no product makes by itself."""
    outcome = apply(
        RULE,
        """score (float[1,1,3] given, float[B,3,4] item) => (float[B,2,4] y) <int64[3] sizes = {1, 2, 3}> {
            wide = Expand(given, sizes)
            y = MatMul(wide, item)
        }""",
    )
    assert outcome.times == 0
    assert outcome.ops == {"Expand": 1, "MatMul": 1}


@pytest.mark.parametrize("other", ["B,n,4", "B,2,4"])
def test_not_where_the_summed_axis_is_repeated(other: str) -> None:
    n = other.split(",")[1]
    outcome = apply(
        RULE,
        f"""score (float[1,3,1] given, float[{other}] item, float[1,3,{n}] like) => (float[B,3,4] y) {{
            sizes = Shape(like)
            wide = Expand(given, sizes)
            y = MatMul(wide, item)
        }}""",
    )
    assert outcome.times == 0
    assert outcome.ops["Expand"] == 1


def test_not_a_vector() -> None:
    """[B, d] times [d]: the candidates are rows of a matrix here."""
    outcome = apply(RULE, "score (float[B,3] user, float[B,3,3] item) => (float[B,B2,3] y) { y = MatMul(user, item) }")
    assert outcome.times == 0


def test_not_where_candidates_share_an_axis() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,3,4] user, float[B,2,4,5] item) => (float[M,3,5] y)
        <int64[3] left = {-1, 3, 4}, int64[3] right = {-1, 4, 5}> {
            u = Reshape(user, left)
            i = Reshape(item, right)
            y = MatMul(u, i)
        }""",
    )
    assert outcome.times == 0
    assert outcome.ops["Tile"] == 1


def test_an_output_stays_repeated() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] item, float[B,2,5] user) => (float[B,3,5] y, float[B,2,5] h) {
            h = Relu(user)
            y = MatMul(item, h)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["Expand"] == 1


# -- any model ---------------------------------------------------------------------------------------------------------


@st.composite
def batch_axes(draw: st.DrawFn) -> tuple[list[object], list[object], list[object]]:
    """Batch axes of both operands, B among those of the result."""
    rank = draw(st.integers(1, 3))
    axis = draw(st.integers(0, rank - 1))
    result: list[object] = [draw(st.integers(1, 3)) for _ in range(rank)]
    result[axis] = "B"

    def operand() -> list[object]:
        return [d if d == "B" or draw(st.booleans()) else 1 for d in result][draw(st.integers(0, axis)) :]

    left, right = operand(), operand()
    aligned = [[1] * (rank - len(s)) + s for s in (left, right)]
    seen = [b if a == 1 else a for a, b in zip(*aligned, strict=True)]
    return left, right, seen[rank - max(len(left), len(right)) :]


@given(axes=batch_axes(), user_left=st.booleans(), sizes=st.tuples(*[st.integers(1, 3)] * 3))
def test_any_product(
    axes: tuple[list[object], list[object], list[object]], user_left: bool, sizes: tuple[int, int, int]
) -> None:
    left, right, result = axes
    m, k, n = sizes
    names = ("user", "item") if user_left else ("item", "user")
    outcome = apply(
        RULE,
        f"""score ({typed("float", [*left, m, k])} {names[0]}, {typed("float", [*right, k, n])} {names[1]})
        => ({typed("float", [*result, m, n])} y) {{ y = MatMul({names[0]}, {names[1]}) }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["Expand"] == 0
