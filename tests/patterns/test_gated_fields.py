"""sum_f (g_f u_f) W_f = sum_f g_f (u_f W_f)"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.patterns._gated_rows import GatedRows, Number
from tests.patterns.support import apply, at_work, model_of, sides_of

RULE = "gated-fields"


def text(body: str, weight: str = "12,5", user: str = "B,3,4", item: str = "B,3,1", weights: str = "") -> str:
    return f"""score (float[{user}] user, float[{item}] item, float[B,2,4] item_x) => (float[B,5] y)
        <float[{weight}] w, int64[2] flat = {{0, -1}}, float[5] c, float[4,4] v {weights}> {{ {body} }}"""


def test_fields_that_are_weighed() -> None:
    outcome = apply(RULE, text("g = Mul(user, item) x = Reshape(g, flat) y = MatMul(x, w)"))
    assert outcome.times == 1
    assert "Mul" not in outcome.ops
    fields, weighed = outcome.of("MatMul")
    assert outcome.size_of(fields.output[0]) == (3, 5, 1)
    assert len(outcome.size_of(weighed.input[0])) == len(outcome.size_of(weighed.input[1])) == 2


@pytest.mark.parametrize("order", ["user, item", "item, user"])
@pytest.mark.parametrize("turned", [0, 1])
def test_a_layer_with_a_bias(order: str, turned: int) -> None:
    body = f"g = Mul({order}) x = Flatten<axis=1>(g) y = Gemm<transB={turned}>(x, w, c)"
    outcome = apply(RULE, text(body, weight="5,12" if turned else "12,5"))
    assert outcome.times == 1
    assert outcome.ops["Gemm"] == 1


@pytest.mark.parametrize("op", ["MatMul(x, w)", "Gemm(x, w, c)"])
@pytest.mark.parametrize("order", ["g, item_x", "item_x, g", "item_x, g, item_x"])
def test_beside_fields_of_the_item(order: str, op: str) -> None:
    count = 3 + 2 * order.count("item_x")
    body = f"g = Mul(user, item) a = Concat<axis=1>({order}) x = Reshape(a, flat) y = {op}"
    outcome = apply(RULE, text(body, weight=f"{4 * count},5"))
    assert outcome.times == 1
    wide = [outcome.size_of(n.input[0]) for n in (*outcome.of("Gemm"), *outcome.of("MatMul"))]
    assert any(size[1:] == (4 * (count - 3),) for size in wide)


def test_a_gate_over_fields_of_both() -> None:
    """Rows that a gate makes of the item's fields are what is left."""
    body = "a = Concat<axis=1>(item_x, user) g = Mul(a, item) x = Reshape(g, flat) y = MatMul(x, w)"
    outcome = apply(RULE, text(body, weight="20,5", item="B,5,1"))
    assert outcome.times == 1


def test_one_number_for_all_fields() -> None:
    assert apply(RULE, text("g = Mul(user, item) x = Reshape(g, flat) y = MatMul(x, w)", item="B,1,1")).times == 1


def test_rows_without_an_axis_of_their_own() -> None:
    body = """g = Mul(user, item) first = Slice(item_x, zero, one, one) z = Squeeze(first, one)
        x = Concat<axis=1>(z, g, z) y = MatMul(x, w)"""
    weights = ", int64[1] zero = {0}, int64[1] one = {1}"
    assert apply(RULE, text(body, user="B,4", item="B,1", weights=weights)).times == 1


def test_rows_side_by_side() -> None:
    """DeepCTR joins fields on the last of three axes, and lays them out flat then."""
    body = """g = Mul(user, item) p, q, r = Split<axis=1>(g) k = Slice(item_x, zero, one, one)
        a = Concat<axis=-1>(q, k, p) x = Reshape(a, flat) y = MatMul(x, w)"""
    outcome = apply(RULE, text(body, weights=", int64[1] zero = {0}, int64[1] one = {1}"))
    assert outcome.times == 1
    assert "Mul" not in outcome.ops


CUT = [
    "p, q = Split<axis=1>(g)",
    "p = Slice(g, zero, two, one) q = Slice(g, two, four, one)",
    "p = Gather<axis=1>(g, front) q = Gather<axis=1>(g, back)",
]


@pytest.mark.parametrize("cut", CUT)
def test_not_where_columns_are_cut(cut: str) -> None:
    """Columns of a matrix are not rows, though they lie on the second axis as well."""
    body = f"g = Mul(user, item) {cut} z = Mul(p, q) x = Concat<axis=1>(q, z, p) y = MatMul(x, w)"
    weights = ", int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] four = {4}"
    weights += ", int64[2] front = {0, 1}, int64[2] back = {2, 3}"
    assert apply(RULE, text(body, weight="6,5", user="B,4", item="B,1", weights=weights)).times == 0


ROWS = """g = Mul(user, item)
    p, q, r = Split<axis=1>(g)"""


