"""[P_u, P_i] [V_u; V_i] = P_u V_u + P_i V_i."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply

RULE = "split-mixing"

TOKENS = "float[B,3,4] user, float[B,2,4] item"
JOIN = "v = Concat<axis = 1>(user, item)"


def widths(outcome: Outcome) -> set[object]:
    """What the left operands of the products are wide."""
    return {(outcome.size_of(node.input[0]) or ())[-1] for node in outcome.of("MatMul")}


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_values_of_the_user_are_not_copied(opset: int) -> None:
    outcome = apply(
        RULE,
        f"score ({TOKENS}, float[B,1,5] item_p) => (float[B,1,4] y) {{ {JOIN} y = MatMul(item_p, v) }}",
        opset=opset,
    )
    assert outcome.times == 1
    assert widths(outcome) == {3, 2}


def test_heads() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,3,4] user, float[B,2,2,4] item, float[B,2,6,5] item_p) => (float[B,2,6,4] y) {
            v = Concat<axis = -2>(user, item)
            y = MatMul(item_p, v)
        }""",
    )
    assert outcome.times == 1


def test_from_the_left() -> None:
    outcome = apply(
        RULE,
        """score (float[B,4,3] user, float[B,4,2] item, float[B,5,6] item_p) => (float[B,4,6] y) {
            v = Concat<axis = 2>(user, item)
            y = MatMul(v, item_p)
        }""",
    )
    assert outcome.times == 1
    assert widths(outcome) == {3, 2}


def test_what_mixes_is_computed_in_two_pieces() -> None:
    """Up to the product that makes it, through what works on each entry."""
    outcome = apply(
        RULE,
        f"""score ({TOKENS}, float[B,1,4] item_q) => (float[B,1,4] y) <float[1,1,5] b, float[B1] s> {{
            {JOIN}
            t = Transpose<perm = [0, 2, 1]>(v)
            p = MatMul(item_q, t)
            a = Add(p, b)
            r = Relu(a)
            y = MatMul(r, v)
        }}""".replace(", float[B1] s", ""),
    )
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 4
    assert outcome.ops["Slice"] == 0
    assert outcome.ops["Relu"] == 2


def test_a_softmax_is_cut() -> None:
    outcome = apply(
        RULE,
        f"""score ({TOKENS}, float[B,1,5] item_p) => (float[B,1,4] y) {{
            {JOIN} p = Softmax<axis = 2>(item_p) y = MatMul(p, v)
        }}""",
        exact=False,
    )
    assert outcome.times == 1
    assert outcome.ops["Softmax"] == 1
    assert outcome.ops["Slice"] == 2


def test_what_the_user_mixes_is_a_product_of_one_row() -> None:
    outcome = apply(
        RULE, f"score ({TOKENS}, float[B,6,5] user_p) => (float[B,6,4] y) {{ {JOIN} y = MatMul(user_p, v) }}"
    )
    assert outcome.times == 1
    assert {(outcome.size_of(n.output[0]) or ())[0] == 1 for n in outcome.of("MatMul")} == {True, False}


LAYOUTS = [
    "p = Transpose<perm = [0, 2, 1]>(x)",
    "o = Constant<value_ints = [1]>() a = Unsqueeze(x, o) b = Squeeze(a, o) p = Transpose<perm = [0, 2, 1]>(b)",
    "n = Constant<value_ints = [0, 1, 5, 6]>() a = Reshape(x, n) k = Constant<value_ints = [0, 5, 6]>()"
    " b = Reshape(a, k) p = Transpose<perm = [0, 2, 1]>(b)",
    "n = Constant<value_ints = [2]>() z = Constant<value_ints = [4]>() a = Slice(x, n, z, n)"
    " b = Concat<axis = 2>(a, x, a) c, d = Split<axis = 2>(b, at) p = Transpose<perm = [0, 2, 1]>(d)",
    "p0 = LayerNormalization<axis = -1>(x, gain) p = Transpose<perm = [0, 2, 1]>(p0)",
    "g = Gather<axis = 1>(x, n) p = Transpose<perm = [0, 2, 1]>(g)",
]


@pytest.mark.parametrize("body", LAYOUTS)
def test_pieces_of_any_layout(body: str) -> None:
    rows = 4 if "Split" in body else 6
    weights: dict[str, np.ndarray] = {}
    if "at)" in body:
        weights["at"] = np.array([6, 4])
    if "gain" in body:
        weights["gain"] = np.ones(6, np.float32)
    if "Gather" in body:
        weights["n"] = np.array([3, 0, 1, 2, 4])
    declared = {"at": "int64[2] at", "gain": "float[6] gain", "n": "int64[5] n"}
    names = ", ".join(declared[name] for name in weights)
    outcome = apply(
        RULE,
        f"""score ({TOKENS}, float[B,5,6] item_x) => (float[B,{rows},4] y) {f"<{names}>" if names else ""} {{
            {JOIN} {body.replace("(x", "(item_x").replace(", x,", ", item_x,")} y = MatMul(p, v)
        }}""",
        exact="LayerNorm" not in body,
        **weights,
    )
    assert outcome.times == 1


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 3)), min_size=2, max_size=4).filter(
        lambda parts: len({side for side, _ in parts}) == 2
    )
)
def test_any_order_of_tokens(parts: list[tuple[bool, int]]) -> None:
    names = [f"{'user' if user else 'item'}{index}" for index, (user, _) in enumerate(parts)]
    declared = ", ".join(f"float[B,{n},2] {name}" for name, (_, n) in zip(names, parts, strict=True))
    outcome = apply(
        RULE,
        f"""score ({declared}, float[B,1,{sum(n for _, n in parts)}] item_p) => (float[B,1,2] y) {{
            v = Concat<axis = 1>({", ".join(names)})
            y = MatMul(item_p, v)
        }}""",
    )
    assert outcome.times == 1
    assert outcome.ops["MatMul"] == 2


# -- does not fire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (f"{JOIN} y = MatMul(w, v)", "B,6,4"),  # a weight: another rule's
        (f"{JOIN} t = Transpose<perm = [0, 2, 1]>(v) y = MatMul(item_q, t)", "B,1,5"),
        ("v = Concat<axis = 1>(item, item) y = MatMul(item_5, v)", "B,1,4"),
        ("v = Concat<axis = 1>(user, user) y = MatMul(item_6, v)", "B,1,4"),
    ],
)
def test_not_otherwise(body: str, result: str) -> None:
    inputs = f"{TOKENS}, float[B,1,4] item_q, float[B,1,4] item_5, float[B,1,6] item_6"
    assert apply(RULE, f"score ({inputs}) => (float[{result}] y) <float[6,5] w> {{ {body} }}").times == 0
