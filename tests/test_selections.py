"""What a mask of sizes alone selects are the same columns for all candidates."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import mari_onnx
from mari_onnx.analysis import Side
from mari_onnx.ir import Node
from tests.analysis.support import analyze, assert_right, assert_side, parse

USERS = ["u"]
UPPER = np.triu(np.ones((3, 3), np.float32), 1)

MASK = "s = Shape(x) ones = ConstantOfShape<value = float[1] {1}>(s) m = Mul(ones, upper)"
FLAT = "d = Reshape(x, last) f = Reshape(m, last)"
PLACES = "n = NonZero(f) t = Transpose<perm = [1, 0]>(n) a = Squeeze(t, second)"

GATHER = f"{FLAT} {PLACES} g = Gather(d, a)"
GATHER_ND = "n = NonZero(m) a = Transpose<perm = [1, 0]>(n) g = GatherND(x, a)"
COMPRESS = "b = Cast<to = 9>(m) f = Reshape(b, last) g = Compress(x, f)"


def of(body: str, *, rows: str = "three") -> onnx.ModelProto:
    """Products of all rows with each other, of which some are selected; there are three for each candidate."""
    text = f"""g (float[B,2,4] u, float[B,1,4] i) => (float[B,k] y) {{
        c = Concat<axis = 1>(u, i) w = Transpose<perm = [0, 2, 1]>(c) x = MatMul(c, w)
        {body} y = Reshape(g, {rows}) }}"""
    known = {
        "upper": UPPER,
        "last": np.array([-1]),
        "second": np.array([1]),
        "three": np.array([-1, 3]),
        "single": np.array([-1, 1]),
        "pairs": np.array([3, -1]),
        "two": np.array(2.0, np.float32),
        "none": np.zeros((3, 3), np.float32),
    }
    used = {n: w for n, w in known.items() if any(f"{n}{end}" in text for end in (",", ")"))}
    return parse(text, **used)


def searches(model: onnx.ModelProto) -> bool:
    return bool({"NonZero", "Compress"} & {n.op for n in analyze(model, USERS).network if isinstance(n, Node)})


@pytest.mark.parametrize("select", [GATHER, GATHER_ND, COMPRESS])
def test_a_mask_that_is_the_same_for_all_candidates(select: str) -> None:
    model = of(f"{MASK} {select}")
    assert not searches(model)
    assert_side(model, {"y": Side.CROSS}, users=USERS)


def test_what_is_selected_is_what_was() -> None:
    result = mari_onnx.optimize(of(f"{MASK} {GATHER}"), user_inputs=USERS, seeds=1)
    assert result.verification is not None
    assert result.verification.passed
    assert "NonZero" not in {n.op_type for n in result.model.graph.node}


OF_X = "m = Greater(x, two) q = Cast<to = 1>(m) d = Reshape(x, last) f = Reshape(q, last)"
TURNED = "p = Transpose<perm = [1, 0, 2]>(m) d = Reshape(x, last) f = Reshape(p, last)"
DRAWN = "r = RandomUniformLike(x) m = Mul(r, upper)"
REORDERED = f"{FLAT} n = NonZero(f) h = Reshape(n, pairs) t = Transpose<perm = [1, 0]>(h) a = Reshape(t, last)"


@pytest.mark.parametrize(
    "body",
    [
        f"{OF_X} {PLACES} g = Gather(d, a)",
        f"{MASK} {TURNED} {PLACES} g = Gather(d, a)",
        f"{MASK} d = Transpose<perm = [1, 0, 2]>(x) f = Reshape(m, last) b = Cast<to = 9>(f) g = Compress(d, b)",
        f"{MASK} {REORDERED} g = Gather(d, a)",
    ],
)
def test_other_masks_and_orders_stay(body: str) -> None:
    model = of(body, rows="single")
    assert searches(model)
    assert_right(model, users=USERS)


@pytest.mark.parametrize("mask", [DRAWN, MASK.replace("upper", "none")])
def test_what_is_drawn_or_selects_nothing_stays(mask: str) -> None:
    assert searches(of(f"{mask} {GATHER}", rows="single"))
