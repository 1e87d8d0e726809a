"""Every rule on every committed model: alone, left out, and one rewrite after the other."""

from __future__ import annotations

import itertools
from typing import Any
from unittest import mock

import pytest

from mari_onnx.ir import Node, write_model
from mari_onnx.normalise import without_dead_nodes
from mari_onnx.patterns import RULES
from mari_onnx.rewrite import engine
from mari_onnx.rewrite.registry import AnyRule
from models.catalog import Exported
from tests.committed import MODELS, assert_right, built
from tests.patterns.support import keeping_everything

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
each_model = pytest.mark.parametrize("meta", MODELS, ids=lambda meta: meta.name)


@each_model
def test_no_rule_at_all(meta: Exported) -> None:
    """The hoist by itself."""
    result = built(meta, rules=[])
    assert not result.rewritten.applied
    assert_right(meta, result.model)


@each_rule
@each_model
def test_one_rule_alone(meta: Exported, rule: AnyRule) -> None:
    """Wherever it matches, also where it does not pay by itself."""
    with keeping_everything():
        result = built(meta, rules=[rule])
    assert {a.rule for a in result.rewritten.applied} <= {rule.name}
    if result.rewritten.applied:  # else it is the hoist by itself
        assert_right(meta, result.model)


@each_model
def test_one_rule_left_out(meta: Exported) -> None:
    used = {a.rule for a in built(meta).rewritten.applied}
    for rule in RULES:
        if rule.name in used:
            result = built(meta, rules=[r for r in RULES if r is not rule])
            assert rule.name not in {a.rule for a in result.rewritten.applied}
            assert_right(meta, result.model)


@each_model
def test_all_rules(meta: Exported) -> None:
    result = built(meta)
    assert not result.rewritten.exhausted
    assert_right(meta, result.model)


@each_model
def test_after_every_single_rewrite(meta: Exported) -> None:
    """The graph is valid and right after the first, the second, ... application."""
    whole = built(meta).rewritten
    steps = max((a.step for a in whole.applied), default=0)
    for limit in range(steps):
        result = built(meta, whole.rules, limit, whole.afterwards)
        assert max((a.step for a in result.rewritten.applied), default=0) == limit
        assert_right(meta, result.model)


@each_model
def test_after_every_single_rewrite_of_all_that_match(meta: Exported) -> None:
    """Many more rewrites than pay, so that every rule meets the work of every other."""
    with keeping_everything():
        for limit in range(1, 12):
            result = built(meta, limit=limit)
            assert_right(meta, result.model)
            if max((a.step for a in result.rewritten.applied), default=0) < limit:
                break


@pytest.mark.parametrize("meta", [m for m in MODELS if not m.fixed_batch], ids=lambda meta: meta.name)
def test_inside_every_trial(meta: Exported) -> None:
    """Also what is taken back later is valid and right, all the way: rules may rely on each other's work at once.

    A long search tries the same again in other places, so behind the first trials not each one is judged.
    """
    applied, trials = engine._Engine._applied, itertools.count()

    def judged(self: Any, rule: AnyRule, node: Node) -> list[Node] | None:
        touched = applied(self, rule, node)
        number = next(trials) if touched is not None else 0
        if touched is not None and (number < 200 or number % 11 == 0):
            model = write_model(without_dead_nodes(self.workspace.graph))
            assert_right(meta, model, f"after {rule.name} at {node.where()}")
        return touched

    with mock.patch.object(engine._Engine, "_applied", judged):
        built(meta)
        with keeping_everything():
            built(meta, limit=4)
