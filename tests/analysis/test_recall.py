"""What was found of a node is found again for nodes just like it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from onnx import TensorProto

from mari_onnx.analysis.facts import CandidateAxis, Content, Fact
from mari_onnx.analysis.recall import Recall
from mari_onnx.ir.graph import Node

FACT = Fact(TensorProto.FLOAT, (2, 3))
NODE = Node("Softmax", ("x",), ("y",), {"axis": 1}, "", "first")


@pytest.mark.parametrize(
    ("change", "facts", "times"),
    [
        ({"name": "second", "inputs": ("a",), "outputs": ("b",)}, (replace(FACT),), 1),
        ({"attrs": {"axis": 0}}, (FACT,), 2),
        ({"op": "LogSoftmax"}, (FACT,), 2),
        ({"domain": "other"}, (FACT,), 2),
        ({"outputs": ("y", "z")}, (FACT,), 2),
        ({}, (Fact(TensorProto.FLOAT, (2, 4)),), 2),
        ({}, (None,), 2),
    ],
)
def test_nodes_just_alike(change: dict[str, Any], facts: tuple[Fact | None, ...], times: int) -> None:
    recall: Recall[int] = Recall()
    asked = []
    for node, given in ((NODE, (FACT,)), (replace(NODE, **change), facts)):
        recall.get(node, given, lambda: asked.append(0) or len(asked))
    assert len(asked) == times


def test_whether_operands_are_one_value_makes_a_difference() -> None:
    recall: Recall[str] = Recall()
    twice, others = (Node("Sub", names, ("y",), {}, "", "") for names in (("x", "x"), ("x", "z")))
    assert recall.get(twice, (FACT, FACT), lambda: "zero") == "zero"
    assert recall.get(others, (FACT, FACT), lambda: "anything") == "anything"


def test_where_sizes_were_read_makes_a_difference() -> None:
    recall: Recall[str] = Recall()
    node = Node("Reshape", ("x", "sizes"), ("y",), {}, "", "")
    sizes = Content((2,), (4, 4))
    read = [(FACT, Fact(TensorProto.INT64, (2,), content=replace(sizes, layout=at))) for at in (None, CandidateAxis(1))]
    assert [recall.get(node, given, lambda n=n: str(n)) for n, given in enumerate(read)] == ["0", "1"]


def test_whether_rows_are_alike_makes_a_difference() -> None:
    recall: Recall[bool] = Recall()
    facts = [replace(FACT, axis=CandidateAxis(0, 1, 2, alike=alike)) for alike in (False, True)]
    assert facts[0] == facts[1]
    assert [recall.get(NODE, (fact,), lambda n=n: bool(n)) for n, fact in enumerate(facts)] == [False, True]


def test_what_holds_for_one_node_alone_is_not_kept() -> None:
    recall: Recall[int] = Recall()
    found = [recall.get(NODE, (FACT,), lambda n=n: n, lambda n: n > 0) for n in (0, 1, 2)]
    assert found == [0, 1, 1]
