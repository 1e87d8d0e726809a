"""Findings are kept as long as what they were found from stays the same, and no longer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest

from mari_onnx.ir import Node
from mari_onnx.patterns import _upstream
from mari_onnx.patterns._upstream import Upstream
from mari_onnx.rewrite import memory
from mari_onnx.rewrite.workspace import Workspace
from tests.patterns.support import at_work, model_of, sides_of

TEXT = """score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
    a = Relu(item)
    b = Neg(a)
    c = Abs(a)
    y = Add(b, c)
}"""


class Height(Upstream[int]):
    """How far a value is from the inputs."""

    found: ClassVar[list[str]] = []

    def looks_through(self, value: str) -> Node | None:
        return self._at.graph.producer(value)

    def at_first_sight(self, value: str) -> int:
        return 1000

    def through(self, node: Node, inputs: Sequence[int], value: str) -> int:
        self.found.append(value)
        return max(inputs) + 1

    def nothing(self, value: str) -> int:
        return 0

    def is_same(self, one: int, other: int) -> bool:
        return one == other

    def size(self, found: int) -> int:
        return 1


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(Height, "found", [])
    return at_work(model_of(TEXT), sides_of(model_of(TEXT)))


def found(workspace: Workspace) -> list[str]:
    """The values that were found anew."""
    Height.found.clear()
    Height(workspace).of("y")
    return list(Height.found)


def exchange(workspace: Workspace, value: str, by: Node) -> None:
    old = workspace.graph.producer(value)
    assert old is not None
    workspace.graph.remove(old)
    workspace.graph.insert(by, (5,))


def test_the_next_one_begins_with_what_was_found(workspace: Workspace) -> None:
    assert found(workspace) == ["a", "b", "c", "y"]
    assert found(workspace) == []
    assert Height(workspace).of("y") == 1003


def test_only_what_is_behind_a_change_is_found_anew(workspace: Workspace) -> None:
    found(workspace)
    exchange(workspace, "c", Node("Abs", ("b",), ("c",)))
    assert Height(workspace).of("y") == 1004
    assert set(Height.found) >= {"c", "y"}


def test_the_same_finding_is_no_change(workspace: Workspace) -> None:
    found(workspace)
    exchange(workspace, "a", Node("Exp", ("item",), ("a",)))
    assert found(workspace) == ["a", "b", "c"]  # b and c read another node's result now, and say what they said


def test_a_change_taken_back(workspace: Workspace) -> None:
    found(workspace)
    mark = workspace.mark()
    exchange(workspace, "c", Node("Abs", ("b",), ("c",)))
    workspace.roll_back(mark)
    assert found(workspace) == []


def test_facts_count(workspace: Workspace) -> None:
    found(workspace)
    workspace.record(workspace.facts, "b", workspace.facts["c"])
    assert set(found(workspace)) == {"b", "y"}


def test_what_was_cut_short_is_not_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_upstream, "MAX_DEPTH", 1)
    assert Height(workspace).of("y") == 1
    monkeypatch.setattr(_upstream, "MAX_DEPTH", 80)
    assert Height(workspace).of("y") == 1003


def test_values_that_are_gone_are_forgotten(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ROOM", -10)
    found(workspace)
    exchange(workspace, "y", Node("Abs", ("a",), ("y",)))
    for value in ("b", "c"):
        gone = workspace.graph.producer(value)
        assert gone is not None
        workspace.graph.remove(gone)
    found(workspace)
    assert {"b", "c"}.isdisjoint(workspace.kept[Height])
    assert "y" in workspace.kept[Height]


def test_large_findings_are_not_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_upstream, "MAX_KEPT", 0)
    found(workspace)
    assert found(workspace) == ["a", "b", "c", "y"]


def test_far_up_what_was_found_is_taken_as_it_was(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it costs little to ask behind many layers, and nothing is cut short there."""
    monkeypatch.setattr(_upstream, "TRUSTED_DEPTH", 1)
    monkeypatch.setattr(_upstream, "MAX_DEPTH", 1)
    for value in ("a", "b", "c", "y"):
        Height(workspace).of(value)
    assert Height(workspace).of("y") == 1003
    exchange(workspace, "c", Node("Abs", ("b",), ("c",)))
    assert Height(workspace).of("y") == 1003
    assert Height(workspace).of("c") == 1003
    assert Height(workspace).of("y") == 1004


def test_behind_many_values_what_was_found_is_taken_as_it_was(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it costs little to ask for each of many layers that read as many fields."""
    found(workspace)
    exchange(workspace, "c", Node("Abs", ("b",), ("c",)))
    monkeypatch.setattr(_upstream, "TRUSTED_BEHIND", 2)
    assert Height(workspace).of("y") == 1003
    assert Height(workspace).of("c") == 1003
    assert Height(workspace).of("y") == 1004
