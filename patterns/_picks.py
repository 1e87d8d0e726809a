"""Which entries along one axis a Slice, a Gather or a Split takes of what it reads."""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.layouts import FAR, kept_entries
from mari_onnx.ir import Node
from mari_onnx.patterns._cuts import cuts_of
from mari_onnx.patterns._parts import split
from mari_onnx.rewrite.workspace import Workspace

PICKS = frozenset({"Slice", "Gather", "Split"})


def picked_entries(node: Node, at: Workspace) -> tuple[int, Sequence[int]] | None:
    """What is read of the first input of a Slice, a Gather or a Split.

    Returns:
        The axis, counted from the front, and its entries in the order in which they are taken, fewer than there are;
        ``None`` where all are taken, entries of several axes, candidates, or that is not known.
    """
    find, fact = {"Slice": _sliced, "Gather": _gathered, "Split": _split}.get(node.kind), at.fact(node.inputs[0])
    if find is None or not fact.shape or fact.opaque:
        return None
    found = find(node, fact.shape, at)
    if found is None:
        return None
    axis, entries = found
    if (fact.axis is not None and fact.axis.index == axis) or not 0 < len(entries) < fact.shape[axis]:
        return None
    return axis, entries


def is_read(value: str, at: Workspace) -> bool:
    """Whether a value has a reader or is an output."""
    return bool(at.graph.consumers(value)) or at.graph.is_output(value)


def taken_again(node: Node, picked: str, axis: int, at: Workspace) -> list[str]:
    """The outputs of a Slice, a Gather or a Split, of a value that has nothing but the entries that they take."""
    if node.op != "Split":
        return [picked if node.op == "Slice" or at.fact(node.inputs[1]).rank else at.squeeze(picked, [axis])]
    kept = [v for v in node.outputs if is_read(v, at)]
    sizes = [(at.fact(v).shape or ())[axis] for v in kept]
    found = dict(zip(kept, split(picked, axis, sizes, at) if len(kept) > 1 else (picked,), strict=True))
    # What nobody reads may be called what it was.
    return [found.get(v, v) for v in node.outputs]


def _sliced(node: Node, shape: Shape, at: Workspace) -> tuple[int, Sequence[int]] | None:
    """The axis that is cut, and what is left of it; ``None`` where several are, or that is not known."""
    cuts = cuts_of(node, len(shape), at)
    if cuts is None:
        return None
    # TensorFlow cuts all axes up to the last one that it means.
    meant = [a for a, cut in cuts.items() if (cut.start, cut.step) != (0, 1) or cut.end < FAR]
    if len(meant) != 1 or not isinstance(shape[meant[0]], int):
        return None
    kept = kept_entries(shape[meant[0]], *cuts[meant[0]])
    return None if kept is None else (meant[0], kept)


def _split(node: Node, shape: Shape, at: Workspace) -> tuple[int, Sequence[int]] | None:
    """All that is read of a Split, whose other outputs are cut off."""
    axis, entries, start = int(node.attrs.get("axis", 0)) % len(shape), list[int](), 0
    for value in node.outputs:
        piece = at.fact(value).shape if value else None
        if piece is None or not isinstance(piece[axis], int):
            return None
        entries += range(start, start + piece[axis]) if is_read(value, at) else ()
        start += piece[axis]
    return axis, entries


def _gathered(node: Node, shape: Shape, at: Workspace) -> tuple[int, Sequence[int]] | None:
    numbers, axis = at.integers(node.inputs[1]), int(node.attrs.get("axis", 0)) % len(shape)
    if not numbers or (at.fact(node.inputs[1]).rank or 0) > 1 or not isinstance(shape[axis], int):
        return None
    return axis, [n % shape[axis] for n in numbers]
