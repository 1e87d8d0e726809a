"""P (G W + c) = (P G) W + c."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "late-values"
HEADS = "r = Reshape(k, laid) t = Transpose<perm = [0, 2, 1, 3]>(r)"
SOFTMAX = "p = Softmax<axis = -1>(item_s)"
BIAS = "m = MatMul(item, w) k = Add(m, c)"


def mixture(
    nodes: str,
    shape: str = "B,2,1,5",
    result: str = "B,2,1,3",
    *,
    kind: str = "float",
    opset: int = 17,
    exact: bool = False,
) -> Outcome:
    """One mixture for each head of five rows of each candidate."""
    text = f"""score ({kind}[B,5,8] item, {kind}[{shape}] item_s) => ({kind}[{result}] y)
        <int64[4] laid = {{0, 5, 2, 3}}, {kind}[8,6] w, {kind}[6] c> {{ {nodes} }}"""
    return apply(RULE, text, opset=opset, exact=exact)


@pytest.mark.parametrize("kind", ["float", "double"])
@pytest.mark.parametrize("opset", [11, 17])
def test_rows_are_mixed_before_the_layer(opset: int, kind: str) -> None:
    outcome = mixture(f"{SOFTMAX} {BIAS} {HEADS} y = MatMul(p, t)", kind=kind, opset=opset)
    assert outcome.times == 1
    sizes = [outcome.size_of(n.output[0])[1:] for n in outcome.of("MatMul")]
    assert sizes == [(2, 8), (2, 1, 3)]


def test_any_weights_where_no_bias_is_added() -> None:
    assert mixture(f"k = MatMul(item, w) {HEADS} y = MatMul(item_s, t)", exact=True).times == 1


def test_without_heads() -> None:
    assert mixture("k = MatMul(item, w) y = MatMul(item_s, k)", "B,2,5", "B,2,6", exact=True).times == 1
    assert mixture(f"{SOFTMAX} {BIAS} y = MatMul(p, k)", "B,2,5", "B,2,6").times == 1


def test_several_mixtures_for_each_head() -> None:
    assert mixture(f"{SOFTMAX} {BIAS} {HEADS} y = MatMul(p, t)", "B,2,2,5", "B,2,2,3").times == 1


@pytest.mark.parametrize(
    ("nodes", "shape", "result"),
    [
        (f"{BIAS} {HEADS} y = MatMul(item_s, t)", "B,2,1,5", "B,2,1,3"),
        (f"p = Softmax<axis = 1>(item_s) {BIAS} {HEADS} y = MatMul(p, t)", "B,2,1,5", "B,2,1,3"),
        (f"{SOFTMAX} {BIAS} {HEADS} y = MatMul(p, t)", "B,2,3,5", "B,2,3,3"),
        (f"{SOFTMAX} m = MatMul(item, w) n = Relu(m) k = Add(n, c) {HEADS} y = MatMul(p, t)", "B,2,1,5", "B,2,1,3"),
    ],
    ids=["weights of another sum", "a Softmax along heads", "many mixtures", "an activation"],
)
def test_not_of_anything_else(nodes: str, shape: str, result: str) -> None:
    assert mixture(nodes, shape, result).times == 0


@pytest.mark.parametrize(("weights", "times"), [("Reciprocal(item_s)", 0), ("Sigmoid(item_s)", 1)])
def test_not_with_weights_that_may_be_infinite(weights: str, times: int) -> None:
    outcome = mixture(f"k = MatMul(item, w) p = {weights} y = MatMul(p, k)", "B,2,5", "B,2,6")
    assert outcome.times == times


def test_not_in_half_precision() -> None:
    assert mixture(f"{SOFTMAX} {BIAS} {HEADS} y = MatMul(p, t)", kind="float16").times == 0


def test_a_bias_stays_out_where_there_may_be_no_rows() -> None:
    """A mixture of no rows is zero; a bias behind it would not be."""
    text = """score (float[B,T,8] item, float[B,1,T] item_s) => (float[B,1,6] y) <float[8,6] w, float[6] c>
        { p = Softmax<axis = -1>(item_s) m = MatMul(item, w) k = Add(m, c) y = MatMul(p, k) }"""
    assert apply(RULE, text).times == 0


def test_what_is_no_number_stays_so() -> None:
    """A row of weights that are no numbers makes a row that is none, with the bias as without."""
    text = """score (float[B,5,8] item, float[B,1,5] item_s) => (float[B,1,6] y) <float[8,6] w, float[6] c, float low>
        { z = Mul(item_s, low) p = Softmax<axis = -1>(z) m = MatMul(item, w) k = Add(m, c) y = MatMul(p, k) }"""
    assert apply(RULE, text, exact=False, low=np.array(np.nan, np.float32)).times == 1
