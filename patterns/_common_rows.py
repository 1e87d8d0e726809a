"""Rows of the candidates that were multiplied with rows of the user, entry by entry."""

from __future__ import annotations

from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._gated_rows import (
    MAX_DEPTH,
    Leaf,
    Row,
    Times,
    has_candidates_first,
    is_row_for_each,
    row_met,
)
from mari_onnx.patterns._row_sources import RowSources
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Common:
    """A row of each candidate times one of the user; one of them may be missing.

    Attributes:
        own: The row that is each candidate's own.
        user: What it is multiplied with.
    """

    own: Leaf | None
    user: Row | None


class CommonRows:
    """Finds out what rows were made of, each once; values are laid out as those of ``GatedRows``."""

    def __init__(self, at: Workspace) -> None:
        self._at = at
        self._sources = RowSources(at)
        self._known: dict[tuple[str, int], Common] = {}

    def of(self, value: str, row: int, depth: int = 0) -> Common:
        """What a row of a value is the product of: at least of itself."""
        key = (value, row)
        if key not in self._known:
            found = self._found(value, row, depth + 1) if depth < MAX_DEPTH else None
            self._known[key] = found or Common(Leaf(value, row), None)
        return self._known[key]

    def _found(self, value: str, row: int, depth: int) -> Common | None:
        at = self._at
        if at.is_once(value):
            return Common(None, Leaf(value, row)) if is_row_for_each(value, at) else None
        node = at.graph.producer(value)
        if node is None or node.domain or not has_candidates_first(value, at):
            return None
        if node.op == "Mul":
            return self._product(node, row, depth)
        source = self._sources.of(node, value, row)
        return None if source is None else self.of(*source, depth)

    def _product(self, node: Node, row: int, depth: int) -> Common | None:
        shape = self._at.fact(node.output).shape or ()
        met = [row_met(value, shape, row, self._at) for value in node.inputs]
        found = [self.of(v, k, depth) for v, k in zip(node.inputs, met, strict=True) if k is not None]
        owns = [f.own for f in found if f.own is not None]
        if len(found) < 2 or len(owns) > 1:
            return None
        users = [f.user for f in found if f.user is not None]
        return Common(owns[0] if owns else None, Times(*users) if len(users) > 1 else users[0])


def leaves_of(row: Row) -> set[str]:
    """The values that a row is made of."""
    if isinstance(row, Leaf):
        return {row.value}
    return leaves_of(row.left) | leaves_of(row.right) if isinstance(row, Times) else leaves_of(row.row)
