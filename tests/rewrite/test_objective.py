"""What the engine makes smaller, and the choice between results."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from mari_onnx.ir import Node
from mari_onnx.patterns import RULES
from mari_onnx.rewrite import rivals
from mari_onnx.rewrite.cost import CostModel, node_cost
from mari_onnx.rewrite.engine import rewrite
from mari_onnx.rewrite.objective import LESS, SLOWER, Objective, merit, objective
from mari_onnx.rewrite.rivals import rewrite_best
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace
from tests.patterns.support import at_work, model_of, sides_of

SPLIT = """score (float[B,16] user, float[B,8] item) => (float[B,32] y) <float[24,32] w> {
    x = Concat<axis = 1>(user, item)
    y = MatMul(x, w)
}"""


def opened(text: str) -> Workspace:
    model = model_of(text)
    return at_work(model, sides_of(model))


def goal_of(at: Workspace, **prices: float | int) -> Objective:
    return objective(at.graph.nodes, at.facts, CostModel(**prices))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("nominal", "sizes"), [(512, [512, 64, 8, 1]), (100, [100, 12, 1]), (8, [8, 1]), (5, [5, 1]), (1, [1])]
)
def test_requests_from_the_nominal_size_down_to_one_candidate(nominal: int, sizes: list[int]) -> None:
    assert [m.candidates for m in goal_of(opened(SPLIT), candidates=nominal).models] == sizes


def test_each_size_counts_in_proportion_to_its_time() -> None:
    at = opened(SPLIT)
    goal = goal_of(at)
    costs = [sum(node_cost(n, at.facts, m) for n in at.graph.nodes) for m in goal.models]
    shares = [w * cost / costs[0] for w, cost in zip(goal.weights, costs, strict=True)]
    assert shares == pytest.approx([1, 1 / 4, 1 / 16, 1 / 64])
    assert goal.cost(at.graph.nodes, at.facts) == pytest.approx(costs[0] * sum(shares))


def test_all_sizes_count_alike_where_they_are_to() -> None:
    at = opened(SPLIT)
    goal = objective(at.graph.nodes, at.facts, CostModel(), less=1.0)
    times = goal.times(at.graph.nodes, at.facts)
    assert [w * t for w, t in zip(goal.weights, times, strict=True)] == pytest.approx([times[0]] * 4)


@pytest.mark.parametrize("place", range(4))
def test_merit_is_how_many_times_faster_less_what_is_slower(place: int) -> None:
    before = (100.0, 40.0, 10.0, 5.0)
    faster, slower = (tuple(t * by if p == place else t for p, t in enumerate(before)) for by in (0.5, 2.0))
    assert merit(before, before) == 0
    assert merit(before, faster) == pytest.approx(LESS**place * math.log(2))
    assert merit(before, slower) == pytest.approx(-(LESS**place) * math.log(2) - SLOWER)


DEAR = """score (float[B,64] user, float[B,64] item) => (float[B,64] y) {
    a = Neg(item)
    b = Log(a)
    y = Add(b, user)
}"""


@pytest.mark.parametrize(("launch", "small"), [(0.0, "win"), (5.0, "lose")])
def test_a_gain_counts_for_nominal_requests_less_what_small_ones_lose(launch: float, small: str) -> None:
    """Three cheap operators in the place of a dear one."""
    at = opened(DEAR)
    goal = goal_of(at, launch=launch)
    dear, cheap = ([n for n in at.graph.nodes if n.op == op] for op in ("Log", "Neg"))
    saved = [
        weight * (node_cost(dear[0], at.facts, model) - 3 * node_cost(cheap[0], at.facts, model))
        for weight, model in zip(goal.weights, goal.models, strict=True)
    ]
    assert (sum(saved[1:]) < 0) == (small == "lose")
    assert goal.gain(3 * cheap, dear, at.facts) == pytest.approx(sum(saved) if small == "lose" else saved[0])


def test_what_slows_down_nominal_requests_is_a_loss() -> None:
    """A dear operator in the place of three cheap ones: with eight candidates slower, with one faster."""
    at = opened(DEAR)
    goal = goal_of(at, candidates=8, launch=0.6)
    dear, cheap = ([n for n in at.graph.nodes if n.op == op] for op in ("Log", "Neg"))
    at_eight, at_one = (3 * node_cost(cheap[0], at.facts, m) - node_cost(dear[0], at.facts, m) for m in goal.models)
    assert at_eight < 0 < at_one
    assert goal.gain(dear, 3 * cheap, at.facts) <= at_eight


# -- the choice between rules and between results ----------------------------------------------------------------------


class Shorter(Rule[str]):
    """Neg(Neg(Neg(x))) -> Neg(x)."""

    name = "shorter"
    algebra = "---x = -x"
    exactness = Exactness.EXACT
    ops = frozenset({"Neg"})

    def match(self, node: Node, at: Workspace) -> str | None:
        inner = at.graph.producer(node.inputs[0])
        first = at.graph.producer(inner.inputs[0]) if inner is not None and inner.op == "Neg" else None
        return first.inputs[0] if first is not None and first.op == "Neg" else None

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        return [at.emit("Neg", [found])]


class LittleShorter(Shorter):
    """Neg(Neg(Neg(x))) -> Sub(0, x), by way of another node."""

    name = "little-shorter"

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        return [at.emit("Abs", [at.emit("Neg", [found])])]


class LittleShorterFirst(LittleShorter):
    phases = Phase.EARLY | Phase.MAIN
    rival = True


NEGATIONS = "score (float[B,4] user, float[B,4] item) => (float[B,4] y) { a = Neg(item) b = Neg(a) y = Neg(b) }"


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_rules_for_a_node_the_better_one_is_taken(order: int) -> None:
    done = rewrite(opened(NEGATIONS), [LittleShorter(), Shorter()][::order], CostModel())
    assert [a.rule for a in done.applied] == ["shorter"]
    assert set(done.refused.values()) <= {"shorter pays more"}


def test_a_rival_is_left_out_where_others_do_better() -> None:
    alone = rewrite(opened(NEGATIONS), [LittleShorterFirst(), Shorter()], CostModel())
    assert [a.rule for a in alone.applied] == ["little-shorter"]
    at, best = rewrite_best(lambda: opened(NEGATIONS), [LittleShorterFirst(), Shorter()], CostModel())
    assert [a.rule for a in best.applied] == ["shorter"]
    assert [n.op for n in at.graph.nodes] == ["Neg", "Identity"]
    assert [r.name for r in best.rules] == ["shorter"]
    assert [r.name for r in best.afterwards] == ["little-shorter", "shorter"]


def test_a_rival_stays_where_nothing_else_does_better() -> None:
    at, best = rewrite_best(lambda: opened(NEGATIONS), [LittleShorterFirst()], CostModel())
    assert [a.rule for a in best.applied] == ["little-shorter"]
    assert [n.op for n in at.graph.nodes] == ["Neg", "Abs", "Identity"]


@pytest.mark.parametrize(("width", "rule"), [(8, "fold-into-weight"), (256, "linear-split")])
def test_weights_built_for_each_request_must_not_slow_down_small_ones(width: int, rule: str) -> None:
    """Attention over 64 steps: weights of 64 x 8 x 8 are built in no time, those of 64 x 256 x 256 are not."""
    text = f"""score (float[B,{width}] item, float[B,64,{width}] user) => (float[B,64,{width}] y)
        <float[{2 * width},{width}] w, int64[1] one = {{1}}> {{
        q = Unsqueeze(item, one)
        d = Sub(q, user)
        p = Mul(q, user)
        x = Concat<axis = 2>(d, p)
        y = MatMul(x, w)
    }}"""
    _, best = rewrite_best(lambda: opened(text), RULES, CostModel())
    assert rule in {a.rule for a in best.applied}
    assert (rule == "fold-into-weight") == ("fold-into-weight" in {a.rule for a in best.applied})


class Spread(Rule[str]):
    """Log(x) -> Neg(Neg(Neg(x))): faster for many candidates, slower for few."""

    name = "spread"
    algebra = "log x = ---x"
    exactness = Exactness.EXACT
    ops = frozenset({"Log"})

    def match(self, node: Node, at: Workspace) -> str | None:
        return node.inputs[0]

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        return [at.emit("Neg", [at.emit("Neg", [at.emit("Neg", [found])])])]


@pytest.mark.parametrize(
    ("launch", "found", "better"),
    [
        (2.0, True, "either"),  # nor does one for which all sizes count alike do without it
        (10.0, True, "first"),  # 1.6x faster for 512 candidates, 0.7x for one
        (20.0, True, "other"),  # 1.25x faster for 512 candidates, 0.7x for one
        (30.0, False, "either"),
    ],
)
def test_a_result_that_slows_down_small_requests_is_compared_with_another(
    launch: float, found: bool, better: str
) -> None:
    model = CostModel(launch=launch)
    alone = rewrite(opened(DEAR), [Spread()], model)
    assert [a.rule for a in alone.applied] == ["spread"] * found
    at, best = rewrite_best(lambda: opened(DEAR), [Spread()], model)
    assert [a.rule for a in best.applied] == ["spread"] * (found and better != "other")
    assert ("Log" in {n.op for n in at.graph.nodes}) == (not best.applied)
    assert best.less == (1.0 if better == "other" else LESS)
    again = rewrite(opened(DEAR), best.rules, model, limit=9, less=best.less)
    assert again.applied == best.applied


@pytest.mark.parametrize("limit", ["MOST_NODES", "MOST_TRIALS"])
def test_large_graphs_are_not_rewritten_once_more(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    started: list[int] = []

    def fresh() -> Workspace:
        started.append(1)
        return opened(NEGATIONS)

    rewrite_best(fresh, [LittleShorter(), Shorter()], CostModel())
    assert len(started) == 1
    rewrite_best(fresh, [LittleShorterFirst(), Shorter()], CostModel())
    assert len(started) == 3
    monkeypatch.setattr(rivals, limit, 0)
    rewrite_best(fresh, [LittleShorterFirst(), Shorter()], CostModel())
    assert len(started) == 4


def test_an_einsum_that_sums_nothing_becomes_a_product_by_entry() -> None:
    """Its result would be put in another order entry by entry."""
    text = """score (float[B,16,32] user, float[B,16,32] item) => (float[B,16,16,32] y) {
        p = Einsum<equation = "bhd,bmd->bhmd">(user, item)
        y = Tanh(p)
    }"""
    at, _ = rewrite_best(lambda: opened(text), RULES, CostModel())
    assert "Einsum" not in {n.op for n in at.graph.nodes}
