"""Every rule on every committed model: alone, left out, and one rewrite after the other."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

from mari_onnx.ir import Graph, Node, write_model
from mari_onnx.normalise import without_dead_nodes
from mari_onnx.patterns import RULES
from mari_onnx.pipeline import prepare
from mari_onnx.rewrite import engine
from mari_onnx.rewrite.registry import AnyRule
from mari_onnx.rewrite.rule import Refusal
from mari_onnx.rewrite.workspace import Workspace
from models.catalog import Exported
from tests.committed import FIRST_HALF, MODELS, OTHER_HALF, assert_right, built, loaded, options_for, result_of
from tests.patterns.support import keeping_everything


@contextmanager
def judging_each_step(meta: Exported) -> Iterator[None]:
    """Judges the graph as each application leaves it, without starting anew for each."""
    commit = Graph.commit

    def judged(graph: Graph) -> None:
        commit(graph)
        if not meta.fixed_batch:  # its inputs get their sizes back at the end
            assert_right(meta, write_model(without_dead_nodes(graph)))

    with mock.patch.object(Graph, "commit", judged):
        yield


each_model = pytest.mark.parametrize("meta", MODELS, ids=lambda meta: meta.name)
each_of_one_half = pytest.mark.parametrize("meta", FIRST_HALF, ids=lambda meta: meta.name)
each_of_the_other = pytest.mark.parametrize("meta", OTHER_HALF, ids=lambda meta: meta.name)


@each_model
def test_no_rule_at_all(meta: Exported) -> None:
    """The hoist by itself."""
    result = built(meta, rules=[])
    assert not result.rewritten.applied
    assert_right(meta, result.model)


@each_of_one_half
def test_one_rule_alone(meta: Exported) -> None:
    """Wherever it matches, also where it does not pay by itself; one that matches nothing leaves the hoist as it is."""
    workspace = prepare(loaded(meta.path), options_for(meta)).hoisted()
    matching = [rule for rule in RULES if any(_would_apply(rule, node, workspace) for node in workspace.graph.nodes)]
    assert matching
    with keeping_everything():
        for rule in matching:
            result = built(meta, rules=[rule])
            assert {a.rule for a in result.rewritten.applied} <= {rule.name}
            assert_right(meta, result.model, rule.name)


def _would_apply(rule: AnyRule, node: Node, workspace: Workspace) -> bool:
    return node.kind in rule.ops and not isinstance(rule.match(node, workspace), Refusal | None)


@each_of_the_other
def test_one_rule_left_out(meta: Exported) -> None:
    """Each one that is used, in turn; what the others find without it is not compared with what their rivals would."""
    used = {a.rule for a in result_of(meta.path).rewritten.applied}
    for rule in RULES:
        if rule.name in used:
            result = built(meta, [r for r in RULES if r is not rule], limit=sys.maxsize)
            assert rule.name not in {a.rule for a in result.rewritten.applied}
            assert_right(meta, result.model, f"without {rule.name}")


@each_model
def test_all_rules(meta: Exported) -> None:
    result = result_of(meta.path)
    assert not result.rewritten.exhausted
    assert_right(meta, result.model)


@each_of_one_half
def test_after_every_single_rewrite(meta: Exported) -> None:
    """The graph is valid and right after the first, the second, ... application, and stopping there gives a result."""
    whole = result_of(meta.path).rewritten
    steps = max((a.step for a in whole.applied), default=0)
    with judging_each_step(meta):
        again = built(meta, whole.rules, steps, whole.afterwards, whole.less).rewritten
    assert again.applied == whole.applied
    halfway = built(meta, whole.rules, steps // 2, whole.afterwards, whole.less)
    assert max((a.step for a in halfway.rewritten.applied), default=0) == steps // 2
    assert_right(meta, halfway.model)


@each_of_the_other
def test_after_every_single_rewrite_of_all_that_match(meta: Exported) -> None:
    """Many more rewrites than pay, so that every rule meets the work of every other."""
    with keeping_everything(), judging_each_step(meta):
        result = built(meta, limit=11)
    assert_right(meta, result.model)


@pytest.mark.parametrize("meta", [m for m in FIRST_HALF if not m.fixed_batch], ids=lambda meta: meta.name)
def test_inside_every_trial(meta: Exported) -> None:
    """Also what is taken back later is valid and right, all the way: rules may rely on each other's work at once.

    A long search tries the same again in other places, so behind the first trials not each one is judged.
    """
    applied, trials = engine._Engine._applied, itertools.count()

    def judged(self: Any, rule: AnyRule, node: Node, found: Any) -> list[Node] | None:
        touched = applied(self, rule, node, found)
        number = next(trials) if touched is not None else 0
        if touched is not None and (number < 60 or number % 13 == 0):
            model = write_model(without_dead_nodes(self.workspace.graph))
            assert_right(meta, model, f"after {rule.name} at {node.where()}")
        return touched

    with mock.patch.object(engine._Engine, "_applied", judged):
        built(meta)
        with keeping_everything():
            built(meta, limit=4)
