"""[P_uu, 0] [V_u; V_i] = P_uu V_u."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns.support import Outcome, apply

RULE = "masked-product"

F32 = np.float32
LOWER = np.tril(np.ones((5, 5), F32))
"""Causal: the three tokens of the user do not see the two of the item."""

BLOCKS = np.array([[1, 1, 1, 0, 0]] * 3 + [[1, 1, 1, 1, 0], [1, 1, 1, 0, 1]], F32)


def mixed(
    nodes: str, *, tokens: str = "float[B,3,2] user, float[B,2,2] item", result: str = "B,5,2", **weights: object
) -> Outcome:
    """The rule on what mixes the tokens x of user and item, [B, 3 + 2, 2], into y."""
    exact = bool(weights.pop("exact", True))
    return apply(
        RULE,
        f"""score ({tokens}) => (float[{result}] y) {{
            x = Concat<axis = 1>(user, item)
            {nodes}
        }}""",
        exact=exact,
        **weights,
    )


def products_once(outcome: Outcome) -> int:
    return sum(outcome.size_of(node.output[0])[0] == 1 for node in outcome.of("MatMul"))


SCORES = """t = Transpose<perm = [0, 2, 1]>(x)
    s = MatMul(x, t)"""


# -- fires -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [LOWER, BLOCKS, LOWER[np.newaxis]])
def test_a_mixing_weight_with_zeros(weight: np.ndarray) -> None:
    outcome = mixed("y = MatMul(p, x)", p=weight)
    assert outcome.times == 1
    assert products_once(outcome) == 1


def test_from_the_right() -> None:
    outcome = apply(
        RULE,
        """score (float[B,2,3] user, float[B,2,2] item) => (float[B,2,5] y) {
            x = Concat<axis = 2>(user, item)
            y = MatMul(x, p)
        }""",
        p=LOWER.T.copy(),
    )
    assert outcome.times == 1
    assert products_once(outcome) == 1


@pytest.mark.parametrize("mask", [LOWER, BLOCKS])
@pytest.mark.parametrize("order", ["s, m", "m, s"])
def test_a_mask_multiplied_onto_scores(order: str, mask: np.ndarray) -> None:
    outcome = mixed(f"{SCORES} p = Mul({order}) y = MatMul(p, x)", m=mask)
    assert outcome.times == 1
    assert products_once(outcome) >= 1


@pytest.mark.parametrize("far", [-np.inf, -1e9, np.finfo(F32).min])
def test_a_mask_added_in_front_of_a_softmax(far: float) -> None:
    mask = np.where(LOWER > 0, 0, far).astype(F32)
    outcome = mixed(f"{SCORES} a = Add(s, m) p = Softmax<axis = -1>(a) y = MatMul(p, x)", m=mask, exact=False)
    assert outcome.times == 1
    assert products_once(outcome) >= 1


def test_a_mask_chosen_by_where() -> None:
    outcome = mixed(
        f"{SCORES} a = Where(m, s, far) p = Softmax<axis = -1>(a) y = MatMul(p, x)",
        m=LOWER > 0,
        far=F32(-1e9),
        exact=False,
    )
    assert outcome.times == 1


def test_the_whole_layer_of_the_user_runs_once() -> None:
    """Queries, scores, softmax and mixing of the user's rows depend on the user's tokens alone."""
    outcome = mixed(
        """q = MatMul(x, w)
        t = Transpose<perm = [0, 2, 1]>(x)
        s = MatMul(q, t)
        a = Add(s, m)
        p = Softmax<axis = -1>(a)
        y = MatMul(p, x)""",
        m=np.where(LOWER > 0, 0, -np.inf).astype(F32),
        w=np.eye(2, dtype=F32),
        exact=False,
    )
    assert outcome.times == 1
    assert sum(outcome.size_of(node.output[0])[0] == 1 for node in outcome.of("Softmax")) == 1


# -- does not fire -----------------------------------------------------------------------------------------------------


def test_not_without_zeros() -> None:
    assert mixed("y = MatMul(p, x)", p=LOWER + 1).times == 0


def test_not_where_only_items_are_cut_off() -> None:
    """The user's tokens need the items': nothing can be done once. What is left out of the items' rows may be."""
    outcome = mixed("y = MatMul(p, x)", p=np.triu(np.ones((5, 5), F32)))
    assert products_once(outcome) == 0


