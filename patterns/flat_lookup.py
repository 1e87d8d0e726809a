"""Rows looked up in a table that was laid out for all candidates one after the other::

    Gather( repeat(u: [T, d]) as [B T, d], j )             ->   Gather( u, j mod T )
    GatherND( repeat(u: [T, d]) as [B T, d], j: [..., 1] ) ->   GatherND( u, j mod T )

repeat(u)[j] = u[j mod T]

Whatever the numbers ``j`` are, often ``b T + i``: there are just ``T`` different rows, again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, alike, same
from mari_onnx.patterns._repeats import before
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Flat:
    """The table, there once, and how many rows it has."""

    once: str
    rows: Dim


class FlatLookup(Rule[Flat]):
    """Looks rows up in what is there once, where it was laid out flat."""

    name = "flat-lookup"
    algebra = "repeat(u)[j] = u[j mod T]"
    exactness = Exactness.EXACT
    ops = frozenset({"Gather", "GatherND"})

    def match(self, node: Node, at: Workspace) -> Flat | None:
        table, indices = at.fact(node.inputs[0]), at.fact(node.inputs[1])
        axis = table.axis
        if not at.is_user(node.inputs[0]) or axis is None or axis.index != 0 or axis.is_whole:
            return None
        if not same(axis.outer, 1) or not indices.rank or at.is_once(node.inputs[1]):
            return None
        if not _is_by_row(node, indices.shape, table.rank, at) or not at.sizes.can_build(axis.inner):
            return None
        return Flat(at.single(node.inputs[0]), axis.inner)

    def rewrite(self, node: Node, found: Flat, at: Workspace) -> Sequence[str]:
        rows = at.sizes.vector([found.rows], at.fact(node.inputs[1]).dtype)
        assert rows is not None
        # The sign of the remainder is that of the divisor: numbers that count from the end come out right.
        number = _without_multiples(node.inputs[1], found.rows, at)
        indices, wanted = at.emit("Mod", [number, rows]), at.fact(node.inputs[1]).shape or ()
        if not alike(at.fact(number).shape, wanted):
            indices = at.emit("Expand", [indices, at.sizes.known(wanted)])
        return [at.emit(node.op, [found.once, indices], **dict(node.attrs))]


def _without_multiples(number: str, rows: Dim, at: Workspace) -> str:
    """A number, or what differs from it by a multiple of the number of rows: ``i`` for ``b T + i``."""
    node = at.graph.producer(number)
    if node is None or node.op != "Add" or node.domain:
        return number
    rest = [v for v in node.inputs if not _is_multiple(v, rows, at)]
    return _without_multiples(rest[0], rows, at) if len(rest) == 1 else number


def _is_multiple(value: str, rows: Dim, at: Workspace) -> bool:
    """Whether a value is a product with the number of rows."""
    node = at.graph.producer(before(value, VIEWS, at))
    if node is None or node.op != "Mul" or node.domain:
        return False
    contents = [at.fact(v).content for v in node.inputs]
    return any(c is not None and bool(c.items) and all(same(i, rows) for i in c.items) for c in contents)


def _is_by_row(node: Node, indices: Sequence[Dim] | None, rank: int | None, at: Workspace) -> bool:
    """Whether each index says a row of the table."""
    if node.op == "Gather":
        return int(node.attrs.get("axis", 0)) % (rank or 1) == 0
    return not node.attrs.get("batch_dims", 0) and bool(indices) and same((indices or (0,))[-1], 1)
