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
from mari_onnx.ir.dims import Dim, same
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
        indices = at.emit("Mod", [node.inputs[1], rows])
        return [at.emit(node.op, [found.once, indices], **dict(node.attrs))]


def _is_by_row(node: Node, indices: Sequence[Dim] | None, rank: int | None, at: Workspace) -> bool:
    """Whether each index says a row of the table."""
    if node.op == "Gather":
        return int(node.attrs.get("axis", 0)) % (rank or 1) == 0
    return not node.attrs.get("batch_dims", 0) and bool(indices) and same((indices or (0,))[-1], 1)
