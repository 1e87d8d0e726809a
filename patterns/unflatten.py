"""Layers run on rows that were laid end to end and are taken apart again::

    Reshape( f( Reshape(x: [B, T, k] -> [B*T, k]) ) -> [B, T, n] )   ->   f(x)
    Reshape( f( Reshape(x: [B, h*k] -> [B*h, k]) ) -> [B, h*n] )     ->   f(x), heads side by side again

    f works on each row alone: unflatten(f(flatten(x))) = f(x)

Each Reshape may have a Transpose on the side of ``f``, as in ``nn.MultiheadAttention``, for which the candidates are
not axis 0: ``[T, B, h*k] -> [T, B*h, k]``, turned to ``[B*h, T, k]``.

``f`` is a tree of lookups, elementwise operators, joins of columns, sums over columns, products with a weight, or of
matrices that were laid end to end themselves, as the heads of attention are. Once the candidates have an axis of their
own again, the other rules see which tokens are the user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, quotient, same
from mari_onnx.patterns._row_leaves import moves_rows, without_ones
from mari_onnx.patterns._row_tree import Step, row_tree, with_lead
from mari_onnx.patterns._rows import with_axes
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Rows:
    """A tree of row-wise nodes.

    Attributes:
        lead: The axes that were merged into axis 0, without those of size 1.
        tree: The nodes from the leaves on, the flattening Reshapes among them.
        turn: The order in which the axes of that come next, if another.
        shape: What the last Reshape makes of it.
    """

    lead: Shape
    tree: tuple[Step, ...]
    turn: tuple[int, ...] | None
    shape: Shape


class Unflatten(Rule[Rows]):
    """Runs row-wise layers on the tensor as it was before its axes were merged."""

    name = "unflatten"
    algebra = "unflatten(f(flatten(x))) = f(x)"
    exactness = Exactness.EXACT
    enabling = True
    ops = frozenset({"Reshape"})

    def match(self, node: Node, at: Workspace) -> Rows | None:
        value, turn = _turned(node.inputs[0], at)
        before, after = at.fact(value).shape, at.fact(node.output).shape
        if not before or not after or at.is_once(node.inputs[0]):
            return None
        front = turn.index(0) if turn else 0
        for lead in _leads(before, after, front):
            tree = row_tree(value, lead, at)
            if tree is not None:
                return Rows(lead, tree, turn, after)
        return None

    def rewrite(self, node: Node, found: Rows, at: Workspace) -> Sequence[str]:
        result = with_lead(found.tree, found.lead, at)
        if found.turn:
            result = at.emit("Transpose", [result], perm=with_axes(found.turn, len(found.lead)))
        return [at.reshape(result, found.shape)]


def _turned(value: str, at: Workspace) -> tuple[str, tuple[int, ...] | None]:
    """What a Transpose that puts the rows elsewhere reads, and its order; without one the value itself."""
    node = at.graph.producer(value)
    if node is None or not moves_rows(node):
        return value, None
    return node.inputs[0], tuple(map(int, node.attrs["perm"]))


def _leads(before: Shape, after: Shape, front: int) -> Iterator[Shape]:
    """What may have been merged into the rows, which are that axis of what is cut anew.

    Heads are laid side by side again without an axis of their own: ``[B*h, 1, d] -> [B, h*d]``.
    """
    rows = before[0]
    for count in range(front + 2, len(after) + 1):
        lead = without_ones(after[front:count])
        if len(lead) > 1 and same(product(lead), rows):
            yield lead
    heads = quotient(after[-1], before[-1])
    left = quotient(rows, heads) if isinstance(heads, int) and heads > 1 else None
    if left is not None and heads is not None:
        yield (left, heads)
