"""Loops as exporters write them, and whether they are still there."""

from __future__ import annotations

import numpy as np
import onnx

import mari_onnx
from tests.analysis.support import assert_right, parse

TABLE = np.random.default_rng(0).integers(-4, 5, (3, 4)).astype(np.float32)
NUMBERS: dict[str, np.ndarray] = {
    "table": TABLE,
    "zero": np.array(0),
    "one": np.array(1),
    "five": np.array(5),
    "first": np.array([0]),
    "second": np.array([1]),
    "far": np.array([2**63 - 1]),
    "flat": np.array([-1]),
    "yes": np.array(True),
}

BAG = """
    shape = Shape(ids) total = ReduceProd<keepdims = 0>(shape) width = Gather(shape, one)
    starts = Range(zero, total, width)
    list = Reshape(ids, flat) length = Shape(list)
    bounds = Concat<axis = 0>(starts, length) ends = Slice(bounds, second, far, first, second)
    counted = Shape(ends) bags = Squeeze(counted)
"""
"""Where the bags of ids begin and end in one long list, as TorchScript writes it."""

STEP = """
        s = Gather<axis = 0>(bounds, k) e = Gather<axis = 0>(ends, k)
        s1 = Unsqueeze(s, first) e1 = Unsqueeze(e, first) own = Slice(list, s1, e1, first)
        found = Gather<axis = 0>(table, own)
"""


def model_of(loop: str, before: str = BAG, ids: str = "int64[B,5] u", item: str = "float[B,4] i") -> onnx.ModelProto:
    """A ranker that multiplies what the loop makes of the user's ids, ``bag``, with the item."""
    text = f"g ({ids}, {item}) => (float[B,4] y) {{ ids = Identity(u) {before} {loop} y = Mul(bag, i) }}"
    used = {n: a for n, a in NUMBERS.items() if n in text}
    return parse(text, **used)


def operators(model: onnx.ModelProto, users: tuple[str, ...] = ("u",)) -> list[str]:
    """The operators of the optimized model."""
    return [n.op_type for n in mari_onnx.optimize(model, user_inputs=list(users), verify=False).model.graph.node]


def assert_at_once(model: onnx.ModelProto) -> None:
    """No loop is left, and the scores are right."""
    assert "Loop" not in operators(model)
    assert_right(model)


def assert_stays(model: onnx.ModelProto) -> None:
    """The loop is as it was, and the scores are right."""
    assert "Loop" in operators(model)
    assert_right(model)
