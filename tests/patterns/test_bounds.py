"""Bounds of integers hold for whatever a request brings."""

from __future__ import annotations

import pytest

from mari_onnx.patterns._bounds import Bounds, bounds_of
from tests.patterns.support import at_work, model_of, requests, session, sides_of

INT64 = (-(2**63), 2**63 - 1)
MODEL = """score (int64[B,3] item_i, uint8[B,3] item_u, bool[B,3] item_b, float[B,5] item_x) => (int64[{rank}] y)
    <int64[3] bits = {{1, 2, 4}}, int64[3] seven = {{7, 5, 7}}, int64[1] two = {{2}}, int64[1] last = {{-1}},
     int64[2] shape = {{-1, 1}}, int64 large = {{5000000000000000000}}, int64[3] three = {{1, 1, 3}}> {{
    {body}
}}"""
FLAG = "c = Cast<to = 7>(item_b)"


def bounds(body: str, rank: str = "B,N", opset: int = 17) -> Bounds:
    """Those of ``y``, compared with what ONNX Runtime computes."""
    model = model_of(MODEL.format(body=body, rank=rank), opset=opset)
    inputs = sides_of(model)
    low, high = bounds_of("y", at_work(model, inputs))
    one = session(model)
    names = {value.name for value in model.graph.input}
    for seed in range(4):
        full, _ = requests(model, inputs, 3, seed)
        y = one.run(None, {k: v for k, v in full.items() if k in names})[0]
        assert low <= y.min()
        assert y.max() <= high
    return low, high


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"{FLAG} y = Identity(c)", (0, 1)),
        ("y = Cast<to = 7>(item_u)", (0, 255)),
        ("y = Cast<to = 7>(item_x)", INT64),
        ("y = Identity(item_i)", INT64),
        (f"{FLAG} y = Mul(c, bits)", (0, 4)),
        (f"{FLAG} y = Add(c, seven)", (5, 8)),
        (f"{FLAG} y = Sub(c, seven)", (-7, -4)),
        (f"{FLAG} y = Max(c, seven)", (5, 7)),
        (f"{FLAG} y = Min(c, seven)", (0, 1)),
        (f"{FLAG} y = Min(c, seven, bits)", INT64),
        (f"{FLAG} y = Where(item_b, c, seven)", (0, 7)),
        (f"{FLAG} y = Concat<axis = 1>(c, c)", (0, 1)),
        (f"{FLAG} y = Reshape(c, shape)", (0, 1)),
        (f"{FLAG} a, y = Split<axis = 1, num_outputs = 2>(c)", (0, 1)),
        (f"{FLAG} a = Mul(c, bits) y = ReduceSum(a, last)", (0, 12)),
        (f"{FLAG} a = Mul(c, bits) y = ReduceSum(a)", INT64),
        (f"{FLAG} a = Mul(c, large) y = ReduceSum(a, last)", INT64),
        (f"{FLAG} a = Add(c, large) y = Add(a, large)", INT64),
        ("y = Mod(item_i, seven)", (0, 6)),
        ("best, y = TopK(item_x, two)", (0, 4)),
        ("v, i = TopK(item_x, two) y = Cast<to = 7>(v)", INT64),
        ("y = ArgMax<axis = 1>(item_x)", (0, 4)),
        ("y = ArgMin<axis = 0>(item_x)", (0, INT64[1])),
    ],
)
def test_bounds(body: str, expected: Bounds) -> None:
    assert bounds(body, opset=18 if "num_outputs" in body else 17) == expected


def test_a_long_chain_is_read_once() -> None:
    steps = " ".join(f"h{k + 1} = Add(h{k}, h{k})" for k in range(30))
    assert bounds(f"h0 = Cast<to = 7>(item_b) {steps} y = Identity(h30)") == (0, 1 << 30)


def test_what_leaves_its_type_comes_back_at_the_other_end() -> None:
    body = "c = Cast<to = 6>(item_u) m = Cast<to = 6>(large) a = Mul(c, m) y = Cast<to = 7>(a)"
    assert bounds(body) == (-(2**31), 2**31 - 1)
