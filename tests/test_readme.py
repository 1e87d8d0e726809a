"""The README says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mari_onnx.cli.parser import make_parser
from mari_onnx.cli.rules import markdown
from mari_onnx.rewrite.registry import all_rules
from tests.cli.conftest import cli  # noqa: F401  # a fixture

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_of_rules_is_that_of_the_program():
    assert markdown(all_rules()) in README, "put the output of `mari-onnx rules --markdown` into the README"


def test_its_options_exist():
    (verbs,) = (a for a in make_parser()._actions if isinstance(a.choices, dict))
    known = {option for parser in verbs.choices.values() for option in parser._option_string_actions}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README))
    assert named <= known


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize("command", re.findall(r"^\$ mari-onnx (.*)$", README, flags=re.M))
def test_its_example_runs(command, cli, tmp_path, monkeypatch):  # noqa: F811
    args = [a.strip("'") for a in command.split()]
    args[1] = str(ROOT / args[1])
    monkeypatch.chdir(tmp_path)
    done = cli(*args)
    assert done.status == 0, done.err
    shown = README.split(f"$ mari-onnx {command}\n", 1)[1].split("```", 1)[0]
    labels = re.findall(r"^(\w[\w=, ]*?)(?:  |:)", shown, flags=re.M)
    assert len(labels) >= 6
    assert all(label in done.out for label in labels), done.out
