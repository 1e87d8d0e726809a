"""Trees of layers that work on each row alone, from what lays the rows end to end up to a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.patterns._row_leaves import Write, leaf
from mari_onnx.patterns._rows import layer
from mari_onnx.rewrite.workspace import Workspace

MAX_NODES = 64
"""Larger trees are not looked through."""


@dataclass(frozen=True, slots=True)
class Step:
    """A node of a tree.

    Attributes:
        node: The node.
        rows: Which of the values it reads have rows; none for a leaf, which makes them.
        write: Builds it on the tensors as they were before rows were made of their axes.
    """

    node: Node
    rows: tuple[str, ...]
    write: Write


def row_tree(value: str, lead: Shape, at: Workspace) -> tuple[Step, ...] | None:
    """What leads to a value whose rows are those of tensors with more axes in front.

    Args:
        value: What the tree makes.
        lead: The axes that were merged into axis 0, or laid behind each other on it, without those of size 1.
        at: The graph around it.

    Returns:
        The nodes from the leaves on; ``None`` where something does not work on each row alone, or nothing works on
        them.
    """
    steps: dict[Node, Step] = {}
    found = _climb(value, lead, steps, at) and any(step.rows for step in steps.values())
    return tuple(steps.values()) if found else None


def with_lead(steps: Sequence[Step], lead: Shape, at: Workspace) -> str:
    """What a tree makes, with the axes in front that were merged."""
    made: dict[str, str] = {}
    for step in steps:
        inputs = [made[v] if v in step.rows else v for v in step.node.inputs]
        made[step.node.output] = step.write(step.node, inputs, lead, at)
    return made[steps[-1].node.output]


def _climb(value: str, lead: Shape, steps: dict[Node, Step], at: Workspace) -> bool:
    """Whether the value has such rows; collects the nodes that lead to it, each behind what it reads."""
    node = at.graph.producer(value)
    if node is None or node.domain or len(node.outputs) != 1 or len(steps) >= MAX_NODES:
        return False
    if node in steps:
        return True
    write = leaf(node, lead, at)
    if write is not None:
        steps[node] = Step(node, (), write)
        return True
    found = layer(node, at)
    if found is None or not all(_climb(v, lead, steps, at) for v in found[0]):
        return False
    steps[node] = Step(node, tuple(found[0]), found[1])
    return True
