"""What lays rows end to end: axes that are merged, tensors behind each other, rows that are repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, quotient, same
from mari_onnx.rewrite.workspace import Workspace

Write: TypeAlias = Callable[[Node, Sequence[str], Shape, Workspace], str]
"""Builds what a node makes with the axes in front that were merged, from the node, what it reads, and these axes."""

REPEATS = ("Expand", "Tile")


def leaf(node: Node, lead: Shape, at: Workspace) -> Write | None:
    """How what a node lays end to end is written with the axes that it merges.

    Args:
        node: The node.
        lead: The axes that are wanted in the place of axis 0, without those of size 1.
        at: The graph around it.

    Returns:
        ``None`` where it does not make such rows.
    """
    if node.op in REPEATS:
        return _cut_output if _repeats_rows(node, lead, at) else None
    if node.kind == "Concat":
        return _unstacked if _stacks(node, lead, at) else None
    flat = at.graph.producer(node.inputs[0]) if moves_rows(node) else node
    place = row_axis(node) if moves_rows(node) else 0
    if flat is None or flat.op != "Reshape" or flat.domain:
        return None
    source, target = at.fact(flat.inputs[0]).shape, at.fact(flat.output).shape
    if source is None or not target or not same(product(lead), target[place]):
        return None
    if not all(map(same, source[:place], target[:place])) or not _is_cut_as(source[place:], lead):
        return None
    return _moved if moves_rows(node) else _cut_source


def moves_rows(node: Node) -> bool:
    """Whether a node puts the rows, axis 0, elsewhere, or what was elsewhere there."""
    return node.op == "Transpose" and not node.domain and bool(node.attrs.get("perm")) and row_axis(node) != 0


def row_axis(node: Node) -> int:
    """The axis of what a Transpose reads that is axis 0 of what it makes."""
    return int(node.attrs["perm"][0])


def without_ones(sizes: Shape) -> Shape:
    """Axes of size 1 are nowhere in particular: einsums come out of tf2onnx with several."""
    return tuple(size for size in sizes if not same(size, 1))


def _repeats_rows(node: Node, lead: Shape, at: Workspace) -> bool:
    """A user's rows, laid end to end before they were repeated, or the same rows for each of what is stacked."""
    before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
    if not before or not after or not same(product(lead), after[0]):
        return False
    return at.is_user(node.output) or (node.op == "Tile" and same(before[0], product(lead[1:])))


def _stacks(node: Node, lead: Shape, at: Workspace) -> bool:
    """Whether there are as many parts as the first axis has entries, with the rows of the others each."""
    shapes = [at.fact(v).shape for v in node.inputs]
    if node.attrs.get("axis") != 0 or len(shapes) != lead[0]:
        return False
    return all(shape is not None and same(shape[0], product(lead[1:])) for shape in shapes)


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


def tail_of(node: Node, at: Workspace) -> Shape:
    """Sizes of what a node makes, behind its rows."""
    return (at.fact(node.output).shape or ())[1:]


def _cut_output(node: Node, _inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    return at.reshape(node.output, (*lead, *tail_of(node, at)))


def _cut_source(node: Node, _inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    return at.reshape(node.inputs[0], (*lead, *tail_of(node, at)))


def _moved(node: Node, _inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    """Rows that were merged on another axis, and moved to the front behind that."""
    place, shape = row_axis(node), at.fact(node.inputs[0]).shape or ()
    flat = at.graph.producer(node.inputs[0])
    source = flat.inputs[0] if flat is not None else node.inputs[0]
    cut = at.reshape(source, (*shape[:place], *lead, *shape[place + 1 :]))
    more = len(lead) - 1
    order = [int(axis) + more * (int(axis) > place) for axis in node.attrs["perm"][1:]]
    return at.emit("Transpose", [cut], perm=[*range(place, place + len(lead)), *order])


def _unstacked(node: Node, _inputs: Sequence[str], lead: Shape, at: Workspace) -> str:
    """Tensors that were laid behind each other, with an axis that numbers them."""
    return at.emit("Concat", [at.reshape(v, (1, *lead[1:], *tail_of(node, at))) for v in node.inputs], axis=0)
