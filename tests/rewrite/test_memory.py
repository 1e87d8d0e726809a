"""What was tried in vain is tried again as soon as something has changed of what was looked at, and not before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mari_onnx.ir import Node
from mari_onnx.patterns import RULES
from mari_onnx.rewrite.cost import CostModel
from mari_onnx.rewrite.engine import rewrite
from mari_onnx.rewrite.memory import Memory, kept
from mari_onnx.rewrite.workspace import Workspace
from tests.patterns.support import at_work, model_of, sides_of

TEXT = """score (float[B,3] user, float[B,3] item) => (float[B,3] y, float[B,3] z) {
    a = Relu(item)
    b = Neg(a)
    y = Abs(b)
    z = Sqrt(user)
}"""


@pytest.fixture
def workspace() -> Workspace:
    return at_work(model_of(TEXT), sides_of(model_of(TEXT)))


def made(workspace: Workspace, value: str) -> Node:
    node = workspace.graph.producer(value)
    assert node is not None
    return node


class Attempt:
    """Looks at something and does nothing."""

    def __init__(self, look: Callable[[], object]) -> None:
        self.look = look
        self.times = 0

    def __call__(self) -> bool:
        self.look()
        self.times += 1
        return False


def test_nothing_changed(workspace: Workspace) -> None:
    memory, node = Memory(workspace.graph, lambda: True), made(workspace, "y")
    attempt = Attempt(lambda: workspace.fact("b"))
    assert not memory.tried(node, attempt)
    assert not memory.tried(node, attempt)
    assert attempt.times == 1


def test_a_success_is_tried_again(workspace: Workspace) -> None:
    memory, node, tried = Memory(workspace.graph, lambda: True), made(workspace, "y"), []
    assert memory.tried(node, lambda: tried.append(1) is None)
    assert memory.tried(node, lambda: tried.append(1) is None)
    assert len(tried) == 2


@pytest.mark.parametrize(
    ("value", "times"), [("a", 2), ("b", 1), ("y", 1), ("z", 1)], ids=["readers", "maker", "own", "elsewhere"]
)
def test_a_new_reader(workspace: Workspace, value: str, times: int) -> None:
    """It is seen by those who asked who reads the value, and by no other: the value is what it was."""
    memory, node = Memory(workspace.graph, lambda: True), made(workspace, "y")
    attempt = Attempt(lambda: [workspace.graph.producer("b"), workspace.graph.consumers("a")])
    memory.tried(node, attempt)
    workspace.graph.insert(Node("Neg", (value,), ("new",)), (9,))
    memory.tried(node, attempt)
    assert attempt.times == times


def test_what_is_taken_back_has_not_changed(workspace: Workspace) -> None:
    memory, node = Memory(workspace.graph, lambda: True), made(workspace, "y")
    attempt = Attempt(lambda: workspace.graph.consumers("a"))
    memory.tried(node, attempt)
    mark = workspace.mark()
    workspace.graph.insert(Node("Neg", ("a",), ("new",)), (9,))
    workspace.roll_back(mark)
    memory.tried(node, attempt)
    assert attempt.times == 1


@pytest.mark.parametrize("look", ["fact", "is_user", "is_once", "single", "integers"])
def test_what_is_known_of_a_value(workspace: Workspace, look: str) -> None:
    memory, node = Memory(workspace.graph, lambda: True), made(workspace, "y")
    attempt = Attempt(lambda: getattr(workspace, look)("b"))
    memory.tried(node, attempt)
    workspace.record(workspace.facts, "b", workspace.facts["z"])
    memory.tried(node, attempt)
    workspace.note_single("b", "other")
    memory.tried(node, attempt)
    assert attempt.times == 3


@pytest.mark.parametrize("look", ["nodes", "sorted_nodes"])
def test_who_looks_at_all_nodes_sees_any_change(workspace: Workspace, look: str) -> None:
    memory, node = Memory(workspace.graph, lambda: True), made(workspace, "y")
    attempt = Attempt(lambda: list(workspace.graph.nodes if look == "nodes" else workspace.graph.sorted_nodes()))
    memory.tried(node, attempt)
    workspace.graph.insert(Node("Neg", ("z",), ("new",)), (9,))
    memory.tried(node, attempt)
    assert attempt.times == 2


def test_the_last_pass_asks_nobody_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be done, each rule is asked about each node once for each phase."""
    asked: list[tuple[str, str]] = []
    rule = next(r for r in RULES if r.name == "concat-elementwise")
    monkeypatch.setattr(type(rule), "match", lambda self, node, at: asked.append((self.name, node.output)))
    text = """score (float[B,3] user, float[B,3] item) => (float[B,3] y) {
        a = Relu(item)
        y = Add(user, a)
    }"""
    rewrite(at_work(model_of(text), sides_of(model_of(text))), [rule], CostModel())
    assert sorted(asked) == sorted(set(asked))
    assert asked


