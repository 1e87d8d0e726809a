"""Whole random models: what comes out equals the original at every number of candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from unittest import mock

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mari_onnx
from mari_onnx.patterns import RULES
from mari_onnx.rewrite import engine
from tests.patterns.support import keeping_everything
from tests.soundness.generate import Generated
from tests.soundness.judge import NotRunnableError, Runner, difference
from tests.soundness.models import MEETING, random_model

MODELS_PER_EXAMPLE = 2
SHARES = 3
"""In so many tests, which run side by side."""
MET_WITHIN = 40
"""Models among which each rule that has building blocks of its own is met."""
NOISE = 1e-6
ILL_CONDITIONED = 300.0
"""Where inputs that differ by the noise give results that differ much more, two orders of addition may as well."""


@st.composite
def models(draw: st.DrawFn) -> Generated:
    return random_model(lambda number: draw(st.integers(0, number - 1)))


@given(models())
def test_result_equals_the_original(generated: Generated) -> None:
    check(generated)


@pytest.mark.parametrize("share", range(SHARES))
@given(random=st.randoms(use_true_random=False))
def test_result_equals_the_original_on_many(share: int, random: object) -> None:
    """The same without shrinking, and many times as fast."""
    for _ in range(MODELS_PER_EXAMPLE):
        seed = SHARES * random.getrandbits(48) + share  # type: ignore[attr-defined]
        check(random_model(Random(seed).randrange))


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
@settings(max_examples=8)
@given(random=st.randoms(use_true_random=False))
def test_each_rule_alone_wherever_it_matches(rule: str, random: object) -> None:
    with only(rule) as others:
        check(random_model(random.randrange, MEETING.get(rule, ())), disable=others)  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", MEETING)
def test_rules_meet_what_they_are_for(rule: str) -> None:
    """Graphs that a rule never matches say nothing of it."""
    with only(rule) as others:
        for seed in range(MET_WITHIN):
            made = random_model(Random(seed).randrange, MEETING[rule])
            if mari_onnx.optimize(made.model, user_inputs=made.user_inputs, verify=False, disable=others).applied:
                return
    pytest.fail(f"{rule} was never applied")


@contextmanager
def only(rule: str) -> Iterator[list[str]]:
    """One rule wherever it matches, and nothing else; the names of the others."""
    with (
        keeping_everything(),
        mock.patch.object(engine, "TRIALS_PER_NODE", 0),
        mock.patch.object(engine, "MAX_FOLLOWING", 60),
    ):
        yield [other.name for other in RULES if other.name != rule]


def check(generated: Generated, disable: Sequence[str] = ()) -> None:
    original = Runner(generated.model)
    result = mari_onnx.optimize(generated.model, user_inputs=generated.user_inputs, verify=False, disable=list(disable))
    narrowed_inputs(generated, result.model)
    optimized = Runner(result.model)
    for batch in generated.batches():
        for seed in range(2):
            feeds = generated.feeds(batch, seed, user_seed=seed)
            expected = original(feeds)
            found = optimized(generated.narrowed(feeds, result.model))
            problem = difference(expected, found, exact=generated.exact)
            if problem is not None and not generated.exact:
                assume(not is_ill_conditioned(original, feeds, expected, found))
            assert problem is None, f"{problem} at B = {batch}\n{onnx.printer.to_text(generated.model)}"


def narrowed_inputs(generated: Generated, model: onnx.ModelProto) -> None:
    """Every user input has one row, unless it is an output as well."""
    declared = {i.name: i.type.tensor_type.shape.dim for i in model.graph.input}
    outputs = {o.name for o in model.graph.output}
    for given_input in generated.inputs:
        name = given_input.value.name
        if given_input.user and name not in outputs:
            assert declared[name][given_input.axis].dim_value == 1


def is_ill_conditioned(
    original: Runner, feeds: dict[str, np.ndarray], expected: list[np.ndarray], found: list[np.ndarray]
) -> bool:
    """Whether a little noise on the inputs explains the difference."""
    rng = np.random.default_rng(0)
    noisy = {
        k: v * (1 + NOISE * rng.standard_normal(v.shape)).astype(v.dtype) if v.dtype.kind == "f" else v
        for k, v in feeds.items()
    }
    try:
        moved = original(noisy)
    except NotRunnableError:
        return False
    for left, right, shaken in zip(expected, found, moved, strict=True):
        if difference([left], [right]) is None:
            continue
        if left.shape != right.shape or left.dtype.kind != "f":
            return False
        with np.errstate(all="ignore"):
            gap, noise = np.nanmax(np.abs(left - right), initial=0), np.nanmax(np.abs(left - shaken), initial=0)
        if gap > ILL_CONDITIONED * noise:
            return False
    return True
