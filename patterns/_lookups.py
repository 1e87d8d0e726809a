"""Rows that candidates look up among those of the user."""

from __future__ import annotations

from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Lookup:
    """A Gather of each candidate's rows out of what is there once.

    Attributes:
        rows: What is looked up in.
        indices: Which of it.
        axis: The axis of ``rows`` that they count.
        count: How many axes they have, which stand in its place in the result.
    """

    rows: str
    indices: str
    axis: int
    count: int

    def own(self, axis: int) -> int:
        """The axis of ``rows`` that an axis of the result is, where it is none of the indices'."""
        return axis if axis < self.axis else axis - self.count + 1

    def is_of_rows(self, axis: int) -> bool:
        """Whether an axis of the result is one of the rows'."""
        return not self.axis <= axis < self.axis + self.count


def lookup_of(node: Node | None, at: Workspace) -> Lookup | None:
    """The lookup that a node is, if it is one among rows of the user."""
    if node is None or node.op != "Gather" or node.domain:
        return None
    rows, indices = node.inputs
    rank, count = at.fact(rows).rank, at.fact(indices).rank
    if rank is None or not count or not at.is_once(rows) or not at.fact(rows).request:
        return None
    if at.is_user(rows) or at.is_once(indices):
        return None
    return Lookup(rows, indices, int(node.attrs.get("axis", 0)) % rank, count)
