"""What single operators are said to take."""

from __future__ import annotations

import math

import pytest

from mari_onnx.calibration.fit import priced
from mari_onnx.rewrite.cost import CostModel, node_cost, node_flops
from tests.patterns.support import at_work, model_of, sides_of


def cost_of(op: str, text: str, **prices: float) -> float:
    """Microseconds of a node, at 512 candidates."""
    model = model_of(text)
    at = at_work(model, sides_of(model))
    (node,) = (n for n in at.graph.nodes if n.op == op)
    return node_cost(node, at.facts, priced(prices))


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


@pytest.mark.parametrize(
    ("perm", "pieces"),
    [
        ((1, 2, 0, 3), 1.5),  # heads, laid side by side
        ((0, 2, 3, 1, 4), 1.5),
        ((2, 0, 1, 3), 6),  # heads, put in front
        ((0, 2, 1, 3), 6),  # a swap is done like that
        ((2, 1, 0, 3), 6),  # two axes move
    ],
)
def test_rows_that_one_axis_passes_are_read_in_order(perm: tuple[int, ...], pieces: float) -> None:
    sizes = ("B", 3, 4, 5, 6)[: len(perm)]
    turned = ",".join(str(sizes[axis]) for axis in perm)
    text = f"""score (float[{",".join(map(str, sizes))}] item) => (float[{turned}] z) {{
        y = Transpose<perm = [{",".join(map(str, perm))}]>(item)
        z = Abs(y)
    }}"""
    rows = 512 * math.prod(sizes[1:-1])
    free = cost_of("Transpose", text, copy=0.0)
    assert cost_of("Transpose", text, copy=1.0) - free == pytest.approx(pieces * rows)


def einsums(text: str) -> list[tuple[float, float]]:
    """Microseconds and floating-point operations of the Einsums of a model, at 512 candidates."""
    model = model_of(text)
    at = at_work(model, sides_of(model))
    nodes = [n for n in at.graph.nodes if n.op == "Einsum"]
    return [(node_cost(n, at.facts, CostModel()), node_flops(n, at.facts, CostModel())) for n in nodes]


def test_several_operands_are_taken_two_at_a_time() -> None:
    head = "score (float[B,2] item, float[B,3,4] item_keys) => (float[B,3] y) <float[2,4] w>"
    (one,) = einsums(f"""{head} {{
        y = Einsum<equation = "bi,ij,btj->bt">(item, w, item_keys)
    }}""")
    two = einsums(f"""{head} {{
        q = Einsum<equation = "bi,ij->bj">(item, w)
        y = Einsum<equation = "bj,btj->bt">(q, item_keys)
    }}""")
    assert one == pytest.approx(tuple(map(sum, zip(*two, strict=True))))
    assert one[1] == 2 * 512 * (2 * 4 + 3 * 4)


def test_letters_that_an_ellipsis_stands_for_count() -> None:
    spelled, hidden = (
        einsums(f"""score (float[B,3,4] item) => (float[B,3,5] y) <float[4,5] w> {{
            y = Einsum<equation = "{equation}">(item, w)
        }}""")
        for equation in ("btj,jk->btk", "...j,jk->...k")
    )
    assert spelled[0][1] == hidden[0][1] == 2 * 512 * 3 * 4 * 5
