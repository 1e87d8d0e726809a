"""Trees of layers that work on each row alone, from what lays the rows end to end up to a value."""

from __future__ import annotations

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, quotient, same
from mari_onnx.patterns._rows import REPEATS, is_leaf, is_stack, keeps_rows, moves_rows, row_axis, rows_of
from mari_onnx.rewrite.workspace import Workspace

MAX_NODES = 64
"""Larger trees are not looked through."""


def row_tree(value: str, lead: Shape, at: Workspace) -> tuple[Node, ...] | None:
    """The nodes that lead to a value whose rows are those of tensors with more axes in front.

    Args:
        value: What the tree makes.
        lead: The axes that were merged into axis 0, or laid behind each other on it, without those of size 1.
        at: The graph around it.

    Returns:
        The nodes from the leaves on, what merges the axes among them; ``None`` where something does not work on each
        row alone, or nothing works on them.
    """
    nodes: dict[Node, None] = {}
    return tuple(nodes) if _is_rows(value, lead, nodes, at) and not all(map(is_leaf, nodes)) else None


def without_ones(sizes: Shape) -> Shape:
    """Axes of size 1 are nowhere in particular: einsums come out of tf2onnx with several."""
    return tuple(size for size in sizes if not same(size, 1))


def _is_rows(value: str, lead: Shape, nodes: dict[Node, None], at: Workspace) -> bool:
    """Whether the value has rows of tensors whose leading axes were merged; collects the nodes that lead to it."""
    node = at.graph.producer(value)
    if node is None or node.domain or len(node.outputs) != 1 or len(nodes) >= MAX_NODES:
        return False
    if node in nodes:
        return True
    leaf = _is_leaf_of(node, lead, at)
    if leaf is None:
        rows = rows_of(node, at)
        leaf = bool(rows) and all(_is_rows(v, lead, nodes, at) for v in rows or ())
    if leaf:
        nodes[node] = None
    return leaf


def _is_leaf_of(node: Node, lead: Shape, at: Workspace) -> bool | None:
    """Whether a node makes rows of tensors with these axes; ``None`` where it makes no rows."""
    if node.op in REPEATS:
        before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
        if not before or not after or not same(product(lead), after[0]):
            return False
        # A user's rows, laid end to end before they were repeated, or the same rows for each of what is stacked.
        return at.is_user(node.output) or (node.op == "Tile" and same(before[0], product(lead[1:])))
    if is_stack(node):
        return _are_stacked_as(node, lead, at)
    flat, place = (at.graph.producer(node.inputs[0]), row_axis(node)) if moves_rows(node) else (node, 0)
    if flat is None or flat.op != "Reshape" or flat.domain:
        return None
    source, target = at.fact(flat.inputs[0]).shape, at.fact(flat.output).shape
    if source is None or not target or not same(product(lead), target[place]):
        return False
    if not all(map(same, source[:place], target[:place])):
        return False
    return _is_cut_as(source[place:], lead) or (None if keeps_rows(flat, at) else False)


def _are_stacked_as(node: Node, lead: Shape, at: Workspace) -> bool:
    """Whether there are as many parts as the first axis has entries, with the rows of the others each."""
    shapes = [at.fact(v).shape for v in node.inputs]
    return len(shapes) == lead[0] and all(s is not None and same(s[0], product(lead[1:])) for s in shapes)


def _is_cut_as(source: Shape, lead: Shape) -> bool:
    """Whether a tensor has the merged axes in front, at least those that have no plain number as their size.

    What follows may be part of the last one, as heads are, or cut anew: it is the same stretch of memory.
    """
    source = without_ones(source)
    for index, size in enumerate(lead):
        if index >= len(source) or not same(source[index], size):
            rest = lead[index:]
            part = index < len(source) and len(rest) == 1 and quotient(source[index], size) is not None
            return part or (index > 0 and all(isinstance(d, int) for d in rest))
    return True
