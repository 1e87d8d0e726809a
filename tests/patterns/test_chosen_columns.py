"""x W = x[I] W[I] + x[J] W[J]."""

from __future__ import annotations

import numpy as np
import pytest

from tests.patterns.support import Outcome, apply

RULE = "chosen-columns"

LEFT, RIGHT = np.triu_indices(5, 1)
BOTH_USERS = int(((LEFT < 3) & (RIGHT < 3)).sum())


def widths(outcome: Outcome, op: str) -> set[int]:
    """Rows of the weights that nodes of an operator read on the right."""
    weights = outcome.workspace.graph.weights
    return {weights[n.input[1]].shape[0] for n in outcome.of(op) if n.input[1] in weights}


PAIRS = """score (float[B,3,2] user, float[B,2,2] item) => (float[B,4] y) <float[10,4] w> {
    x = Concat<axis = 1>(user, item)
    a = Gather<axis = 1>(x, left)
    b = Gather<axis = 1>(x, right)
    p = Mul(a, b)
    s = ReduceSum<keepdims = 0>(p, last)
    y = MatMul(s, w)
}"""


def test_products_of_pairs_of_fields() -> None:
    outcome = apply(RULE, PAIRS, left=LEFT, right=RIGHT, last=np.array([2]))
    assert outcome.times == 1
    assert widths(outcome, "MatMul") == {BOTH_USERS}
    assert widths(outcome, "Gemm") == {len(LEFT) - BOTH_USERS}
    products = {outcome.size_of(n.output[0])[:2] for n in outcome.of("Mul")}
    assert (1, BOTH_USERS) in products
    assert len(products) == 2


def test_pairs_with_a_weight_of_their_own_flattened() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item) => (float[B,4] y)
        <float[10,2,2] kernel, float[4,20] w, float[4] c> {
            x = Concat<axis = 1>(user, item)
            a = Gather<axis = 1>(x, left)
            b = Gather<axis = 1>(x, right)
            t = Einsum<equation = "bpd,pde->bpe">(a, kernel)
            p = Mul(t, b)
            f = Flatten<axis = 1>(p)
            y = Gemm<transB = 1, alpha = 2.0>(f, w, c)
        }""",
        left=LEFT,
        right=RIGHT,
    )
    assert outcome.times == 1
    kernels = {outcome.workspace.graph.weights[n.input[1]].shape for n in outcome.of("Einsum")}
    assert kernels == {(BOTH_USERS, 2, 2), (len(LEFT) - BOTH_USERS, 2, 2)}


def test_an_outer_product_of_fields_in_front_of_a_convolution() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item) => (float[B,4,2] y) <float[4,25,1] w, float[4] c> {
            x = Concat<axis = 1>(user, item)
            o = Einsum<equation = "bhd,bfd->bhfd">(x, x)
            f = Reshape(o, shape)
            y = Conv(f, w, c)
        }""",
        shape=np.array([0, 25, 2]),
    )
    assert outcome.times == 1
    channels = {outcome.workspace.graph.weights[n.input[1]].shape[1] for n in outcome.of("Conv")}
    assert channels == {9, 16}


def test_a_reshape_that_cuts_columns_into_fields_is_followed_as_well() -> None:
    outcome = apply(
        RULE,
        """score (float[B,6] user, float[B,4] item) => (float[B,3] y) <float[10,3] w> {
            x = Concat<axis = 1>(user, item)
            f = Reshape(x, fields)
            r = Relu(f)
            t = Transpose<perm = [0, 2, 1]>(r)
            k = Reshape(t, flat)
            y = MatMul(k, w)
        }""",
        fields=np.array([0, 5, 2]),
        flat=np.array([0, 10]),
    )
    assert outcome.times == 1
    assert widths(outcome, "MatMul") == {6}
    assert widths(outcome, "Gemm") == {4}


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_in_older_and_newer_opsets(opset: int) -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item) => (float[B,4] y) <float[20,4] w> {
            x = Concat<axis = 1>(user, item)
            a = Gather<axis = 1>(x, left)
            b = Gather<axis = 1>(x, right)
            p = Mul(a, b)
            f = Flatten<axis = 1>(p)
            y = MatMul(f, w)
        }""",
        opset=opset,
        left=LEFT,
        right=RIGHT,
    )
    assert outcome.times == 1


def test_not_where_the_columns_are_joined_right_in_front() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3] user, float[B,2] item) => (float[B,4] y) <float[5,4] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 0


def test_not_where_each_column_needs_an_item() -> None:
    outcome = apply(
        RULE,
        """score (float[B,3,2] user, float[B,2,2] item) => (float[B,5,4] y) <float[2,4] w> {
            x = Concat<axis = 1>(user, item)
            y = MatMul(x, w)
        }""",
    )
    assert outcome.times == 0


@pytest.mark.parametrize("fields", [4, 60])
def test_scattered_columns_are_picked(fields: int) -> None:
    names = [f"{'user' if k % 2 else 'item'}{k}" for k in range(fields)]
    outcome = apply(
        RULE,
        f"""score ({", ".join(f"float[B,2] {name}" for name in names)}) => (float[B,4] y) <float[{2 * fields},4] w> {{
            x = Concat<axis = 1>({", ".join(names)})
            r = Relu(x)
            y = MatMul(r, w)
        }}""",
    )
    assert outcome.times == 1
    assert widths(outcome, "MatMul") == {fields}
    assert widths(outcome, "Gemm") == {fields}
