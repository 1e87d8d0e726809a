"""docs/json.md names every key of every document, and no other."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "json.md").read_text()
GENERAL = {"schema", "version", "verb", "status", "message"}
# Keys that are names: of inputs, rules and sides.
OPEN = ("inputs", "report.rewrites", "sides")


def documented(verb: str) -> tuple[set[str], set[str]]:
    """The keys on the left of the table of a verb, and every word in code on the right."""
    section = re.split(r"^## ", DOCS, flags=re.M)
    (text,) = (s for s in section if s.startswith(f"{verb}\n"))
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    code = re.compile(r"`([^`]+)`")
    return {k for left, _ in rows for k in code.findall(left)}, {k for _, right in rows for k in code.findall(right)}


def keys(value: Any, path: str = "") -> set[str]:
    if isinstance(value, list):
        return set().union(*(keys(v, path) for v in value))
    if not isinstance(value, dict) or path.endswith(OPEN):
        return set()
    return set(value).union(*(keys(v, f"{path}.{k}") for k, v in value.items()))


@pytest.fixture
def documents(cli, model, out):
    optimized = cli("optimize", model, out, "--user", "user_x", "--json", "--seeds", "1").json
    return {
        "optimize": optimized,
        "explain": cli("explain", model, "--user", "user_x", "--json", "--probe").json,
        "verify": cli("verify", model, out, "--json").json,
        "bench": cli("bench", model, out, "--candidates", "2", "--seconds", "0.01", "--json").json,
        "rules": cli("rules", "--json").json,
    }


def test_every_key_is_documented(documents):
    for verb, document in documents.items():
        left, right = documented(verb)
        assert set(document) - GENERAL == left, verb
        known = left | right | set().union(*(set.union(*documented(v)) for v in documents))
        assert keys(document) - GENERAL <= known, verb


def test_a_failure_has_a_message(cli, model, out):
    document = cli("optimize", model, out, "--user", "nobody", "--json").json
    assert set(document) == GENERAL
    assert document["message"].startswith("the model has no input 'nobody'")


def test_all_documents_have_the_general_keys(documents):
    for verb, document in documents.items():
        assert (document["schema"], document["verb"], document["status"]) == (1, verb, "done")


def test_a_file_is_replaced_in_one_step(cli, tmp_path, monkeypatch):
    target = tmp_path / "rules.json"
    target.write_text("{}")
    target.chmod(0o640)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        done = cli("rules", "--json", target)
    assert done.status == 2
    assert done.messages == [f"mari-onnx: --json {target}: No space left on device"]
    assert target.read_text() == "{}"
    assert cli("rules", "--json", target).status == 0
    assert json.loads(target.read_text())["verb"] == "rules"
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_no_plain_file_is_written_to(cli, tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "rules.json")
    assert cli("rules", "--json", tmp_path / "link.json").status == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "rules.json").read_text())["verb"] == "rules"
    assert cli("rules", f"--json={os.devnull}").status == 0
