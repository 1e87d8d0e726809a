"""What single operators are said to take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mari_onnx.rewrite.cost import CostModel, node_cost
from tests.patterns.support import at_work, model_of, sides_of


def cost_of(op: str, text: str, packed: float) -> float:
    """Microseconds of a node, at 512 candidates."""
    model = model_of(text)
    at = at_work(model, sides_of(model))
    (node,) = (n for n in at.graph.nodes if n.op == op)
    return node_cost(node, at.facts, replace(CostModel(), packed=packed))


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
@pytest.mark.parametrize(
    ("rows", "weights", "packed"),
    [
        ("item", "Neg(w)", False),  # put in order when the model is loaded
        ("item", "Mul(w, request)", True),
        ("request_row", "Mul(w, request)", False),  # one row needs no order
    ],
)
def test_a_product_puts_computed_weights_in_order_first(op: str, rows: str, weights: str, packed: bool) -> None:
    text = f"""score (float[B,24] item, float[1,1] request, float[1,24] request_row) => (float[B,32] z)
        <float[24,32] w> {{
        v = {weights}
        y = {op}({rows}, v)
        first = ReduceMax<axes = [1]>(item)
        z = Add(y, first)
    }}"""
    free = cost_of(op, text, packed=float("inf"))
    assert cost_of(op, text, packed=2.0) - free == (24 * 32 / 2.0 if packed else 0.0)
