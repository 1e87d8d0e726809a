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
from mari_onnx.patterns._rows import REPEATS, apart, is_leaf, moves_rows, row_axis, rows_of, with_axes
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

MAX_NODES = 64
"""Larger trees are not looked through."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A tree of row-wise nodes.

    Attributes:
        lead: The axes that were merged into axis 0, without those of size 1.
        nodes: The nodes of the tree from the leaves on, the flattening Reshapes among them.
        value: What the tree makes.
        turn: The order in which the axes of that come next, if another.
        shape: What the last Reshape makes of it.
    """

    lead: Shape
    nodes: tuple[Node, ...]
    value: str
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
            nodes: dict[Node, None] = {}
            if _is_rows(value, lead, nodes, at) and _has_layer(nodes):
                return Rows(lead, tuple(nodes), value, turn, after)
        return None

    def rewrite(self, node: Node, found: Rows, at: Workspace) -> Sequence[str]:
        made: dict[str, str] = {}
        for member in found.nodes:
            made[member.output] = apart(member, found.lead, made, at)
        result = made[found.value]
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
        lead = _without_ones(after[front:count])
        if len(lead) > 1 and same(product(lead), rows):
            yield lead
    heads = quotient(after[-1], before[-1])
    left = quotient(rows, heads) if isinstance(heads, int) and heads > 1 else None
    if left is not None and heads is not None:
        yield (left, heads)


def _without_ones(sizes: Shape) -> Shape:
    """Axes of size 1 are nowhere in particular: einsums come out of tf2onnx with several."""
    return tuple(size for size in sizes if not same(size, 1))


def _has_layer(nodes: dict[Node, None]) -> bool:
    return not all(map(is_leaf, nodes))


def _is_rows(value: str, lead: Shape, nodes: dict[Node, None], at: Workspace) -> bool:
    """Whether the value has rows of tensors whose leading axes were merged; collects the nodes that lead to it."""
    node = at.graph.producer(value)
    if node is None or node.domain or len(node.outputs) != 1 or len(nodes) >= MAX_NODES:
        return False
    if node in nodes:
        return True
    if node.op in REPEATS:
        # A user's rows, laid end to end before they were repeated.
        shape = at.fact(value).shape
        if not at.is_user(value) or not shape or not same(product(lead), shape[0]):
            return False
        nodes[node] = None
        return True
    flat, place = (at.graph.producer(node.inputs[0]), row_axis(node)) if moves_rows(node) else (node, 0)
    if flat is not None and flat.op == "Reshape" and not flat.domain:
        source, target = at.fact(flat.inputs[0]).shape, at.fact(flat.output).shape
        if source is None or not target or not same(product(lead), target[place]):
            return False
        if not all(map(same, source[:place], target[:place])) or not _is_cut_as(source[place:], lead):
            return False
        nodes[node] = None
        return True
    rows = rows_of(node, at)
    if not rows or not all(_is_rows(v, lead, nodes, at) for v in rows):
        return False
    nodes[node] = None
    return True


def _is_cut_as(source: Shape, lead: Shape) -> bool:
    """Whether a tensor has the merged axes in front, at least those that have no plain number as their size.

    What follows may be part of the last one, as heads are, or cut anew: it is the same stretch of memory.
    """
    source = _without_ones(source)
    for index, size in enumerate(lead):
        if index >= len(source) or not same(source[index], size):
            rest = lead[index:]
            part = index < len(source) and len(rest) == 1 and quotient(source[index], size) is not None
            return part or (index > 0 and all(isinstance(d, int) for d in rest))
    return True
