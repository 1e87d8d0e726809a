"""Values that have the same entries all along an axis."""

from __future__ import annotations

import numpy as np
import pytest

from mari_onnx.patterns._alike import rows_alike
from tests.patterns.support import at_work, model_of, sides_of

F32 = np.float32
SAME = np.tile(np.arange(4).astype(F32), (3, 1))
ALMOST = np.where(np.arange(3)[:, None] == 1, -SAME, SAME)
"""The first entry is -0 in one of the rows."""


def is_alike(body: str, axis: int = 0, **weights: np.ndarray) -> bool:
    """Whether it is found of ``x`` in a graph that reads ``user [B, T, 4]`` and ``item [B, 4]``."""
    model = model_of(
        f"g (float[B,T,4] user, float[B,4] item) => (float[M,N] x, float[B,4] y) {{ {body} y = Neg(item) }}", **weights
    )
    at = at_work(model, sides_of(model))
    return rows_alike("x", axis, at) is not None


@pytest.mark.parametrize(
    ("body", "axis", "found"),
    [
        ("s = Shape(user) x = ConstantOfShape(s)", 1, True),
        ("s = Shape(user) x = Expand(v, s)", 1, True),
        ("s = Shape(user) x = Expand(v, s)", 2, False),
        ("s = Shape(user) c = ConstantOfShape(s) h = Tanh(c) x = Add(h, v)", 1, True),
        ("s = Shape(user) c = ConstantOfShape(s) x = Add(c, user)", 1, False),
        ("s = Shape(user) c = ConstantOfShape(s) x = MatMul(c, w)", 1, True),
        ("s = Shape(user) c = ConstantOfShape(s) x = Softmax<axis = 1>(c)", 1, False),
        ("s = Shape(user) c = ConstantOfShape(s) a = Cast<to = 7>(c) x = Gather(w, a)", 1, True),
        ("x = Tanh(user)", 1, False),
        ("x = Tanh(item)", 0, False),
    ],
)
def test_what_is_alike(body: str, axis: int, found: bool) -> None:
    weights = {"v": SAME[0], "w": np.eye(4, dtype=F32)}
    assert is_alike(body, axis, **{n: a for n, a in weights.items() if f"{n}," in body or f" {n})" in body}) is found


@pytest.mark.parametrize(("rows", "found"), [(SAME, True), (SAME.T.copy(), False), (ALMOST, False)])
def test_constants_are_compared_by_their_bits(rows: np.ndarray, found: bool) -> None:
    model = model_of("g (float[B,4] item) => (float[B,4] y) { y = Neg(item) }")
    at = at_work(model, sides_of(model))
    assert (rows_alike(at.weight(rows), 0, at) is not None) is found


def test_what_is_no_number_is_like_itself() -> None:
    model = model_of("g (float[B,4] item) => (float[B,4] y) { y = Neg(item) }")
    at = at_work(model, sides_of(model))
    assert rows_alike(at.weight(np.full((2, 2), np.nan, F32)), 0, at) is not None
    assert rows_alike(at.weight(np.zeros((0, 2), F32)), 0, at) is None
