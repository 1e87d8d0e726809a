"""The rules at hand: ours, and those that other packages offer under the entry point ``mari_onnx.rules``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

from mari_onnx.errors import RuleError, UsageError
from mari_onnx.rewrite.rule import Rule

AnyRule = Rule[Any]

ENTRY_POINT = "mari_onnx.rules"


def all_rules() -> tuple[AnyRule, ...]:
    """Our rules in their order, then those of other packages by name.

    Raises:
        RuleError: A package offers something that is no rule, or a name that is taken.
    """
    from mari_onnx.patterns import RULES

    rules: list[AnyRule] = list(RULES)
    for entry in sorted(entry_points(group=ENTRY_POINT), key=lambda e: e.name):
        offered = entry.load()
        rule = offered() if isinstance(offered, type) else offered
        if not isinstance(rule, Rule):
            raise RuleError(f"the entry point '{entry.name}' of {ENTRY_POINT} is not a rule: {entry.value}")
        if rule.name in {r.name for r in rules}:
            raise RuleError(
                f"the entry point '{entry.name}' of {ENTRY_POINT}: a rule named '{rule.name}' exists already"
            )
        rules.append(rule)
    return tuple(rules)


def chosen_rules(disabled: Iterable[str]) -> tuple[AnyRule, ...]:
    """All rules but those switched off.

    Raises:
        UsageError: A name is not that of a rule.
    """
    rules = all_rules()
    names = [r.name for r in rules]
    off = set(disabled)
    for name in sorted(off - set(names)):
        near = get_close_matches(name, names, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"the rules are {', '.join(names)}"
        raise UsageError(f"there is no rule '{name}': {hint}")
    return tuple(r for r in rules if r.name not in off)


def by_operator(rules: Sequence[AnyRule]) -> dict[str, list[AnyRule]]:
    table: dict[str, list[AnyRule]] = {}
    for rule in rules:
        for op in sorted(rule.ops):
            table.setdefault(op, []).append(rule)
    return table
