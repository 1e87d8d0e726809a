"""(s x + c) W = s (x W) + c W."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from mari_onnx.rewrite.workspace import Workspace
from tests.patterns.support import Outcome, apply, at_work, model_of, sides_of

RULE = "scaled-sum"


def sums(body: str, *, declared: str = "", opset: int = 17, exact: bool = True) -> Outcome:
    """Products over six columns of the user and two of the item; ``s`` and ``t`` are numbers of each candidate."""
    return apply(
        RULE,
        f"""score (float[B,6] user, float[B,2] item, float[B,1] item_s, float[B,1] item_t, float[B,8] user_c)
        => (float[B,4] z)
        <float[8,4] w, float[4] b, float[8] c{declared}> {{
            x = Concat<axis = 1>(user, item)
            s = Neg(item_s)
            t = Abs(item_t)
            {body}
            z = Neg(y)
        }}""",
        opset=opset,
        exact=exact,
    )


def widths(outcome: Outcome, op: str) -> set[int]:
    return {outcome.size_of(n.output[0])[-1] for n in outcome.of(op)}


def layers(count: int, *, width: int = 512, columns: int = 1, user: int = 384) -> str:
    """A cross network, and a product behind it."""
    declared = "".join(f"float[{width},1] w{k}, float[{width}] b{k}, " for k in range(count))
    body = "".join(
        f"s{k} = MatMul(x{k}, w{k}) m{k} = Mul(x0, s{k}) a{k} = Add(m{k}, b{k}) x{k + 1} = Add(a{k}, x{k}) "
        for k in range(count)
    )
    return f"""score (float[B,{user}] user, float[B,{width - user}] item) => (float[B,{columns}] y)
        <{declared}float[{width},{columns}] w> {{
            x0 = Concat<axis = 1>(user, item)
            {body}
            y = MatMul(x{count}, w)
        }}"""


def optimized(text: str, model: CostModel | None = None) -> tuple[Workspace, list[str]]:
    """The graph behind all rules, as they pay, and the rules that were applied."""
    graph = model_of(text)
    workspace = at_work(graph, sides_of(graph))
    return workspace, [a.rule for a in rewrite(workspace, RULES, model or CostModel()).applied]


def wide(workspace: Workspace, width: int) -> Iterator[str]:
    """What is made with so many columns for each candidate."""
    for node in workspace.graph.nodes:
        fact = workspace.fact(node.output)
        if fact.varies and fact.shape is not None and fact.shape[-1] == width:
            yield node.where()


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [12, 17])
@pytest.mark.parametrize(
    "body",
    [
        "m = Mul(x, s) a = Add(m, c) y = MatMul(a, w)",
        "m = Mul(s, x) a = Add(x, m) y = Gemm(a, w, b)",
        "m = Mul(x, s) a = Sub(c, m) y = Gemm(a, w, b)",
        "m = Mul(x, s) n = Neg(x) a = Sub(m, n) y = Gemm<alpha = 2.0>(a, w, b)",
        "m = Mul(x, s) a = Add(m, user_c) y = Gemm(a, w)",
        "m = Mul(x, s) a = Add(m, user_c) k = Add(a, c) y = Gemm(k, w, b)",
        # Twice the same, and nothing left of it.
        "m = Mul(x, s) a = Add(m, m) k = Add(a, x) l = Add(k, x) y = MatMul(l, w)",
        "m = Mul(x, s) a = Sub(m, m) k = Add(a, x) y = MatMul(k, w)",
        # Numbers that are themselves multiplied, and the sum of two of them.
        "m = Mul(x, s) n = Mul(m, t) a = Add(n, m) k = Add(a, c) y = MatMul(k, w)",
        "m = Mul(x, s) n = Mul(x, t) a = Sub(n, m) y = MatMul(a, w)",
        # A constant that is scaled with the features.
        "k = Add(x, c) m = Mul(k, s) a = Add(m, x) y = MatMul(a, w)",
        "m = Mul(x, s) a = Add(m, c) n = Mul(a, t) k = Add(n, x) y = Gemm(k, w, b)",
        # Parts that were scaled one by one.
        "u = Mul(user, s) i = Mul(item, s) m = Concat<axis = 1>(u, i) y0 = MatMul(m, w) "
        "a = Add(i, item) n = Concat<axis = 1>(u, a) y1 = MatMul(n, w) y = Add(y0, y1)",
    ],
)
def test_a_sum_is_never_made(body: str, opset: int) -> None:
    outcome = sums(body, opset=opset)
    assert outcome.times == 1
    assert widths(outcome, "Add") | widths(outcome, "Sub") <= {1, 4}


@pytest.mark.parametrize("product", ["Gemm<transB = 1>(a, v, b)", "Gemm<transB = 1, alpha = 0.5>(a, v)"])
def test_a_weight_that_is_stored_transposed(product: str) -> None:
    assert sums(f"m = Mul(x, s) a = Add(m, c) y = {product}", declared=", float[4,8] v").times == 1


@pytest.mark.parametrize("bias", ["user_b", "item_b"])
def test_a_bias_that_is_no_constant(bias: str) -> None:
    outcome = apply(
        RULE,
        f"""score (float[B,6] user, float[B,2] item, float[B,1] item_s, float[B,4] {bias}) => (float[B,4] y)
        <float[8,4] w, float[8] c> {{
            x = Concat<axis = 1>(user, item) m = Mul(x, item_s) a = Add(m, c) y = Gemm(a, w, {bias})
        }}""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize("order", ["a, h", "h, a", "a, h, x"])
