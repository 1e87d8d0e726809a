"""What is proven of the values of whole random models, seen in a run of all of them."""

from __future__ import annotations

from random import Random

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mari_onnx
from mari_onnx.analysis import Fact
from mari_onnx.ir.dims import substitute
from tests.soundness.generate import Generated
from tests.soundness.head_blocks import heads_behind
from tests.soundness.judge import NotRunnableError, Runner
from tests.soundness.models import random_model

SHARES = 2
MODELS_PER_EXAMPLE = 2


@pytest.mark.parametrize("share", range(SHARES))
@given(random=st.randoms(use_true_random=False))
def test_what_is_proven_is_seen(share: int, random: object) -> None:
    for _ in range(MODELS_PER_EXAMPLE):
        seed = SHARES * random.getrandbits(48) + share  # type: ignore[attr-defined]
        check(random_model(Random(seed).randrange, [heads_behind] if share else []))


def test_blocks_and_what_is_alike_are_met() -> None:
    """A test of facts that never occur says nothing."""
    seen = dict.fromkeys(("blocks", "alike"), 0)
    for seed in range(20):
        facts = facts_of(random_model(Random(seed).randrange, [heads_behind])).values()
        axes = [f.axis for f in facts if f.axis is not None and f.is_user]
        seen["blocks"] += any(axis.outer != 1 and not axis.alike for axis in axes)
        seen["alike"] += any(axis.single != 1 and axis.alike for axis in axes)
    assert min(seen.values()) > 3, seen


def facts_of(generated: Generated) -> dict[str, Fact]:
    """What is proven of the values that are still there after all has been made plain."""
    facts = mari_onnx.analyze(generated.model, generated.user_inputs).facts
    made = {v for node in generated.model.graph.node for v in node.output if v}
    return {value: facts[value] for value in made & facts.keys()}


def check(generated: Generated) -> None:
    facts = {value: fact for value, fact in facts_of(generated).items() if fact.axis is not None and fact.is_user}
    model = onnx.ModelProto()
    model.CopyFrom(generated.model)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=value) for value in facts)
    if not facts:
        return
    for batch in generated.batches():
        try:
            found = Runner(model)(generated.feeds(batch, 0))
        except NotRunnableError:  # an output that the type inference of the runtime knows nothing of
            return
        for value, array in zip(facts, found, strict=True):
            problem = _problem(facts[value], array, batch)
            assert problem is None, f"{value} {problem} at B = {batch}\n{onnx.printer.to_text(generated.model)}"


def _problem(fact: Fact, array: np.ndarray, batch: int) -> str | None:
    axis = fact.axis
    assert axis is not None
    outer, inner, k = substitute(axis.outer, batch), substitute(axis.inner, batch), axis.index
    if not isinstance(outer, int):
        outer = array.shape[k] // batch // inner if isinstance(inner, int) else 1
    if not isinstance(inner, int):  # of an open size
        inner = array.shape[k] // batch // outer
    if array.shape[k] != outer * batch * inner:
        return f"has {array.shape[k]} entries on axis {k}, not {outer} * B * {inner}"
    apart = array.reshape((*array.shape[:k], outer, batch, inner, *array.shape[k + 1 :]))
    if not _equal(apart, k + 1):
        return f"differs between the candidates on axis {k}"
    return "is not alike along its axis" if axis.alike and not _equal(array, k) else None


def _equal(array: np.ndarray, axis: int) -> bool:
    """Whether all entries along an axis are the same, but for the order in which a kernel has added."""
    first = np.repeat(np.take(array, [0], axis), array.shape[axis], axis)
    if array.dtype.kind != "f":
        return bool(np.array_equal(array, first))
    return bool(np.allclose(array, first, rtol=1e-4, atol=1e-4, equal_nan=True))
