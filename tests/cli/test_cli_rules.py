from __future__ import annotations

import pytest

from mari_onnx.rewrite.registry import all_rules


def test_the_table_lists_every_rule(cli):
    done = cli("rules")
    assert done.status == 0
    lines = done.out.splitlines()
    assert len(lines) == 1 + len(all_rules())
    for line, rule in zip(lines[1:], all_rules(), strict=True):
        assert line.split()[0] == rule.name
        assert rule.exactness.value in line
        assert rule.algebra in line


def test_json(cli):
    found = cli("rules", "--json").json
    assert [rule["name"] for rule in found["rules"]] == [rule.name for rule in all_rules()]
    assert {rule["exactness"] for rule in found["rules"]} <= {"exact", "reassociating"}


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.name)
def test_every_rule_says_what_it_does_on_one_line(rule):
    assert rule.algebra
    assert "\n" not in rule.algebra
    assert len(rule.algebra) <= 80
