"""(s (h U + b)) W = h (U diag(s) W) + (s b) W"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from tests.patterns.support import apply, at_work, model_of, sides_of

RULE = "scaled-product"
SIDES = "float[B,5] user, float[B,3] item, float[B,2] item_h"
WEIGHTS = "float[2,8] u, float[8,2] turned, float[8] b, float[8,1] w, float[1,8] flat, float[1] c, float[12,1] tall"


def text(body: str, outputs: str = "float[B,1] y", sides: str = SIDES) -> str:
    return f"score ({sides}) => ({outputs}) <{WEIGHTS}> {{ {body} }}"


HEAD = "s = Concat<axis = 1>(item, user) p = {product} m = Mul({order}) x = Add({sum}) y = {head}"


def cross(
    product: str = "Gemm(item_h, u, b)", order: str = "s, p", sum: str = "m, s", head: str = "Gemm(x, w, c)"
) -> str:
    return text(HEAD.format(product=product, order=order, sum=sum, head=head))


@pytest.mark.parametrize(
    "product",
    [
        "Gemm(item_h, u, b)",
        "Gemm(item_h, u)",
        "Gemm<alpha = 2.0>(item_h, u, b)",
        "Gemm<transB = 1, alpha = 2.0>(item_h, turned, b)",
        "MatMul(item_h, u)",
    ],
)
@pytest.mark.parametrize(
    "head", ["Gemm(x, w, c)", "Gemm<transB = 1>(x, flat)", "Gemm<alpha = 3.0>(x, w, c)", "MatMul(x, w)"]
)
def test_the_end_of_a_cross_network(product: str, head: str) -> None:
    outcome = apply(RULE, cross(product=product, head=head))
    assert outcome.times == 1
    wide = [outcome.size_of(node.output[0]) for node in outcome.of("Gemm")]
    assert not any(len(size) == 2 and size[1] == 8 for size in wide), "all columns of the layer are still made"


@pytest.mark.parametrize("order", ["s, p", "p, s"])
@pytest.mark.parametrize("sum", ["m, s", "s, m"])
def test_operands_in_any_order(order: str, sum: str) -> None:
    assert apply(RULE, cross(order=order, sum=sum)).times == 1


def test_nothing_added_and_nothing_beside() -> None:
    body = "s = Concat<axis = 1>(user, item) p = Gemm(item_h, u, b) m = Mul(s, p) y = MatMul(m, w)"
    assert apply(RULE, text(body)).times == 1


@pytest.mark.parametrize("order", ["x, deep", "deep, x"])
def test_columns_beside(order: str) -> None:
    body = f"""s = Concat<axis = 1>(user, item)
        p = Gemm(item_h, u, b)
        m = Mul(s, p)
        x = Add(m, s)
        deep = Relu(item_d)
        all = Concat<axis = 1>({order})
        y = Gemm(all, tall, c)"""
    assert apply(RULE, text(body, sides=f"{SIDES}, float[B,4] item_d")).times == 1


def test_scales_of_the_user_alone() -> None:
    body = "p = Gemm(item_h, u, b) m = Mul(user_s, p) y = Gemm(m, w, c)"
    outcome = apply(RULE, text(body, sides="float[B,8] user_s, float[B,2] item_h"))
    assert outcome.times == 1
    assert "Expand" not in outcome.ops


@pytest.mark.parametrize("sum", ["m, once", "once, m", "m, item_r"])
def test_one_row_of_scales(sum: str) -> None:
    """As it is where an Expand has been left out, since Mul and Add broadcast by themselves."""
    body = f"p = Gemm(item_h, u, b) m = Mul(once, p) x = Add({sum}) y = Gemm(x, w, c)"
    outcome = apply(RULE, text(body, sides="float[1,8] once, float[B,2] item_h, float[B,8] item_r"), batches=(0, 1, 7))
    assert outcome.times == 1
    assert "Mul" not in {n.op_type for n in outcome.result.graph.node if outcome.size_of(n.output[0])[0] != 1}


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("s = Concat<axis = 1>(user, item) p = Gemm(item_h, u, b) m = Mul(s, p) y = MatMul(m, w)", ", float[B,8] p"),
        ("s = Concat<axis = 1>(user, item) p = Gemm(item_h, u, b) m = Mul(s, p) y = MatMul(m, w)", ", float[B,8] m"),
        ("s = Concat<axis = 1>(item, item, item_h) p = Gemm(item_h, u, b) m = Mul(s, p) y = MatMul(m, w)", ""),
        ("s = Concat<axis = 1>(user, item) p = Gemm(item_h, u, b) q = Relu(p) m = Mul(s, q) y = MatMul(m, w)", ""),
        ("s = Concat<axis = 1>(user, item) p = Gemm(item_h, u, b) m = Mul(p, p) y = MatMul(m, w)", ""),
        # What may be infinite has one sign in front of the product, and both behind it.
        ("r = Log(user) s = Concat<axis = 1>(r, item) p = Gemm(item_h, u, b) m = Mul(s, p) y = MatMul(m, w)", ""),
        ("p = Gemm(item_h, u, b) s = ReduceMean<axes = [1]>(user) m = Mul(s, p) y = MatMul(m, w)", ""),
    ],
)
def test_not_elsewhere(body: str, outputs: str) -> None:
    assert apply(RULE, text(body, f"float[B,1] y{outputs}")).times == 0


@pytest.mark.parametrize(("columns", "times"), [(1, 1), (512, 0)])
def test_kept_where_it_pays(columns: int, times: int) -> None:
    """A head of one number; for many columns the matrix in between takes longer than it saves."""
    sides = "float[B,900] user, float[B,100] item, float[B,64] item_h"
    weights = f"float[64,1000] u, float[1000] b, float[1000,{columns}] w"
    body = HEAD.format(product="Gemm(item_h, u, b)", order="s, p", sum="m, s", head="MatMul(x, w)")
    model = model_of(f"score ({sides}) => (float[B,{columns}] y) <{weights}> {{ {body} }}")
    rules = [r for r in RULES if r.name == RULE]
    assert len(rewrite(at_work(model, sides_of(model)), rules, CostModel(candidates=64)).applied) == times


@given(
    sizes=st.lists(st.tuples(st.sampled_from(["user", "item"]), st.integers(1, 3)), min_size=1, max_size=4).filter(
        lambda parts: any(side == "user" for side, _ in parts)
    ),
    rank=st.integers(1, 3),
    columns=st.integers(1, 3),
    added=st.booleans(),
)
def test_scattered_columns(sizes: list[tuple[str, int]], rank: int, columns: int, added: bool) -> None:
    names = [f"{side}_{index}" for index, (side, _) in enumerate(sizes)]
    sides = ", ".join(f"float[B,{size}] {name}" for name, (_, size) in zip(names, sizes, strict=True))
    width = sum(size for _, size in sizes)
    outcome = apply(
        RULE,
        f"""score ({sides}, float[B,{rank}] item_h) => (float[B,{columns}] y)
            <float[{rank},{width}] u, float[{width}] b, float[{width},{columns}] w> {{
                s = Concat<axis = -1>({", ".join(names)})
                p = Gemm(item_h, u, b)
                m = Mul(s, p)
                x = {"Add(m, s)" if added else "Identity(m)"}
                y = MatMul(x, w)
            }}""",
        batches=(0, 1, 2, 7),
    )
    assert outcome.times == 1


@pytest.mark.parametrize("tokens", [1, 3])
def test_scales_of_several_tokens_are_no_row(tokens: int) -> None:
    """As many tokens as the second weight has columns: shapes would fit."""
    sides = f"float[B,{tokens},8] user_s, float[B,{tokens},2] item_h"
    body = """flat = Constant<value_ints = [-1, 8]>() pairs = Constant<value_ints = [-1, 2]>()
        s = Reshape(user_s, flat) h = Reshape(item_h, pairs) p = MatMul(h, u) m = Mul(p, s) y = MatMul(m, wide)"""
    model = f"score ({sides}) => (float[N,3] y) <float[2,8] u, float[8,3] wide> {{ {body} }}"
    assert apply(RULE, model).times == (tokens == 1)