def test_not_where_the_mask_is_given() -> None:
    text = """score (float[B,3,2] user, float[B,2,2] item, float[5,5] given) => (float[B,5,2] y) {
        x = Concat<axis = 1>(user, item)
        y = MatMul(given, x)
    }"""
    assert apply(RULE, text).times == 0


def test_not_where_the_mask_is_too_weak() -> None:
    """-1000 next to scores is small, and not nothing."""
    mask = np.where(LOWER > 0, 0, -1000).astype(F32)
    outcome = mixed(f"{SCORES} a = Add(s, m) p = Softmax<axis = -1>(a) y = MatMul(p, x)", m=mask, exact=False)
    assert outcome.times == 0


def test_not_where_what_is_masked_may_be_anything() -> None:
    """Zero times infinity is no zero: scores that come from outside are not known to be finite."""
    text = """score (float[B,3,2] user, float[B,2,2] item, float[B,5,5] item_s) => (float[B,5,2] y) {
        x = Concat<axis = 1>(user, item)
        p = Mul(item_s, m)
        y = MatMul(p, x)
    }"""
    assert apply(RULE, text, m=LOWER).times == 0


def test_not_where_the_softmax_is_over_other_entries() -> None:
    mask = np.where(LOWER > 0, 0, -np.inf).astype(F32)
    mask[4, :] = 0
    outcome = mixed(f"{SCORES} a = Add(s, m) p = Softmax<axis = 1>(a) y = MatMul(p, x)", m=mask, exact=False)
    assert outcome.times == 0


def test_not_where_rows_are_scattered() -> None:
    mask = np.array([[1, 1, 1, i % 2, i % 2] for i in range(12)], F32)
    outcome = mixed("y = MatMul(p, x)", p=mask, result="B,12,2")
    assert outcome.times == 0
    assert outcome.reasons == {"the rows that the mask cuts off are scattered"}


def test_not_where_all_tokens_are_on_one_side() -> None:
    text = """score (float[B,3,2] item, float[B,2,2] item2, float[B] user) => (float[B,5,2] y) {
        x = Concat<axis = 1>(item, item2)
        y = MatMul(p, x)
    }"""
    assert apply(RULE, text, p=LOWER).times == 0


# -- any model ---------------------------------------------------------------------------------------------------------

MIXING = {
    "weight": "y = MatMul(m, x)",
    "times": f"{SCORES} p = Mul(s, m) y = MatMul(p, x)",
    "twice": f"{SCORES} a = Mul(m, s) p = Mul(a, two) y = MatMul(p, x)",
    "softmax": f"{SCORES} a = Add(s, far) p = Softmax<axis = -1>(a) y = MatMul(p, x)",
    "where": f"{SCORES} a = Where(on, s, minus) p = Softmax<axis = -1>(a) y = MatMul(p, x)",
    "layers": f"{SCORES} p = Mul(s, m) h = MatMul(p, x) r = Relu(h) y = MatMul(p, r)",
}


@given(
    bits=st.lists(st.integers(0, 1), min_size=25, max_size=25),
    kind=st.sampled_from(sorted(MIXING)),
    sides=st.permutations(["user1", "item1", "user2", "item2", "user3"]),
    far=st.sampled_from([-np.inf, -1e9]),
)
def test_any_mask(bits: list[int], kind: str, sides: list[str], far: float) -> None:
    """Whatever a mask cuts off, the result is the same; rows that see nothing at all are left out of the question."""
    mask = np.array(bits, F32).reshape(5, 5)
    if kind in ("softmax", "where"):
        mask[:, 0] = np.maximum(mask[:, 0], mask.sum(1) == 0)
    given_ = {
        "m": mask,
        "far": np.where(mask > 0, 0, far).astype(F32),
        "on": mask > 0,
        "minus": F32(far),
        "two": F32(2),
    }
    text = MIXING[kind]
    outcome = apply(
        RULE,
        f"""score ({", ".join(f"float[B,1,2] {side}" for side in sides)}) => (float[B,5,2] y) {{
            x = Concat<axis = 1>({", ".join(sides)})
            {text}
        }}""",
        exact=kind not in ("softmax", "where"),
        **{
            name: array
            for name, array in given_.items()
            if f"({name}," in text or f", {name})" in text or f", {name}," in text
        },
    )
    assert outcome.times <= 2
