"""The whole way: rules chosen, results verified, and a wrong rule named."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import onnx
import pytest

from mari_onnx import optimize
from mari_onnx.errors import ModelError, RuleError, UsageError, VerificationError
from mari_onnx.ir import Node
from mari_onnx.options import Options
from mari_onnx.patterns import RULES
from mari_onnx.pipeline import analyze, build
from mari_onnx.rewrite import registry
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace
from models.catalog import Exported, draw
from tests.committed import (
    FIRST_HALF,
    MODELS,
    OTHER_HALF,
    assert_right,
    batches_of,
    expected,
    loaded,
    request_for,
    result_of,
    users_of,
)
from tests.patterns.support import model_of, session

each_model = pytest.mark.parametrize("meta", MODELS, ids=lambda meta: meta.name)
each_of_one_half = pytest.mark.parametrize("meta", FIRST_HALF, ids=lambda meta: meta.name)
each_of_the_other = pytest.mark.parametrize("meta", OTHER_HALF, ids=lambda meta: meta.name)

RANKER = """ranker (float[B,64] user_x, float[B,4] item_x) => (float[B,1] score)
<float[68,32] w, float[32] b, float[32,1] v> {
    x = Concat<axis = 1>(user_x, item_x)
    h = Gemm(x, w, b)
    r = Relu(h)
    score = MatMul(r, v)
}"""


class Wrong(Rule[str]):
    """Relu(x) -> x: cheaper, and not the same."""

    name = "wrong"
    algebra = "max(x, 0) = x"
    exactness = Exactness.EXACT
    ops = frozenset({"Relu"})

    def match(self, node: Node, at: Workspace) -> str | None:
        return node.inputs[0]

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        return [found]


class Unrunnable(Wrong):
    """Relu(x) -> a product of sizes that do not fit, which only the runtime sees."""

    name = "unrunnable"
    algebra = "max(x, 0) = w[x]"

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        rows = at.weight(np.array([10**6], np.int64))
        table = at.weight(np.zeros((2, 32), np.float32))
        return [at.emit("Add", [found, at.emit("Gather", [table, rows], axis=0)])]


class Free(Wrong):
    """Relu(Relu(x)) -> Relu(x), offered by another package."""

    name = "free"
    algebra = "max(max(x, 0), 0) = max(x, 0)"

    def match(self, node: Node, at: Workspace) -> str | None:
        inner = at.graph.producer(node.inputs[0])
        return node.inputs[0] if inner is not None and inner.op == "Relu" else None


def offered(monkeypatch: pytest.MonkeyPatch, **rules: object) -> None:
    """Entry points of another package."""

    class Point:
        def __init__(self, name: str, value: object) -> None:
            self.name, self.value, self._offered = name, f"acme:{name}", value

        def load(self) -> object:
            return self._offered

    def points(*, group: str) -> list[Any]:
        assert group == registry.ENTRY_POINT
        return [Point(name, value) for name, value in rules.items()]

    monkeypatch.setattr(registry, "entry_points", points)


@pytest.fixture(autouse=True)
def _no_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch)


# -- committed models --------------------------------------------------------------------------------------------------


@each_model
def test_committed_models(meta: Exported) -> None:
    """Smaller in arithmetic, verified, and the file as it was."""
    before = loaded(meta.path).model.SerializeToString(deterministic=True)
    batches = (meta.fixed_batch,) if meta.fixed_batch else (1, 3)
    result = optimize(str(meta.path), users_of(meta), batches=batches, seeds=1)
    assert result.verification is not None
    assert result.verification.passed
    # One row asks for an Expand where nothing pays but the rows are needed: the model may cost those launches more.
    repeats = 4.0 * len(result.report.user_inputs)
    assert result.report.after.microseconds <= result.report.before.microseconds + repeats
    assert result.report.after.flops <= result.report.before.flops
    assert_right(meta, result.model)
    assert loaded(meta.path).model.SerializeToString(deterministic=True) == before


@each_of_one_half
def test_the_signature_kept_and_the_model_that_is_handed_in(meta: Exported) -> None:
    model = onnx.load(meta.path)
    before = model.SerializeToString(deterministic=True)
    result = optimize(model, users_of(meta), verify=False, keep_signature=True).model
    assert model.SerializeToString(deterministic=True) == before
    assert list(result.graph.input) == list(model.graph.input)
    assert list(result.graph.output) == list(model.graph.output)
    for batch in batches_of(meta):
        found = session(result).run(None, draw(meta, batch, seed=0)[1])
        for left, right in zip(expected(meta.path, batch), found, strict=True):
            np.testing.assert_allclose(right, left, rtol=2e-4, atol=2e-5)


@each_model
def test_looking_at_a_model_changes_nothing(meta: Exported) -> None:
    model = onnx.load(meta.path)
    before = model.SerializeToString(deterministic=True)
    analyze(model, users_of(meta))
    assert model.SerializeToString(deterministic=True) == before


@each_of_the_other
def test_once_more(meta: Exported) -> None:
    """The result says itself which inputs are the user's; a second run finds next to nothing to gain.

    A rule that others did better without may find a little to do once those are done.
    """
    once = result_of(meta.path)
    twice = optimize(once.model, verify=False)
    assert [v.name for v in twice.model.graph.input] == [v.name for v in once.model.graph.input]
    assert twice.report.after.microseconds > 0.98 * twice.report.before.microseconds
    assert twice.report.after.flops > 0.99 * twice.report.before.flops
    found = session(twice.model).run(None, request_for(meta, twice.model, meta.fixed_batch or 3))
    wanted = session(once.model).run(None, request_for(meta, once.model, meta.fixed_batch or 3))
    for left, right in zip(wanted, found, strict=True):
        np.testing.assert_allclose(right, left, rtol=2e-4, atol=2e-5)


# -- a rule that is wrong ----------------------------------------------------------------------------------------------


def test_the_guilty_rule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, wrong=Wrong)
    with pytest.raises(VerificationError) as caught:
        optimize(model_of(RANKER), ["user_x"], seeds=1)
    text = str(caught.value)
    assert "'wrong' at Relu 'r'" in text
    assert "--disable wrong" in text
    assert not any(rule.name in text for rule in RULES)


def test_and_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, wrong=Wrong)
    result = optimize(model_of(RANKER), ["user_x"], disable=["wrong"], seeds=1)
    assert result.verification is not None
    assert result.verification.passed
    assert {a.rule for a in result.applied} == {"split-product"}


def test_a_rule_that_makes_what_cannot_be_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cheap(Unrunnable):
        ops = frozenset({"Sigmoid"})

    offered(monkeypatch, unrunnable=Cheap)
    model = model_of(RANKER.replace("r = Relu(h)", "r = Sigmoid(h)"))
    with pytest.raises(VerificationError, match="--disable unrunnable") as caught:
        optimize(model, ["user_x"], seeds=1)
    assert "split-product" not in str(caught.value)


@pytest.mark.parametrize("name", [m.name for m in MODELS if m.name.endswith("ts17") and not m.fixed_batch][:6])
def test_the_guilty_rule_among_many(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    meta = next(m for m in MODELS if m.name == name)
    if not any(n.op_type == "Relu" for n in loaded(meta.path).model.graph.node):
        pytest.skip("has no Relu to spoil")
    offered(monkeypatch, wrong=Wrong)
    with pytest.raises(VerificationError) as caught:
        optimize(str(meta.path), users_of(meta), seeds=1, batches=(3,))
    assert "'wrong' at Relu" in str(caught.value)
    assert not any(f"'{rule.name}'" in str(caught.value) for rule in RULES)


def test_without_verification_it_goes_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, wrong=Wrong)
    result = optimize(model_of(RANKER), ["user_x"], verify=False)
    assert result.verification is None
    assert "wrong" in {a.rule for a in result.applied}


# -- rules of other packages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offer", [Free, Free()], ids=["class", "instance"])
def test_a_rule_of_another_package_is_used(monkeypatch: pytest.MonkeyPatch, offer: object) -> None:
    offered(monkeypatch, free=offer)
    model = model_of(RANKER.replace("r = Relu(h)", "s = Relu(h) r = Relu(s)"))
    result = optimize(model, ["user_x"], seeds=1)
    assert "free" in {a.rule for a in result.applied}
    assert sum(n.op_type == "Relu" for n in result.model.graph.node) == 1
    assert "free" not in {a.rule for a in optimize(model, ["user_x"], disable=["free"], seeds=1).applied}


def test_what_is_offered_must_be_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, odd="not a rule")
    with pytest.raises(RuleError, match=r"entry point 'odd' of mari_onnx\.rules is not a rule: acme:odd"):
        registry.all_rules()


def test_names_must_be_free(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken(Free):
        name = RULES[0].name

    offered(monkeypatch, taken=Taken)
    with pytest.raises(RuleError, match=f"a rule named '{RULES[0].name}' exists already"):
        registry.all_rules()


def test_ours_come_first_then_others_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, z=Wrong, a=Free)
    assert [r.name for r in registry.all_rules()] == [*[r.name for r in RULES], "free", "wrong"]


def test_real_entry_points_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("free", "tests.test_pipeline:Free", registry.ENTRY_POINT)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "mari_onnx.rules" else [])
    assert registry.all_rules()[-1].name == "free"


def test_a_rule_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match=r"there is no rule 'split-produkt': did you mean 'split-product'\?"):
        optimize(model_of(RANKER), ["user_x"], disable=["split-produkt"])
    with pytest.raises(UsageError, match="the rules are pick"):
        registry.chosen_rules(["qqqqqqqq"])


def test_shapes_that_contradict_each_other_behind_constants_are_the_models_own_fault() -> None:
    text = """ranker (float[B, 4] user_x, float[B, 4] item_x) => (float[B, n] y) <int64[1] first> {
        x = Concat<axis = 1>(user_x, item_x)
        axes = Identity(first)
        last = Constant<value_ints = [2, 3]>()
        z = Unsqueeze(x, last)
        q = Squeeze(z, axes)
        w = Concat<axis = 1>(x, q)
        y = Tanh(w)
    }"""
    with pytest.raises(ModelError, match=r"^[^:]*: ONNX Runtime cannot load it: .*[Rr]ank"):
        optimize(model_of(text, first=np.zeros(1, np.int64)), ["user_x"])


# -- the result --------------------------------------------------------------------------------------------------------


def test_what_is_reported() -> None:
    result = optimize(model_of(RANKER), ["user_x"], candidates=100, seeds=1)
    assert result.report.candidates == 100
    assert result.report.rewrites == {"split-product": 1}
    assert result.report.user_inputs == ("user_x",)
    assert result.report.before.flops == 2 * 100 * (68 * 32 + 32)
    assert result.report.after.flops == 2 * (64 * 32 + 100 * (4 * 32 + 32))


def test_what_is_reported_of_a_stacked_input_that_a_product_reads() -> None:
    text = """ranker (float[B, 68] x) => (float[B, 1] y) <float[68, 32] W, float[32, 1] V> {
        h = MatMul(x, W)
        r = Relu(h)
        y = MatMul(r, V)
    }"""
    report = optimize(model_of(text), ["x[:,0:64]"], candidates=100, seeds=1).report
    assert report.before.flops == 2 * 100 * (68 * 32 + 32)
    assert report.after.flops == 2 * (64 * 32 + 100 * (4 * 32 + 32))


def test_stages_are_told() -> None:
    stages: list[str] = []
    from mari_onnx.pipeline import run

    run(model_of(RANKER), Options(user_inputs=["user_x"], seeds=1), stages.append)
    kinds = [stage.split(":")[0] for stage in stages]
    assert list(dict.fromkeys(kinds)) == ["load", "analyse", "hoist", "rewrite", "tidy", "verify"]


def test_an_error_of_the_caller_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="no input 'usr_x': did you mean 'user_x'"):
        optimize(model_of(RANKER), ["usr_x"])


def test_limit_0_is_the_hoist() -> None:
    result = build(loaded(MODELS[0].path), Options(user_inputs=users_of(MODELS[0])), RULES, limit=0)
    assert not result.rewritten.applied
