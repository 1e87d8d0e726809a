"""Values that hold others several times."""

from __future__ import annotations

from collections.abc import Container

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir.dims import same
from mari_onnx.rewrite.workspace import Workspace

REPEATING = ("Expand", "Tile", "Concat")


def source_of(value: str, at: Workspace) -> str | None:
    """What a value does nothing but repeat, along axes of size 1; a broadcast makes it the same again."""
    node = at.graph.producer(value)
    if node is None or node.domain or node.op not in REPEATING or not node.inputs:
        return None
    if node.op == "Concat" and len(set(node.inputs)) > 1:
        return None
    source, result = at.fact(node.inputs[0]).shape, at.fact(value).shape
    return node.inputs[0] if source is not None and result is not None and fits(source, result) else None


def before(value: str, operators: Container[str], at: Workspace) -> str:
    """What a value was before operators of some kinds, one behind the other; the value itself where there are none."""
    node = at.graph.producer(value)
    while node is not None and not node.domain and node.op in operators:
        value = node.inputs[0]
        node = at.graph.producer(value)
    return value


def fits(source: Shape, result: Shape) -> bool:
    """Whether broadcasting makes the one shape the other."""
    if len(source) > len(result):
        return False
    return all(same(a, b) or same(a, 1) for a, b in zip(reversed(source), reversed(result), strict=False))