def test_columns_of_something_else_beside_it(order: str) -> None:
    width = 11 + 8 * order.count("x")
    outcome = apply(
        RULE,
        f"""score (float[B,6] user, float[B,2] item, float[B,1] item_s, float[B,3] item_h) => (float[B,4] y)
        <float[{width},4] w, float[4] b, float[8] c> {{
            x = Concat<axis = 1>(user, item)
            h = Abs(item_h)
            m = Mul(x, item_s) a0 = Add(m, c) a = Add(a0, x)
            k = Concat<axis = 1>({order})
            y = Gemm(k, w, b)
        }}""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize("number", ["B,5,1", "5,1", "1,1", "B,1,1"])
@pytest.mark.parametrize("row", ["8", "1,8", "1,1,8"])
def test_tokens(number: str, row: str) -> None:
    sizes = ["B" if k == "B" else k for k in number.split(",")]
    name = "item_s" if "B" in sizes else "shared_s"
    outcome = apply(
        RULE,
        f"""score (float[B,5,6] user, float[B,5,2] item, float[{number}] {name}, float[B,5,1] item_t)
        => (float[B,5,4] y) <float[8,4] w, float[{row}] c> {{
            x = Concat<axis = 2>(user, item)
            m = Mul(x, {name}) n = Mul(x, item_t) a = Add(m, c) k = Add(n, a) y = MatMul(k, w)
        }}""",
    )
    assert outcome.times == 1


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("columns", [1, 3])
def test_a_cross_network(count: int, columns: int) -> None:
    outcome = apply(RULE, layers(count, width=4, user=3, columns=columns), exact=False)
    assert outcome.times == count
    assert 4 not in widths(outcome, "Add") | widths(outcome, "Mul")


def test_layers_have_the_beginnings_of_their_sums_in_common() -> None:
    outcome = apply(RULE, layers(6, width=4, user=3), exact=False, batches=(1,))
    # One for each layer to go on with the sum of all before, and one for its constant row.
    assert outcome.ops["Add"] == 2 * 6


@given(
    tokens=st.sampled_from([(), (1,), (3,)]),
    user=st.integers(1, 3),
    item=st.integers(1, 3),
    columns=st.integers(1, 3),
    swapped=st.booleans(),
)
def test_sizes(tokens: tuple[int, ...], user: int, item: int, columns: int, swapped: bool) -> None:
    lead, width = ",".join(["B", *map(str, tokens)]), user + item
    parts = "item, user" if swapped else "user, item"
    outcome = apply(
        RULE,
        f"""score (float[{lead},{user}] user, float[{lead},{item}] item, float[{lead},1] item_s)
        => (float[{lead},{columns}] y) <float[{width},{columns}] w, float[{width}] c> {{
            x = Concat<axis = -1>({parts})
            m = Mul(x, item_s) a = Add(m, c) k = Add(a, x) y = MatMul(k, w)
        }}""",
        batches=(1, 3),
    )
    assert outcome.times == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        # Nothing is scaled, or nothing is added to it.
        "a = Add(x, c) y = MatMul(a, w)",
        "m = Mul(x, s) y = MatMul(m, w)",
        # One number for all, or numbers of columns.
        "m = Mul(x, one) a = Add(m, c) y = MatMul(a, w)",
        "m = Mul(x, c) a = Add(m, x) y = MatMul(a, w)",
        # Several values of the candidates that were added up before.
        "d = Abs(x) k = Add(x, d) m = Mul(k, s) a = Add(m, k) y = MatMul(a, w)",
        # Something between sum and product.
        "m = Mul(x, s) a = Add(m, c) r = Relu(a) y = MatMul(r, w)",
        # A number that is added to all columns.
        "m = Mul(x, s) a = Add(m, t) y = MatMul(a, w)",
        "m = Mul(x, s) a = Add(m, one) y = MatMul(a, w)",
        # Numbers that may be infinite: added up in front of the product, those of both signs are no number.
        "r = Reciprocal(s) m = Mul(x, r) a = Add(m, c) y = MatMul(a, w)",
        "d = Div(t, s) m = Mul(x, d) a = Add(m, x) y = MatMul(a, w)",
        # A bias that is scaled.
        "m = Mul(x, s) a = Add(m, c) y = Gemm<beta = 2.0>(a, w, b)",
    ],
)
def test_what_stays(body: str) -> None:
    assert sums(body, declared=", float[1] one").times == 0


def test_not_where_a_weight_is_no_constant() -> None:
    text = """score (float[B,6] user, float[B,2] item, float[B,1] item_s, float[8,4] w) => (float[B,4] y) <float[8] c> {
        x = Concat<axis = 1>(user, item) m = Mul(x, item_s) a = Add(m, c) y = MatMul(a, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_all_is_the_items() -> None:
    text = """score (float[B,8] item, float[B,1] item_s) => (float[B,4] y) <float[8,4] w, float[8] c> {
        m = Mul(item, item_s) a = Add(m, c) y = MatMul(a, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_what_is_scaled_has_one_column() -> None:
    text = """score (float[B,1] user, float[B,1] item) => (float[B,4] y) <float[1,4] w, float[1] c> {
        m = Mul(user, item) a = Add(m, c) y = MatMul(a, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_in_half_precision() -> None:
    text = """score (float16[B,6] user, float16[B,2] item, float16[B,1] item_s) => (float16[B,4] y)
    <float16[8,4] w, float16[8] c> {
        x = Concat<axis = 1>(user, item) m = Mul(x, item_s) a = Add(m, c) y = MatMul(a, w)
    }"""
    assert apply(RULE, text).times == 0


def test_not_sums_of_too_much() -> None:
    """The features are multiplied with the sum of more numbers than are told apart."""
    steps = "".join(f"n{k} = Abs(item_{k}) m{k} = Mul(x, n{k}) a{k + 1} = Add(m{k}, a{k}) " for k in range(40))
    numbers = ", ".join(f"float[B,1] item_{k}" for k in range(40))
    text = f"""score (float[B,6] user, float[B,2] item, {numbers}) => (float[B,4] y) <float[8,4] w> {{
        x = Concat<axis = 1>(user, item) a0 = Neg(x) {steps} y = MatMul(a40, w)
    }}"""
    assert apply(RULE, text).times == 0


# -- kept where it pays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 64])
def test_a_cross_network_makes_no_more_than_its_products(columns: int) -> None:
    workspace, applied = optimized(layers(3, columns=columns))
    assert applied.count(RULE) == 3
    assert "split-product" in applied
    assert not list(wide(workspace, 512))


def test_not_where_the_product_is_wider_than_the_sum() -> None:
    """A sum of sixteen columns costs less than scaling a thousand."""
    text = """score (float[B,1] user, float[B,15] item, float[B,1] item_s) => (float[B,1024] y, float[B,16] a)
    <float[16,1024] w, float[16] c> {
        x = Concat<axis = 1>(user, item) m = Mul(x, item_s) a = Add(m, c) y = MatMul(a, w)
    }"""
    assert RULE not in optimized(text)[1]


def test_only_what_scales_is_applied_to_the_scaled() -> None:
    """Rows that are scaled and nothing else are those of other rules."""
    text = """score (float[B,384] user, float[B,128] item, float[B,1] item_s) => (float[B,64] y) <float[512,64] w> {
        x = Concat<axis = 1>(user, item) m = Mul(x, item_s) y = MatMul(m, w)
    }"""
    applied = optimized(text)[1]
    assert {"row-scale", "gated-fields"} & set(applied)
    assert RULE not in applied
