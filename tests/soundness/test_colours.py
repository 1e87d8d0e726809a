"""A second opinion on the colours: what is proven the same for every candidate is seen to be the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mari_onnx
from mari_onnx.analysis import Analysis, CandidateAxis, Side
from mari_onnx.columns import columns_text
from mari_onnx.probe import Feeds, Finding, alike, equal_along, probe
from models.catalog import Exported, draw, exported
from tests.soundness.generate import Generated
from tests.soundness.models import random_model

MODELS = exported()
CANDIDATES = 61
"""A prime larger than the sizes in the models, so that an axis of so many entries is the candidates."""

ALIKE_BY_CHANCE = frozenset({"Where", "Cast", "If"})
"""Like a comparison, what is chosen by a mask may be the same for all items of a draw; an If is not looked into."""

AND_IN = {
    "dien_dyn": frozenset({"Mul"}),  # of an item's gate and the first state, which is 0; it could be inf * 0
    "keras_din_tf17": frozenset({"Mul", "Add"}),  # a Where as tf2onnx writes it, for ids that count from the end
}


def user_specs(meta: Exported) -> list[str]:
    if meta.user_columns is None:
        return list(meta.user_inputs)
    (stacked,) = [s["name"] for s in meta.inputs if s["side"] == "stacked"]
    return [f"{stacked}[:, {columns_text(meta.user_columns)}]"]


def draws(meta: Exported) -> list[Feeds]:
    """One user, and other items in each draw."""
    batch = meta.fixed_batch or CANDIDATES
    first, second = (dict(draw(meta, batch, seed)[1]) for seed in (1, 2))
    for spec in meta.inputs:
        name = spec["name"]
        if spec["side"] == "user":
            second[name] = first[name]
        elif spec["side"] == "stacked":
            columns = list(meta.user_columns or ())
            second[name][:, columns] = first[name][:, columns]
    return [first, second]


def with_long_histories(meta: Exported) -> Exported:
    """Of padding the attention is 0 for every candidate, which is so by chance."""
    specs = [dict(s) for s in meta.inputs]
    for spec in specs:
        if "maxlen" in spec["gen"]:
            spec["gen"] = spec["gen"] | {"min_len": spec["gen"]["maxlen"]}
    return replace(meta, inputs=tuple(specs))


def bugs(findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in findings if f.is_bug]


@pytest.mark.parametrize("meta", MODELS, ids=lambda m: m.name)
def test_exported_models_have_no_wrong_colour(meta: Exported) -> None:
    analysis = mari_onnx.analyze(meta.path, user_specs(meta))
    findings = probe(meta.path, analysis, draws(meta))
    assert not bugs(findings)
    # All that follows from a stacked input is mixed: its columns are the rules' business.
    assert meta.user_columns is not None or any(f.side is Side.USER for f in findings)


@pytest.mark.parametrize("meta", [m for m in MODELS if m.user_columns is None], ids=lambda m: m.name)
def test_little_of_the_exported_models_is_missed(meta: Exported) -> None:
    analysis = mari_onnx.analyze(meta.path, user_specs(meta))
    findings = probe(meta.path, analysis, draws(with_long_histories(meta)))
    alike_by_chance = ALIKE_BY_CHANCE | AND_IN.get(meta.name, frozenset())
    missed = [f for f in findings if f.is_missed and f.op not in alike_by_chance]
    assert not [f for f in missed if f.bytes > f.elements], "other values than masks"


@st.composite
def models(draw_: st.DrawFn) -> Generated:
    return random_model(lambda number: draw_(st.integers(0, number - 1)))


@given(models())
def test_generated_models_have_no_wrong_colour(generated: Generated) -> None:
    check_colours(generated)


@given(st.randoms(use_true_random=False))
def test_many_generated_models_have_no_wrong_colour(random: object) -> None:
    for _ in range(4):
        check_colours(random_model(random.randrange))  # type: ignore[attr-defined]


def check_colours(generated: Generated) -> None:
    analysis = mari_onnx.analyze(generated.model, generated.user_inputs)
    for batch in generated.batches()[-2:]:
        feeds = [generated.feeds(batch, seed) for seed in (1, 2)]
        assert not bugs(probe(generated.model, analysis, feeds))
        for feed in feeds:
            check_item_side(generated, analysis, feed, batch)


def check_item_side(generated: Generated, analysis: Analysis, feeds: Feeds, batch: int) -> None:
    """Values that are said not to depend on the user are the same for another user."""
    other = dict(feeds)
    for given_input in generated.inputs:
        if given_input.user:
            name = given_input.value.name
            other[name] = np.flip(feeds[name], -1) if feeds[name].dtype != bool else ~feeds[name]
        elif given_input.columns is not None:
            return
    assert not bugs(probe(generated.model, without_axes(analysis), [feeds, other]))


def without_axes(analysis: Analysis) -> Analysis:
    """Item-side values seen as if they had no candidate axis: two draws with the same items must agree on them."""
    facts = {
        name: replace(fact, axis=None, varies=False, sized=False)
        for name, fact in analysis.facts.items()
        if fact.side is Side.ITEM
    }
    return replace(analysis, facts=facts)


def test_probe_sees_a_value_that_varies() -> None:
    assert equal_along(np.ones((2, 3)), CandidateAxis(0), 2)
    assert not equal_along(np.array([[1.0], [2.0]]), CandidateAxis(0), 2)
    assert equal_along(np.array([1, 2, 1, 2]), CandidateAxis(0, 1, 2), 2)
    assert not equal_along(np.array([1, 2, 1, 2]), CandidateAxis(0, 2, 1), 2)
    assert not equal_along(np.ones((3, 2)), CandidateAxis(0), 2), "an axis of another size is not the candidates"
    assert alike(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]))
    assert not alike(np.array(["a"], object), np.array(["b"], object))
