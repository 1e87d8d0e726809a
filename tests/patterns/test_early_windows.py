"""conv(x)[a:b] = conv(x[windows of a:b])."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mari_onnx
from tests.patterns.support import Outcome, apply, model_of, numbers, typed

RULE = "early-windows"


def positions(
    attrs: str,
    pick: str,
    *,
    item: tuple[object, ...] = ("B", 2, 9),
    kernel: tuple[int, ...] = (4, 2, 3),
    axis: int = 2,
    **weights: Any,
) -> Outcome:
    """The rule on some positions of a convolution, which are a slice where two numbers say so."""
    given = {"w": numbers(np.random.default_rng(0), 1, kernel), "c": np.arange(kernel[0], dtype=np.float32)}
    if pick[0].isdigit():
        first, last = map(int, pick.split(":"))
        weights |= {"first": np.array([first]), "last": np.array([last]), "axis": np.array([axis])}
        pick = "y = Slice(q, first, last, axis)"
    result = ",".join(["B", *"NMKL"[: len(item) - 1]])
    return apply(
        RULE,
        f"""score ({typed("float", item)} item) => (float[{result}] y) {{
            x = Neg(item)
            q = Conv{attrs}(x, w, c)
            {pick}
        }}""",
        **given,
        **weights,
    )


def made(outcome: Outcome, axis: int = 2) -> tuple[int, int]:
    """How many entries the convolution reads, and how many it makes."""
    (conv,) = outcome.of("Conv")
    return outcome.size_of(conv.input[0])[axis], outcome.size_of(conv.output[0])[axis]


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attrs", "pick", "read"),
    [
        ("", "2:4", 4),
        ("", "0:1", 3),
        ("<pads = [2, 2]>", "0:1", 1),
        ("<pads = [2, 2]>", "1:3", 3),
        ("<pads = [2, 0]>", "8:9", 3),
        ("<pads = [1, 1]>", "7:9", 3),
        ("<strides = [2]>", "1:3", 5),
        ("<strides = [2], pads = [1, 2]>", "0:2", 4),
        ("<strides = [3], pads = [2, 2]>", "2:4", 5),
        ("<dilations = [2]>", "1:2", 5),
        ("<dilations = [4], pads = [4, 4]>", "0:1", 5),
        ("<dilations = [2], strides = [2], pads = [3, 3]>", "1:3", 6),
        ('<auto_pad = "VALID">', "3:5", 4),
        ("<kernel_shape = [3], pads = [2, 2]>", "9:11", 2),
        ("<pads = [2, 2]>", "10:11", 1),
    ],
)
def test_a_slice_of_positions(attrs: str, pick: str, read: int) -> None:
    outcome = positions(attrs, pick)
    first, last = map(int, pick.split(":"))
    assert outcome.times == 1
    assert made(outcome) == (read, last - first)


@pytest.mark.parametrize(
    ("pick", "count", "weights"),
    [
        ("y = Gather<axis = 2>(q, k)", 1, {"k": np.array([3])}),
        ("g = Gather<axis = -1>(q, k) y = Unsqueeze(g, one)", 1, {"k": np.array(-1), "one": np.array([1])}),
        ("y = Gather<axis = 2>(q, k)", 2, {"k": np.array([3, 4])}),
        ("front, y = Split<axis = 2>(q, s)", 3, {"s": np.array([4, 3])}),
        ("front, a, b = Split<axis = 2>(q, s) y = Concat<axis = 2>(b, a)", 3, {"s": np.array([4, 1, 2])}),
    ],
)
def test_other_picks(pick: str, count: int, weights: dict[str, np.ndarray]) -> None:
    outcome = positions("", pick, **weights)
    assert outcome.times == 1
    assert made(outcome)[1] == count


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_of_channels(groups: int) -> None:
    outcome = positions(f"<group = {groups}, pads = [2, 2]>", "8:9", item=("B", 4, 9), kernel=(4, 4 // groups, 3))
    assert made(outcome) == (3, 1)


def test_the_other_axis_stays() -> None:
    attrs = "<pads = [1, 2, 1, 0], strides = [1, 2], dilations = [1, 2]>"
    outcome = positions(attrs, "1:2", item=("B", 2, 5, 8), kernel=(3, 2, 3, 2), axis=2)
    assert made(outcome) == (3, 1)
    outcome = positions(attrs, "1:2", item=("B", 2, 5, 8), kernel=(3, 2, 3, 2), axis=3)
    assert made(outcome, 3) == (3, 1)


def test_the_candidate_behind_a_history_is_one_position() -> None:
    """A causal convolution in groups, of which the last position alone is read: nothing is left to slide over."""
    text = """score (float[B,16,30] user, float[B,16,1] item) => (float[B,16,1] y)
        <float[16,1,4] w, float[16] c, int64[1] first, int64[1] last, int64[1] axis> {
        x = Concat<axis = 2>(user, item)
        q = Conv<group = 16, pads = [3, 3]>(x, w, c)
        s = Sigmoid(q)
        y = Slice(s, first, last, axis)
    }"""
    bounds = {"first": np.array([30]), "last": np.array([31]), "axis": np.array([2])}
    built = mari_onnx.optimize(model_of(text, **bounds), user_inputs=["user"])
    assert RULE in built.report.rewrites
    assert "Conv" not in {node.op_type for node in built.model.graph.node}
    without = mari_onnx.optimize(model_of(text, **bounds), user_inputs=["user"], disable=[RULE])
    assert built.report.after.microseconds < 0.5 * without.report.after.microseconds


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attrs", "pick", "weights"),
    [
        ("", "0:7", {}),
        ("", "y = Gather<axis = 2>(q, k)", {"k": np.array([1, 3])}),
        ("", "y = Gather<axis = 2>(q, k)", {"k": np.array([3, 2])}),
        ("", "y = Gather<axis = 1>(q, k)", {"k": np.array([1])}),
        ("", "a = Gather<axis = 2>(q, k) b = ReduceMax<axes = [2]>(q) y = Add(a, b)", {"k": np.array([1])}),
        ('<auto_pad = "SAME_UPPER">', "0:2", {}),
        ("<pads = [3, 3]>", "0:1", {}),
        ("<pads = [3, 0]>", "2:4", {}),
    ],
)
def test_what_stays(attrs: str, pick: str, weights: dict[str, np.ndarray]) -> None:
    """All positions, some that are not neighbours, channels, what others read, and windows of nothing but padding."""
    assert positions(attrs, pick, **weights).times == 0


def test_a_history_of_any_length() -> None:
    text = """score (float[B,2,S] item) => (float[B,3,N] y) <float[3,2,2] w, int64[1] k> {
        q = Conv(item, w)
        y = Gather<axis = 2>(q, k)
    }"""
    assert apply(RULE, text, k=np.array([0])).times == 0
