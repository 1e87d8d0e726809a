"""([u, i] + h G) W = u W_u + i W_i + h (G W)."""

from __future__ import annotations

import pytest

from tests.patterns.support import Outcome, apply

RULE = "residual-product"


def block(
    body: str,
    *,
    declared: str = "",
    weights: str = "float[2,8] g, float[8] c, float[8,4] w, float[4] b",
    opset: int = 17,
) -> Outcome:
    """A block over six columns of the user and two of the item; ``h`` is what it looks at."""
    return apply(
        RULE,
        f"""score (float[B,6] user, float[B,2] item, float[B,2] item_h) => (float[B,4] z)
        <{weights}{declared}> {{
            x = Concat<axis = 1>(user, item)
            h = Abs(item_h)
            {body}
            z = Abs(y)
        }}""",
        opset=opset,
    )


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize(
    "body",
    [
        "p = Gemm(h, g, c) s = Add(x, p) y = Gemm(s, w, b)",
        "p = Gemm(h, g, c) s = Add(p, x) y = Gemm(s, w)",
        "p = Gemm(h, g) s = Add(x, p) y = MatMul(s, w)",
        "p = MatMul(h, g) q = Add(p, c) s = Add(x, q) y = Gemm(s, w, b)",
        "p = MatMul(h, g) s = Add(x, p) t = Add(s, c) y = Gemm(s, w, b)",
        # Two blocks, of which the second looks at what the first has made.
        "p = Gemm(h, g, c) s = Add(x, p) k = Neg(h) q = Gemm(k, g, c) t = Add(s, q) y = Gemm(t, w, b)",
    ],
)
def test_a_block_is_never_made(body: str, opset: int) -> None:
    outcome = block(body, opset=opset)
    assert outcome.times == 1
    assert all(outcome.size_of(node.output[0])[-1] != 8 for node in outcome.result.graph.node if node.op_type == "Add")


@pytest.mark.parametrize("turned", [(0, 1), (1, 0), (1, 1)])
def test_weights_that_are_stored_transposed(turned: tuple[int, int]) -> None:
    first, second = ("8,2" if turned[0] else "2,8"), ("4,8" if turned[1] else "8,4")
    outcome = block(
        f"p = Gemm<transB = {turned[0]}>(h, g, c) s = Add(x, p) y = Gemm<transB = {turned[1]}, alpha = 2.0>(s, w, b)",
        weights=f"float[{first}] g, float[8] c, float[{second}] w, float[1,4] b",
    )
    assert outcome.times == 1


def test_the_next_block_reads_the_sum_as_well() -> None:
    outcome = block("p = Gemm(h, g, c) s = Add(x, p) v = Gemm(s, w, b) q = Abs(s) r = Gemm(q, w, b) y = Add(v, r)")
    assert outcome.times == 1


@pytest.mark.parametrize(
    "body",
    [
        # Nothing of the user by itself, nothing that is narrower, no sum, no constants.
        "o = Concat<axis = 1>(item, item, item, item) p = Gemm(h, g, c) s = Add(o, p) y = Gemm(s, w, b)",
        "p = Abs(x) s = Add(x, p) y = Gemm(s, w, b)",
        "p = Gemm(h, g, c) q = Relu(p) s = Add(x, q) y = Gemm(s, w, b)",
        "p = Gemm(h, g, c) s = Mul(x, p) y = Gemm(s, w, b)",
        "p = Gemm<alpha = 2.0>(h, g, c) s = Add(x, p) y = Gemm(s, w, b)",
        "p = Gemm(h, g, one) s = Add(x, p) y = Gemm(s, w, b)",
        "p = Gemm(h, g, c) s = Add(x, p) y = Gemm(s, w, one)",
    ],
)
def test_what_stays(body: str) -> None:
    assert block(body, declared=", float[1] one").times == 0


def test_what_may_be_infinite_stays_in_front_of_two_products() -> None:
    """With numbers of either sign it adds up to no number, with their sum it is infinite."""
    assert block("k = Div(h, item) p = Gemm(k, g, c) s = Add(x, p) y = Gemm(s, w, b)").times == 0
    assert block("k = Mul(h, item) p = Gemm(k, g, c) s = Add(x, p) y = Gemm(s, w, b)").times == 1