@pytest.mark.parametrize(
    "body",
    [
        "s = Mul(p, q) t = Mul(r, p) a = Concat<axis=1>(s, t, s)",
        "m = MatMul(p, v) s = Mul(m, q) a = Concat<axis=1>(s, m, r)",
        "m = MatMul(g, v) s = Mul(m, g) a = Gather<axis=1>(s, back)",
        "s = Slice(g, zero, two, one) t = Slice(g, two, three, one) a = Concat<axis=1>(t, s)",
        "s = Mul(g, p) a = Identity(s)",
        "i = Gather<axis=1>(g, last) k = Unsqueeze(i, one) s = Mul(k, p) a = Concat<axis=1>(s, r, q)",
    ],
)
def test_what_keeps_numbers_in_front(body: str) -> None:
    weights = ", int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}"
    weights += ", int64[3] back = {2, -3, 1}, int64 last = {-1}"
    outcome = apply(RULE, text(f"{ROWS} {body} x = Reshape(a, flat) y = MatMul(x, w)", weights=weights))
    assert outcome.times == 1
    assert all(len(outcome.size_of(n.output[0])) < 3 or n.output[0] != "x" for n in outcome.result.graph.node)


def test_numbers_that_are_cut_apart_come_from_one_value() -> None:
    """The numbers of all rows are picked out of one matrix, wherever they were cut."""
    model = model_of(
        """score (float[B,2,4] user, float[B,2] item) => (float[B,8] y)
        <int64[1] last = {-1}, int64[2] flat = {0, -1}> {
            n = Unsqueeze(item, last) a, b = Split<axis=1>(n) p, q = Split<axis=1>(user)
            s = Mul(p, a) t = Mul(b, q) u = Mul(s, t) z = Concat<axis=1>(u, t) y = Reshape(z, flat)
        }"""
    )
    rows = GatedRows(at_work(model, sides_of(model)))
    first, second = rows.of("z", 0), rows.of("z", 1)
    assert first is not None
    assert second is not None
    assert first.numbers == (Number("item", 0), Number("item", 1))
    assert second.numbers == (Number("item", 1),)


@pytest.mark.parametrize(
    ("body", "shapes"),
    [
        ("g = Mul(user, item) x = Reshape(g, flat)", {"item": "B,3,4"}),
        ("g = Add(user, item) x = Reshape(g, flat)", {}),
        ("g = Mul(user, item) h = Relu(g) x = Reshape(h, flat)", {}),
        ("r = Reciprocal(item) g = Mul(user, r) x = Reshape(g, flat)", {}),
        ("g = Mul(user, item) x = Reshape(g, flat)", {"user": "B,3,1", "item": "B,3,4"}),
        ("g = Mul(user, item) t = Transpose<perm=[0,2,1]>(g) x = Reshape(t, flat)", {}),
    ],
)
def test_not_where_rows_are_something_else(body: str, shapes: dict[str, str]) -> None:
    weight = "12,5"
    assert apply(RULE, text(f"{body} y = MatMul(x, w)", weight=weight, **shapes)).times == 0


def test_not_a_scaled_product() -> None:
    body = "g = Mul(user, item) x = Reshape(g, flat) y = Gemm<alpha=0.5>(x, w)"
    assert apply(RULE, text(body)).times == 0


def test_rows_that_are_computed_alike_are_computed_at_once() -> None:
    """All pairs of five fields: one product for all, a lookup for each of its sides."""
    pairs = [(i, j) for i in range(5) for j in range(i)]
    cut = " ".join(f"p{i}" for i in range(5)).replace(" ", ", ")
    made = " ".join(f"m{i}_{j} = Mul(p{i}, p{j})" for i, j in pairs)
    joined = ", ".join(f"m{i}_{j}" for i, j in pairs)
    outcome = apply(
        RULE,
        f"""score (float[B,5,4] user, float[B,5,1] item) => (float[B,3] y) <float[40,3] w, int64[2] flat = {{0, -1}}> {{
            g = Mul(user, item) {cut} = Split<axis=1>(g) {made}
            a = Concat<axis=1>({joined}) x = Reshape(a, flat) y = MatMul(x, w)
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["Mul"] == 2  # of rows, and of numbers
    assert outcome.ops["Gather"] == 2
    assert outcome.ops["MatMul"] == 4


def test_it_pays_with_all_rules() -> None:
    model = model_of(
        """score (float[B,20,16] user, float[B,21] item, float[B,16] item_x) => (float[B,64] y)
        <float[336,64] w, int64[2] flat = {0, -1}, int64[1] last = {-1}, int64[1] one = {1}> {
            k = Unsqueeze(item_x, one) a = Concat<axis=1>(user, k) s = Relu(item) n = Unsqueeze(s, last)
            g = Mul(a, n) x = Reshape(g, flat) y = MatMul(x, w)
        }"""
    )
    outcome = apply(RULES, model)
    assert RULE in {a.rule for a in outcome.applied}


@given(st.lists(st.integers(-5, 4), min_size=1, max_size=8), st.integers(0, 2**16))
def test_rows_in_any_order(order: list[int], seed: int) -> None:
    model = model_of(
        f"""score (float[B,5,2] user, float[B,5,1] item) => (float[B,3] y)
        <float[2,2] v, float[{2 * len(order)},3] w, int64[{len(order)}] order, int64[2] flat = {{0, -1}}> {{
            m = MatMul(user, v) g = Mul(m, item) t = Mul(g, g) p = Gather<axis=1>(t, order) q = Gather<axis=1>(g, order)
            x = Reshape(p, flat) z = Reshape(q, flat) a = MatMul(x, w) c = MatMul(z, w) y = Add(a, c)
        }}""",
        seed=seed,
        order=np.array(order),
    )
    assert apply(RULE, model).times == 2
