"""Layers run on rows that were laid end to end and are taken apart again::

    Reshape( f( Reshape(x: [B, T, k] -> [B*T, k]) ) -> [B, T, n] )   ->   f(x)

    f works on each row alone: unflatten(f(flatten(x))) = f(x)

``f`` is a tree of lookups, elementwise operators, joins of columns, sums over columns, products with a weight, or of
matrices that were laid end to end themselves, as the heads of attention are. Once the candidates have an axis of their
own again, the other rules see which tokens are the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, quotient, same
from mari_onnx.patterns._rows import LEAVES, REPEATS, apart, rows_of
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
        shape: What the last Reshape makes of it.
    """

    lead: Shape
    nodes: tuple[Node, ...]
    shape: Shape


class Unflatten(Rule[Rows]):
    """Runs row-wise layers on the tensor as it was before its axes were merged."""

    name = "unflatten"
    algebra = "unflatten(f(flatten(x))) = f(x)"
    exactness = Exactness.EXACT
    enabling = True
    ops = frozenset({"Reshape"})

    def match(self, node: Node, at: Workspace) -> Rows | None:
        before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
        if not before or not after or at.is_once(node.inputs[0]):
            return None
        for count in range(2, len(after) + 1):
            lead = _without_ones(after[:count])
            if len(lead) > 1 and same(product(lead), before[0]):
                nodes: dict[Node, None] = {}
                if _is_rows(node.inputs[0], lead, nodes, at) and _has_layer(nodes):
                    return Rows(lead, tuple(nodes), after)
        return None

    def rewrite(self, node: Node, found: Rows, at: Workspace) -> Sequence[str]:
        made: dict[str, str] = {}
        for member in found.nodes:
            made[member.output] = apart(member, found.lead, made, at)
        return [at.reshape(made[node.inputs[0]], found.shape)]


def _without_ones(sizes: Shape) -> Shape:
    """Axes of size 1 are nowhere in particular: einsums come out of tf2onnx with several."""
    return tuple(size for size in sizes if not same(size, 1))


def _has_layer(nodes: dict[Node, None]) -> bool:
    return any(n.op not in LEAVES for n in nodes)


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
    if node.op == "Reshape":
        source, target = at.fact(node.inputs[0]).shape, at.fact(value).shape
        if source is None or not target or not same(product(lead), target[0]) or not _is_cut_as(source, lead):
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
