"""conv(x, W) = flat(x) flat(W)^T."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mari_onnx
from mari_onnx.rewrite.cost import CostModel, node_cost
from tests.patterns.support import Outcome, apply, at_work, model_of, numbers, sides_of, typed

RULE = "lone-window"


def convolved(item: tuple[object, ...], kernel: tuple[int, ...], attrs: str = "", **settings: Any) -> Outcome:
    """The rule on one convolution of what is read of an item."""
    bias = settings.pop("bias", True)
    operands = ["x", "w, c" if bias else "w"]
    weights = {"w": numbers(np.random.default_rng(1), 1, kernel)}
    if bias:
        weights["c"] = np.arange(kernel[0], dtype=np.float32) - 1
    result = ",".join(["B", *"NMKL"[: len(item) - 1]])
    return apply(
        RULE,
        f"""score ({typed("float", item)} item) => (float[{result}] y) {{
            x = Neg(item)
            y = Conv{attrs}({", ".join(operands)})
        }}""",
        **weights,
        **settings,
    )


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("item", "kernel", "attrs"),
    [
        (("B", 6, 1), (4, 6, 1), ""),
        (("B", 6, 1), (4, 6, 1), "<strides = [2], dilations = [3]>"),
        (("B", 6, 5), (4, 6, 5), ""),
        (("B", 6, 5), (4, 6, 5), '<auto_pad = "VALID", strides = [3]>'),
        (("B", 1, 5), (2, 1, 5), "<pads = [0, 0]>"),
        (("B", 2, 3, 4), (5, 2, 3, 4), ""),
        (("B", 6, 1, 1), (4, 6, 1, 1), ""),
        (("B", 2, 3, 1, 2), (4, 2, 3, 1, 2), ""),
    ],
)
def test_one_layer(item: tuple[object, ...], kernel: tuple[int, ...], attrs: str, bias: bool) -> None:
    outcome = (
        convolved(item, kernel, attrs, bias=bias) if item[0] == "B" else convolved(("B", *item[1:]), kernel, attrs)
    )
    assert outcome.times == 1
    assert (outcome.ops["Gemm"], outcome.ops["Conv"]) == (1, 0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("item", "kernel", "groups"),
    [
        (("B", 6, 1), (4, 3, 1), 2),
        (("B", 6, 5), (9, 2, 5), 3),
        (("B", 6, 4), (6, 1, 4), 6),
        (("B", 4, 2, 3), (8, 2, 2, 3), 2),
    ],
)
def test_a_layer_for_each_group(item: tuple[object, ...], kernel: tuple[int, ...], groups: int, bias: bool) -> None:
    outcome = convolved(item, kernel, f"<group = {groups}>", bias=bias)
    assert outcome.times == 1
    assert (outcome.ops["MatMul"], outcome.ops["Conv"]) == (1, 0)
    assert outcome.size_of(outcome.of("MatMul")[0].output[0])[0] == groups


@pytest.mark.parametrize("axis", [1, 2])
def test_what_is_joined(axis: int) -> None:
    """Channels are joined as they are, entries of one channel are not apart from those of another."""
    outcome = apply(
        RULE,
        f"""score (float[B,2,2] user, float[B,2,2] item) => (float[B,3,N] y) {{
            x = Concat<axis = {axis}>(user, item)
            y = Conv(x, w)
        }}""",
        w=numbers(np.random.default_rng(0), 1, (3, 4, 2) if axis == 1 else (3, 2, 4)),
    )
    assert outcome.times == 1
    ranks = {len(outcome.size_of(concat.output[0])) for concat in outcome.of("Concat")} - {1}
    assert ranks == {2 if axis == 1 else 3}


@pytest.mark.parametrize("groups", [1, 2])
def test_half_precision(groups: int) -> None:
    outcome = apply(
        RULE,
        f"score (float16[B,4,3] item) => (float16[B,6,1] y) {{ y = Conv<group = {groups}>(item, w, c) }}",
        w=numbers(np.random.default_rng(0), 1, (6, 4 // groups, 3)).astype(np.float16),
        c=np.arange(6, dtype=np.float16),
    )
    assert outcome.times == 1


def test_a_layer_written_so_is_split_and_faster() -> None:
    text = """score (float[B,40] user, float[B,8] item) => (float[B,1,1] y)
        <float[32,48,1] w, float[32] b, float[1,32,1] v> {
        x = Concat<axis = 1>(user, item)
        last = Constant<value_ints = [2]>()
        r = Unsqueeze(x, last)
        h = Conv(r, w, b)
        a = Relu(h)
        y = Conv(a, v)
    }"""
    built = mari_onnx.optimize(model_of(text), user_inputs=["user"])
    assert built.report.rewrites[RULE] >= 2
    assert {"Conv", "Transpose"}.isdisjoint(node.op_type for node in built.model.graph.node)
    without = mari_onnx.optimize(model_of(text), user_inputs=["user"], disable=[RULE])
    assert built.report.after.microseconds < 0.8 * without.report.after.microseconds


def test_positions_make_a_convolution_cheaper_than_images_do() -> None:
    """For each number that is made: rows that are multiplied one by one take longer than positions of a few."""
    costs = []
    for positions in (1, 16):
        text = f"""score (float[B,16,{positions}] item) => (float[B,32,{positions}] y) <float[32,16,1] w> {{
            y = Conv(item, w)
        }}"""
        model = model_of(text)
        work = at_work(model, sides_of(model))
        (layer,) = [node for node in work.graph.nodes if node.op == "Conv"]
        costs.append(node_cost(layer, work.facts, CostModel()) / positions)
        assert node_cost(layer, {}, CostModel()) > 0, "nothing is known of its sizes"
    assert costs[0] > 3 * costs[1]


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "kernel", "attrs"),
    [
        (("B", 6, 5), (4, 6, 1), ""),
        (("B", 6, 5), (4, 6, 3), "<strides = [3]>"),
        (("B", 6, 5), (4, 6, 3), "<dilations = [2]>"),
        (("B", 6, 1), (4, 6, 3), "<pads = [1, 1]>"),
        (("B", 6, 5), (4, 6, 5), "<pads = [1, 0]>"),
        (("B", 6, 1), (4, 6, 1), '<auto_pad = "SAME_UPPER">'),
        (("B", 6, 3, 1), (4, 6, 1, 1), ""),
    ],
)
def test_windows_that_slide_or_leave_something_out(
    item: tuple[object, ...], kernel: tuple[int, ...], attrs: str
) -> None:
    assert convolved(item, kernel, attrs).times == 0


def test_a_history_of_any_length() -> None:
    text = "score (float[B,2,S] item) => (float[B,3,N] y) <float[3,2,3] w> { y = Conv(item, w) }"
    assert apply(RULE, text).times == 0


def test_filters_that_are_computed() -> None:
    text = "score (float[B,2,3] item, float[4,2,3] w) => (float[B,4,1] y) { y = Conv(item, w) }"
    assert apply(RULE, text).times == 0
