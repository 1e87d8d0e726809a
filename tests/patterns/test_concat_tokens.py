"""[u; i] W = [u W; i W]."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply, typed

RULE = "concat-tokens"


def tokens(
    call: str, result: str, declared: str, *, axis: int = 1, user: str = "B,3,2", item: str = "B,1,2"
) -> Outcome:
    """The rule on a product of tokens, by default [B, 3 + 1, 2]."""
    return apply(
        RULE,
        f"""score (float[{user}] user, float[{item}] item) => (float[{result}] y) <{declared}> {{
            x = Concat<axis = {axis}>(user, item)
            y = MatMul({call})
        }}""",
    )


# -- fires -------------------------------------------------------------------------------------------------------------


def test_the_users_tokens_are_projected_once() -> None:
    outcome = tokens("x, w", "B,4,5", "float[2,5] w")
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 2
    assert sorted(str(outcome.size_of(node.output[0])) for node in outcome.of("MatMul")) == ["(1, 3, 5)", "(B, 1, 5)"]


@pytest.mark.parametrize("axis", [1, -2])
@pytest.mark.parametrize("weight", ["2,5", "1,2,5"])
def test_on_the_right(axis: int, weight: str) -> None:
    assert tokens("x, w", "B,4,5", f"float[{weight}] w", axis=axis).times == 1


@pytest.mark.parametrize("weight", ["5,2", "1,5,2"])
def test_on_the_left(weight: str) -> None:
    assert tokens("w, x", "B,5,4", f"float[{weight}] w", axis=2, user="B,2,3", item="B,2,1").times == 1


def test_tokens_further_in_front() -> None:
    outcome = tokens("x, w", "B,4,3,5", "float[2,5] w", user="B,3,3,2", item="B,1,3,2")
    assert outcome.times == 1


@pytest.mark.parametrize("call", ["x, w", "w, x"])
def test_a_weight_for_each_token(call: str) -> None:
    """Experts: the weight is cut along with the tokens."""
    outcome = tokens(call, "B,4,2,2", "float[4,2,2] w", user="B,3,2,2", item="B,1,2,2")
    assert outcome.times == 1
    assert {(3, 2, 2), (1, 2, 2)} <= {outcome.size_of(v) for node in outcome.of("MatMul") for v in node.input}


def test_keys_of_the_user() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,1,2] item, float[B,2,5] user2) => (float[B,4,5] y) {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, user2)
        }""",
    )
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 2


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_on_the_axis_that_is_summed_over() -> None:
    assert tokens("x, w", "B,3,5", "float[4,5] w", axis=2, user="B,3,3", item="B,3,1").times == 0
    assert tokens("w, x", "B,5,2", "float[5,4] w").times == 0


def test_not_with_an_operand_of_items() -> None:
    text = """score (float[B,3,2] user, float[B,1,2] item, float[B,2,5] item2) => (float[B,4,5] y) {
        x = Concat<axis = 1>(user, item)
        y = MatMul(x, item2)
    }"""
    assert apply(RULE, text).times == 0


def test_not_along_the_candidates() -> None:
    assert tokens("x, w", "M,5", "float[2,5] w", axis=0, user="B,2", item="B,2").times == 0


def test_not_a_vector() -> None:
    assert tokens("x, w", "B,4", "float[2] w").times == 0


def test_not_where_a_size_is_unknown() -> None:
    assert tokens("x, w", "B,M,5", "float[2,5] w", user="B,N,2").times == 0


# -- any model ---------------------------------------------------------------------------------------------------------


@given(
    front=st.lists(st.integers(1, 2), max_size=2),
    sides=st.lists(st.sampled_from(["user", "item"]), max_size=3),
    left=st.booleans(),
    data=st.data(),
)
def test_any_tokens(front: list[int], sides: list[str], left: bool, data: st.DataObject) -> None:
    names = [f"{side}{index}" for index, side in enumerate(["user", *sides, "item"])]
    sizes = [data.draw(st.integers(1, 2)) for _ in names]
    shape: list[object] = ["B", *front, 3, 2]
    axis = data.draw(st.integers(1, len(shape) - (2 if left else 1)))
    if not left and axis == len(shape) - 2:
        axis += 1  # the tokens are columns of the right operand

    def sized(size: int) -> str:
        return typed("float", [*shape[:axis], size, *shape[axis + 1 :]])

    inputs = ", ".join(f"{sized(size)} {name}" for size, name in zip(sizes, names, strict=True))
    shape[axis] = sum(sizes)
    batch = [d if d != "B" and data.draw(st.booleans()) else 1 for d in shape[:-2]]
    batch = batch[data.draw(st.integers(0, len(batch))) :]
    weight = [*batch, shape[-1], 5] if left else [*batch, 5, shape[-2]]
    result = [*shape[:-2], shape[-2], 5] if left else [*shape[:-2], 5, shape[-1]]
    outcome = apply(
        RULE,
        f"""score ({inputs}) => ({typed("float", result)} y) <{typed("float", weight)} w> {{
            x = Concat<axis = {axis}>({", ".join(names)})
            y = MatMul({"x, w" if left else "w, x"})
        }}""",
    )
    assert outcome.times == 1