def test_a_finding_is_kept_while_what_it_saw_is_the_same(workspace: Workspace) -> None:
    found: list[str] = []

    @kept
    def height(value: str, at: Workspace) -> int:
        found.append(value)
        node = at.graph.producer(value)
        return 0 if node is None else 1 + height(node.inputs[0], at)

    assert [height("y", workspace), height("y", workspace)] == [3, 3]
    assert found == ["y", "b", "a", "item"]
    workspace.graph.insert(Node("Neg", ("a",), ("new",)), (9,))
    assert height("y", workspace) == 3
    assert found[4:] == [], "whoever reads a value, it is what it was"
    workspace.record(workspace.facts, "a", workspace.facts["z"])
    assert height("y", workspace) == 3
    assert found[4:] == ["y", "b", "a"], "what is about the input of the model has not changed"


def test_who_asks_for_a_finding_has_looked_at_what_it_saw(workspace: Workspace) -> None:
    ends = kept(lambda value, at: len(at.graph.consumers(value)))
    memory, node = Memory(workspace.graph, lambda: True), made(workspace, "z")
    assert ends("a", workspace) == 1
    attempt = Attempt(lambda: ends("a", workspace))
    memory.tried(node, attempt)
    workspace.graph.insert(Node("Neg", ("a",), ("new",)), (9,))
    memory.tried(node, attempt)
    assert attempt.times == 2
    assert ends("a", workspace) == 2


def test_a_finding_that_breaks_leaves_nothing_behind(workspace: Workspace) -> None:
    def fail(value: str, at: Workspace) -> int:
        at.fact(value)
        raise KeyError(value)

    workspace.graph.looked_at.clear()
    with pytest.raises(KeyError):
        kept(fail)("a", workspace)
    assert not workspace.graph.looked_at


def test_an_attempt_cut_short_does_not_count(workspace: Workspace) -> None:
    memory, node, attempt = Memory(workspace.graph, lambda: False), made(workspace, "y"), Attempt(lambda: None)
    memory.tried(node, attempt)
    memory.tried(node, attempt)
    assert attempt.times == 2


@pytest.mark.parametrize("known", [False, True])
def test_an_attempt_within_another_has_looked_for_it(workspace: Workspace, known: bool) -> None:
    inner, outer = Memory(workspace.graph, lambda: True), Memory(workspace.graph, lambda: True)
    within, around = made(workspace, "z"), made(workspace, "y")
    if known:
        inner.tried(within, lambda: workspace.graph.consumers("a") is None)
    attempt = Attempt(lambda: inner.tried(within, lambda: workspace.graph.consumers("a") is None))
    outer.tried(around, attempt)
    workspace.graph.insert(Node("Neg", ("a",), ("new",)), (9,))
    outer.tried(around, attempt)
    assert attempt.times == 2


def test_nodes_that_are_gone_are_forgotten(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mari_onnx.rewrite.memory.ROOM", -100)
    memory, gone = Memory(workspace.graph, lambda: True), made(workspace, "z")
    attempt = Attempt(lambda: None)
    memory.tried(gone, attempt)
    mark = workspace.mark()
    workspace.graph.remove(gone)
    memory.tried(made(workspace, "y"), Attempt(lambda: None))
    workspace.roll_back(mark)
    memory.tried(gone, attempt)
    assert attempt.times == 2
