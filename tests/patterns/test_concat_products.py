"""[u; i]_c [v; j]_c = [u v; i j]_c."""

from __future__ import annotations

import numpy as np
import pytest

from mari_onnx.pipeline import optimize
from tests.patterns.support import apply

RULE = "concat-products"


def chunks(right: str, body: str, declared: str = "", rank: str = "B,3,2,2") -> str:
    """Two chunks of the user and one of the item, each a matrix."""
    return f"""score (float[B,2,2,4] user, float[B,1,2,4] item, {right}) => (float[{rank}] y) {declared} {{
        x = Concat<axis = 1>(user, item) {body} }}"""


def test_both_sides_have_the_parts() -> None:
    model = chunks(
        "float[B,2,4,2] user_keys, float[B,1,4,2] item_keys",
        "k = Concat<axis = 1>(user_keys, item_keys) y = MatMul(x, k)",
    )
    assert apply(RULE, model).times == 1


@pytest.mark.parametrize(
    ("right", "body", "declared"),
    [
        ("float[B,3,4,2] user_keys", "y = MatMul(x, user_keys)", ""),
        ("float[B,1,4,2] item_keys", "y = MatMul(x, item_keys)", ""),
        ("float[B] item_no", "y = MatMul(x, w)", "<float[3,4,2] w>"),
    ],
    ids=["the user's", "one for all", "weights"],
)
def test_one_operand_alone_is_for_another_rule(right: str, body: str, declared: str) -> None:
    assert apply(RULE, chunks(right, body, declared)).times == 0


def test_parts_of_other_sizes() -> None:
    """Each border between user and item has to be one on the other side as well."""
    model = chunks(
        "float[B,1,4,2] user_keys, float[B,2,4,2] item_keys",
        "k = Concat<axis = 1>(user_keys, item_keys) y = MatMul(x, k)",
    )
    assert apply(RULE, model).times == 0


@pytest.mark.parametrize(("axis", "keys", "rank"), [(2, "2,4,3", "B,2,4,3"), (3, "2,8,3", "B,2,2,3")])
def test_axes_of_the_matrices_are_for_other_rules(axis: int, keys: str, rank: str) -> None:
    """Both operands are Concats all the same."""
    model = f"""score (float[B,2,2,4] user, float[B,2,2,4] item, float[B,{keys}] user_k, float[B,{keys}] item_k)
        => (float[{rank.replace("B,2", "B,4")}] y) {{
        u = Concat<axis = 1>(user, user) i = Concat<axis = 1>(item, item) x = Concat<axis = {axis}>(u, i)
        k = Concat<axis = 1>(user_k, item_k) y = MatMul(x, k) }}"""
    assert apply(RULE, model).times == 0


def test_vectors() -> None:
    """A vector has no axes but those of a matrix."""
    model = """score (float[B,2,2,4] user, float[B,1,2,4] item) => (float[B,3,2] y) <float[4] w> {
        x = Concat<axis = 1>(user, item) y = MatMul(x, w) }"""
    assert apply(RULE, model).times == 0


def test_chunks_of_the_user_are_multiplied_once() -> None:
    model = apply(
        RULE,
        """score (float[B,6,16,16] user, float[B,1,16,16] item, float[B,6,16,16] user_k, float[B,1,16,16] item_k)
            => (float[B,1,16,16] y) <int64[1] first, int64[1] last, int64[1] axis> {
            x = Concat<axis = 1>(user, item) k = Concat<axis = 1>(user_k, item_k) p = MatMul(x, k) e = Exp(p)
            y = ReduceMax<keepdims = 1, axes = [1]>(e) }""",
        exact=False,
        first=np.array([6]),
        last=np.array([7]),
        axis=np.array([1]),
    ).original
    result = optimize(model, user_inputs=["user*"], candidates=512)
    without = optimize(model, user_inputs=["user*"], candidates=512, disable=[RULE])
    assert result.report.after.flops < 0.3 * without.report.after.flops
