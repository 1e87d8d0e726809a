"""What all rules have in common."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import onnx
import pytest

from mari_onnx.analysis.contrib import TYPES
from mari_onnx.patterns import RULES
from mari_onnx.rewrite.registry import AnyRule
from mari_onnx.rewrite.rule import Exactness

HERE = Path(__file__).parent

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def test_names_are_unique() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


@each_rule
def test_the_file_is_named_after_the_rule(rule: AnyRule) -> None:
    assert type(rule).__module__ == f"mari_onnx.patterns.{rule.name.replace('-', '_')}"


@each_rule
def test_it_has_tests(rule: AnyRule) -> None:
    assert (HERE / f"test_{rule.name.replace('-', '_')}.py").is_file()


@each_rule
def test_the_algebra_stands_in_the_file(rule: AnyRule) -> None:
    module = importlib.import_module(type(rule).__module__)
    assert rule.algebra
    assert rule.algebra in (module.__doc__ or ""), "the docstring of the file states the same identity"
    assert "->" in (module.__doc__ or ""), "and shows before and after"


@each_rule
def test_it_starts_at_operators_that_exist(rule: AnyRule) -> None:
    assert rule.ops
    parted = [(op.rpartition(".")[2], op.rpartition(".")[0]) for op in rule.ops]
    assert all(onnx.defs.has(*op) or ".".join(reversed(op)) in TYPES for op in parted)
    assert isinstance(rule.exactness, Exactness)


@each_rule
def test_it_holds_no_state(rule: AnyRule) -> None:
    assert not vars(rule)


@each_rule
def test_it_fits_on_a_few_pages(rule: AnyRule) -> None:
    assert len(inspect.getsource(inspect.getmodule(type(rule))).splitlines()) <= 220
