"""The engine: what it keeps, what it takes back, when it stops, what it writes down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import pytest

from mari_onnx.analysis import analyze_graph
from mari_onnx.hoist import hoist
from mari_onnx.inputs import choose_inputs
from mari_onnx.ir import Node, read_graph, write_model
from mari_onnx.load import load_model
from mari_onnx.normalise import normalise
from mari_onnx.patterns import RULES
from mari_onnx.rewrite import engine
from mari_onnx.rewrite.cost import CostModel, node_cost
from mari_onnx.rewrite.engine import rewrite
from mari_onnx.rewrite.record import Rewritten
from mari_onnx.rewrite.rule import Exactness, Phase, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace
from mari_onnx.signature import separate
from models.catalog import Exported
from tests.committed import OTHER_HALF, users_of
from tests.patterns.support import apply, at_work, judge, model_of, sides_of

each_of_the_other_half = pytest.mark.parametrize("meta", OTHER_HALF, ids=lambda meta: meta.name)

CHAIN = """score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
    a = Add(user, item)
    b = Relu(a)
    y = Relu(b)
}"""


class Same(Rule[str]):
    """Relu(x) -> Relu(x): costs what it cost before."""

    name = "same"
    algebra = "f(x) = f(x)"
    exactness = Exactness.EXACT
    ops = frozenset({"Relu"})

    def match(self, node: Node, at: Workspace) -> str | Refusal | None:
        return node.inputs[0]

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        return [at.emit("Relu", [found])]


class Twice(Same):
    """Relu(x) -> Relu(Relu(x)): costs more."""

    name = "twice"

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        return [at.emit("Relu", [at.emit("Relu", [found])])]


class Once(Same):
    """Relu(Relu(x)) -> Relu(x): costs less."""

    name = "once"

    def match(self, node: Node, at: Workspace) -> str | Refusal | None:
        inner = at.graph.producer(node.inputs[0])
        return inner.inputs[0] if inner is not None and inner.op == "Relu" else None


class Back(Same):
    """Relu(x) -> Max(x, 0), and Max -> Relu: the two undo each other."""

    name = "back"
    ops = frozenset({"Relu", "Max"})

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        if node.op == "Max":
            return [at.emit("Relu", [found])]
        return [at.emit("Max", [found, at.weight(np.zeros((), np.float32))])]


class Restless(Back):
    """The same, before everything else."""

    name = "restless"
    phases = Phase.EARLY | Phase.MAIN


class Wider(Same):
    """Another shape than before."""

    name = "wider"

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        return [at.emit("Concat", [at.emit("Relu", [found]), found], axis=1)]


class OtherType(Same):
    """Another type than before."""

    name = "other-type"

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        return [at.emit("Cast", [found], to=11)]


class Nonsense(Same):
    """An operator that does not exist."""

    name = "nonsense"

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        return [at.emit("NoSuchOperator", [at.emit("Relu", [found])])]


class Broken(Same):
    """A bug."""

    name = "broken"

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        at.emit("Relu", [found])
        raise KeyError("oops")


class BrokenMatch(Same):
    """A bug before anything is done."""

    name = "broken-match"

    def match(self, node: Node, at: Workspace) -> str | Refusal | None:
        raise ZeroDivisionError


class Refusing(Same):
    name = "refusing"

    def match(self, node: Node, at: Workspace) -> str | Refusal | None:
        return Refusal("not today")


@dataclass
class State:
    """All there is to know of a graph at work, to compare with later."""

    workspace: Workspace
    data: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.data = self.now()

    def now(self) -> dict[str, Any]:
        workspace, graph = self.workspace, self.workspace.graph
        return {
            "bytes": write_model(graph).SerializeToString(deterministic=True),
            "nodes": [(n, graph.order(n)) for n in graph.nodes],
            "weights": list(graph.weights),
            "producers": {v: graph.producer(v) for n in graph.nodes for v in n.outputs},
            "consumers": {v: set(graph.consumers(v)) for n in graph.nodes for v in (*n.reads, *n.outputs)},
            "facts": dict(workspace.facts),
            "singles": dict(workspace.singles),
        }

    def assert_unchanged(self) -> None:
        now = self.now()
        for key, value in self.data.items():
            assert now[key] == value, key


def run(text: str, *rules: Rule[Any], **settings: Any) -> tuple[Workspace, Rewritten]:
    model = model_of(text)
    workspace = at_work(model, sides_of(model))
    return workspace, rewrite(workspace, rules, settings.pop("model", CostModel()), **settings)


def operators(workspace: Workspace) -> list[str]:
    return [node.op for node in workspace.graph.sorted_nodes()]


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_what_pays_is_kept() -> None:
    workspace, rewritten = run(CHAIN, Once())
    assert operators(workspace).count("Relu") == 1
    assert [a.rule for a in rewritten.applied] == ["once"]
    assert rewritten.applied[0].gain > 0
    assert rewritten.applied[0].step == 1
    assert rewritten.applied[0].algebra == "f(x) = f(x)"
    assert not rewritten.exhausted


@pytest.mark.parametrize("rule", [Same(), Twice(), Back()])
def test_what_does_not_pay_is_not(rule: Rule[Any]) -> None:
    workspace, rewritten = run(CHAIN, rule)
    assert operators(workspace).count("Relu") == 2
    assert not rewritten.applied
    assert rewritten.refused[(rule.name, "Relu 'y'")] == "does not pay"


def test_a_detour_is_kept_if_it_pays_in_the_end() -> None:
    """Twice alone costs more; with Once behind it nothing is gained either, and the graph stays."""
    workspace, rewritten = run(CHAIN, Twice(), Once())
    assert operators(workspace).count("Relu") == 1
    assert {a.rule for a in rewritten.applied} == {"once"}


def test_layers_that_share_flattened_rows_are_tried_together() -> None:
    """As onnxsim writes queries, keys and values: the keys do not pay alone, but nothing is won behind them without."""
    text = """score (float[B,9,8] user, float[B,1,8] item) => (float[B,10,8] y)
    <float[8,8] wq, float[8,8] wk, float[8,8] wv, float[8] bq, float[8] bk, float[8] bv, int64[2] flat = {-1, 8},
     int64[4] heads = {-1, 10, 2, 4}, int64[3] back = {-1, 10, 8}> {
        x = Concat<axis = 1>(user, item)
        r = Reshape(x, flat)
        q0 = Gemm(r, wq, bq) q1 = Reshape(q0, heads) q = Transpose<perm = [0, 2, 1, 3]>(q1)
        k0 = Gemm(r, wk, bk) k1 = Reshape(k0, heads) k = Transpose<perm = [0, 2, 3, 1]>(k1)
        v0 = Gemm(r, wv, bv) v1 = Reshape(v0, heads) v = Transpose<perm = [0, 2, 1, 3]>(v1)
        s = MatMul(q, k) p = Softmax<axis = -1>(s) o = MatMul(p, v)
        t = Transpose<perm = [0, 2, 1, 3]>(o)
        y = Reshape(t, back)
    }"""
    model = model_of(text)
    inputs = sides_of(model)
    workspace = at_work(model, inputs)
    rewritten = rewrite(workspace, RULES, CostModel())
    assert [a.rule for a in rewritten.applied].count("unflatten") == 3
    assert "Gemm" not in operators(workspace)
    with mock.patch.object(engine, "GROUP_LOSS", 0.0):
        alone = rewrite(at_work(model, inputs), RULES, CostModel())
    assert sum(a.gain for a in alone.applied) < sum(a.gain for a in rewritten.applied)


def test_a_join_in_front_of_flattened_rows_goes_on_once_they_are_apart() -> None:
    """Ids of history and item joined before their lookup, projected as onnxsim writes it."""
    text = """score (int64[B,20] user, int64[B,1] item) => (float[B,21,8] y)
        <float[50,64] table, float[64,8] w, float[8] b, int64[2] rows, int64[3] apart> {
            ids = Concat<axis = 1>(user, item)
            x = Gather(table, ids) f = Reshape(x, rows) g = Gemm(f, w, b) y = Reshape(g, apart)
        }"""
    model = model_of(text, rows=np.array([-1, 64]), apart=np.array([-1, 21, 8]))
    workspace = at_work(model, sides_of(model))
    rewritten = rewrite(workspace, RULES, CostModel())
    assert {"unflatten", "concat-lookup", "concat-tokens"} <= {a.rule for a in rewritten.applied}
    products = [n for n in workspace.graph.sorted_nodes() if n.op in ("MatMul", "Gemm")]
    assert sorted(workspace.is_once(n.output) for n in products) == [False, True]


def test_the_first_rule_that_pays_wins() -> None:
    class Too(Once):
        name = "too"

    for rules in ([Once(), Too()], [Too(), Once()]):
        _, rewritten = run(CHAIN, *rules)
        assert [a.rule for a in rewritten.applied] == [rules[0].name]


@pytest.mark.parametrize("rules", [[Same(), Once()], [Once(), Same()]])
def test_the_order_of_rules_does_not_keep_what_pays_from_being_found(rules: list[Rule[Any]]) -> None:
    workspace, _ = run(CHAIN, *rules)
    assert operators(workspace).count("Relu") == 1


def test_gains_add_up_to_the_difference_in_cost() -> None:
    text = """score (float[B,64] user, float[B,8] item) => (float[B,1] y) <float[72,32] w, float[32] b, float[32,1] v> {
        x = Concat<axis = 1>(user, item)
        h = Gemm(x, w, b)
        r = Relu(h)
        y = MatMul(r, v)
    }"""
    model = model_of(text)
    workspace = at_work(model, sides_of(model))
    prices = CostModel()

    def cost() -> float:
        return sum(node_cost(n, workspace.facts, prices) for n in workspace.graph.nodes)

    before = cost()
    rewritten = rewrite(workspace, RULES, prices)
    first = {a.step: a.gain for a in reversed(rewritten.applied)}
    assert sum(first.values()) == pytest.approx(before - cost(), rel=1e-6)
    assert all(gain > 0 for gain in first.values())


def test_prices_decide() -> None:
    """Where starting an operator costs nothing and arithmetic everything, and the other way round."""
    text = """score (float[B,2] user, float[B,2] item) => (float[B,4] y) <float[4,4] w> {
        x = Concat<axis = 1>(user, item)
        y = MatMul(x, w)
    }"""
    _, cheap = run(text, *RULES, model=CostModel(launch=0.0, flops=1.0))
    assert any(a.rule == "split-product" for a in cheap.applied)
    _, dear = run(text, *[r for r in RULES if r.name == "split-product"], model=CostModel(launch=1e6, launch_view=1e6))
    assert all(a.gain > 0 for a in dear.applied)


# -- what is taken back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (Same(), "does not pay"),
        (Twice(), "does not pay"),
        (Back(), "does not pay"),
        (Wider(), "changes the shape"),
        (OtherType(), "changes the type"),
        (Nonsense(), "cannot be typed"),
        (Broken(), "internal error"),
        (BrokenMatch(), "internal error"),
        (Refusing(), "not today"),
    ],
)
def test_a_trial_leaves_no_trace(rule: Rule[Any], reason: str) -> None:
    model = model_of(CHAIN)
    workspace = at_work(model, sides_of(model))
    state = State(workspace)
    rewritten = rewrite(workspace, [rule], CostModel())
    state.assert_unchanged()
    assert not rewritten.applied
    assert {name for name, _ in rewritten.refused} == {rule.name}
    assert all(reason in text for text in rewritten.refused.values())


def test_a_bug_in_one_rule_does_not_stop_the_others() -> None:
    workspace, rewritten = run(CHAIN, Broken(), BrokenMatch(), Nonsense(), Once())
    assert [a.rule for a in rewritten.applied] == ["once"]
    assert operators(workspace).count("Relu") == 1


@each_of_the_other_half
def test_all_trials_on_a_model_taken_back(meta: Exported) -> None:
    """Nothing ever pays: every rule is tried everywhere, with all that follows, and the graph stays as it was."""
    graph = normalise(read_graph(load_model(meta.path).model))
    separated = separate(graph, choose_inputs(graph, users_of(meta)))
    workspace = hoist(separated.graph, analyze_graph(separated.graph, separated.inputs))
    state = State(workspace)
    with mock.patch.object(engine, "MIN_GAIN", math.inf), mock.patch.object(engine, "GROUP_LOSS", 0.0):
        rewritten = rewrite(workspace, [r for r in RULES if Phase.EARLY not in r.phases], CostModel())
    state.assert_unchanged()
    assert not rewritten.applied


# -- when it stops -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [Same(), Twice(), Back(), Restless()])
def test_rules_that_could_go_on_for_ever(rule: Rule[Any]) -> None:
    """They end because nothing pays, or because the budget is spent; the graph is as right as before."""
    with mock.patch.object(engine, "TRIALS_PER_NODE", 40):
        workspace, rewritten = run(CHAIN, rule)
    assert not rewritten.applied
    assert operators(workspace).count("Relu") == 2


def test_a_restless_rule_beside_a_useful_one() -> None:
    workspace, _ = run(CHAIN, Restless(), Once())
    assert sum(operators(workspace).count(op) for op in ("Relu", "Max")) == 1


def test_two_rules_that_undo_each_other() -> None:
    class To(Back):
        name = "to"
        ops = frozenset({"Relu"})

    class Fro(Back):
        name = "fro"
        ops = frozenset({"Max"})

    for rules in ([To(), Fro()], [Fro(), To()]):
        workspace, rewritten = run(CHAIN, *rules)
        assert not rewritten.applied
        assert operators(workspace).count("Relu") == 2


def test_a_node_keeps_the_name_of_the_original_however_often_it_is_rewritten() -> None:
    model = model_of(CHAIN)
    workspace = at_work(model, sides_of(model))
    for alpha in (0.1, 0.2, 0.3):
        last = workspace.graph.producer("y")
        assert last is not None
        node = workspace.graph.producer(last.inputs[0])
        assert node is not None
        workspace.working_for(node, "other")
        workspace.replace(node, [workspace.emit("LeakyRelu", node.inputs, alpha=alpha)])
        workspace.settle()
    (made,) = (n for n in workspace.graph.nodes if n.rule == "other")
    assert made.name.startswith("b/LeakyRelu")
    assert made.name.count("/") == 1


def test_the_budget() -> None:
    _, rewritten = run(CHAIN, Twice(), max_trials=3)
    assert rewritten.exhausted
    _, rewritten = run(CHAIN, Twice(), Once(), max_trials=0)
    assert rewritten.exhausted
    assert not rewritten.applied


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_the_limit_counts_outermost_rewrites(limit: int) -> None:
    text = """score (float[B,3] user, float[B,3] item) => (float[B,3] y, float[B,3] z) {
        a = Relu(item)
        y = Relu(a)
        b = Neg(user)
        c = Add(b, item)
        d = Relu(c)
        z = Relu(d)
    }"""
    workspace, rewritten = run(text, Once(), limit=limit)
    assert len(rewritten.applied) == limit
    assert operators(workspace).count("Relu") == 4 - limit


def test_progress_is_told() -> None:
    seen: list[tuple[int, int]] = []
    run(CHAIN, Once(), progress=lambda done, total: seen.append((done, total)))
    assert seen
    assert all(0 <= done < total for done, total in seen)


def test_nodes_of_other_domains_are_left_alone() -> None:
    model = model_of("""score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
        a = Add(user, item)
        b = Relu(a)
        y = Relu(b)
    }""")
    for node in model.graph.node:
        node.domain = "com.acme" if node.op_type == "Relu" else ""
    model.opset_import.add(domain="com.acme", version=1)
    workspace = at_work(model, sides_of(model))
    rewritten = rewrite(workspace, [Once()], CostModel())
    assert not rewritten.applied


# -- with another rule of a third party --------------------------------------------------------------------------------


def test_a_rule_that_is_handed_in() -> None:
    outcome = apply([Once()], CHAIN)
    assert outcome.times == 1
    judge(outcome.original, outcome.result, outcome.inputs, seeds=range(3))
