"""softmax([s, low]) = softmax([s, -inf]), where [u, i] tell which s there are."""

from __future__ import annotations

import numpy as np
import pytest

from mari_onnx.pipeline import optimize
from tests.patterns.support import Outcome, apply
from tests.patterns.test_padding_rows import MASKS, WEIGHTS, T, masked, text, worst

RULE = "padding-of-items"

BOTH = "both_seen = Concat<axis = 1>(user_seen, item_seen)"
SEEN = f"{BOTH} seen = Or(both_seen, own)"
INPUTS = f"bool[B,{T - 1}] user_seen, bool[B,1] item_seen"
SPREAD = "bool[B,2] user_seen, bool[B,2] item_seen"


def run(mask: str = MASKS["where"], *, seen: str = SEEN, inputs: str = INPUTS, **weights: np.ndarray) -> Outcome:
    """The rule at work, with every mask that there is of the user's tokens, and any of the items'."""
    outcome = apply(RULE, text(mask, seen=seen, inputs=inputs, **weights), **{**WEIGHTS, **weights})
    assert worst(outcome.original, outcome.result) == 0
    return outcome


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_masks(mask: str) -> None:
    outcome = run(mask)
    assert outcome.times == 2
    assert -np.inf in masked(outcome)


@pytest.mark.parametrize(
    ("seen", "inputs"),
    [
        (SEEN, SPREAD),
        ("seen = Or(item_seen, own)", f"bool[B,{T}] item_seen"),
        (f"{BOTH} other = And(both_seen, item_other) seen = Or(other, own)", f"{INPUTS}, bool[B,{T}] item_other"),
    ],
    ids=["the last two", "all", "twice"],
)
def test_truths_of_each_candidate(seen: str, inputs: str) -> None:
    assert run(seen=seen, inputs=inputs).times == 2


def test_a_last_token_that_may_be_padding() -> None:
    """Where all tokens are, it sees all of them alike."""
    outcome = run(seen=f"{BOTH} seen = Identity(both_seen)")
    assert outcome.times == 0
    assert any("is read by" in reason for reason in outcome.reasons)


def test_masks_of_the_user_are_for_the_other_rule() -> None:
    assert run(seen="seen = Or(user_seen, own)", inputs=f"bool[B,{T}] user_seen").times == 0


def test_user_tokens_run_once() -> None:
    """The masks of all layers together pay, though that of none does."""
    model = apply(RULE, text(seen=SEEN, inputs=INPUTS), **WEIGHTS).original
    separated = optimize(model, user_inputs=["user*"], verify=False, candidates=512)
    without = optimize(model, user_inputs=["user*"], verify=False, candidates=512, disable=[RULE])
    assert RULE in {applied.rule for applied in separated.applied}
    assert worst(model, separated.model) < 1e-4
    assert separated.report.after.flops < 0.7 * without.report.after.flops
