"""A candidate's row looked up by its number, where all rows are the same::

    Gather( repeat(u: [1, d]), r; axis of the candidates )    ->   repeat(u)
    GatherND( repeat(u: [1, T]), Concat(r, j; last axis) )    ->   GatherND( u: [T], j )
    values of TopK( repeat(u); axis of the candidates )       ->   repeat(u)

    repeat(u)[r, j] = u[j]

So PyTorch exports the mask of a history as Transformers makes it: entry by entry, by the numbers of row and step. And
so it exports packed sequences: candidates are sorted by the lengths of their histories, and put in order again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns._parts import joined, parts_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Row:
    """What is looked up.

    Attributes:
        once: The row, there once.
        axis: Its axis of size 1, that of the candidates.
        rank: How many axes the numbers of rows have.
        others: What else the row is asked for: numbers along its other axes, each with a last axis of size 1.
    """

    once: str
    axis: int
    rank: int
    others: tuple[str, ...] = ()


class SameRow(Rule[Row]):
    """Takes the row that is there once, whichever is asked for."""

    name = "same-row"
    algebra = "repeat(u)[r, j] = u[j]"
    exactness = Exactness.EXACT
    ops = frozenset({"Gather", "GatherND", "TopK"})

    def match(self, node: Node, at: Workspace) -> Row | None:
        axis, indices = at.fact(node.inputs[0]).axis, at.fact(node.inputs[1]).shape
        if not at.is_user(node.inputs[0]) or at.is_user(node.output) or axis is None or not axis.is_whole:
            return None
        if indices is None or at.fact(node.output).shape is None:
            return None
        once = at.single(node.inputs[0])
        if node.op == "TopK":
            along = int(node.attrs.get("axis", -1)) % (at.fact(once).rank or 1)
            return Row(once, axis.index, 1) if along == axis.index and at.graph.consumers(node.output) else None
        if node.op == "Gather":
            along = int(node.attrs.get("axis", 0)) % (at.fact(once).rank or 1)
            return Row(once, axis.index, len(indices)) if along == axis.index else None
        if node.attrs.get("batch_dims", 0) or axis.index != 0:
            return None
        if same(indices[-1], 1):
            return Row(once, 0, len(indices) - 1)
        parts = parts_of(node.inputs[1], at)
        if parts is None or parts.axis != parts.rank - 1 or parts.sizes[0] != 1:
            return None
        return Row(once, 0, len(indices) - 1, parts.values[1:])

    def rewrite(self, node: Node, found: Row, at: Workspace) -> Sequence[str]:
        if found.others:
            row = at.squeeze(found.once, [found.axis])
            return [at.emit("GatherND", [row, joined(found.others, found.rank, at)])]
        before, after = at.fact(found.once).shape or (), at.fact(node.output).shape or ()
        narrow = (*before[: found.axis], *[1] * found.rank, *before[found.axis + 1 :])
        row = at.reshape(found.once, narrow)
        rows = row if alike(narrow, after) else at.emit("Expand", [row, at.sizes.known(after)])
        if node.op != "TopK":
            return [rows]
        # Which candidates these are stays as it is; most often nothing asks any more.
        return [rows, at.emit_many("TopK", node.inputs, 2, **dict(node.attrs))[1]]
