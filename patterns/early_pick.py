"""Entries that nobody reads are not computed::

    Gather( LayerNorm(Add(x, MatMul(h, W))) [B, T, d], k; axis 1 )   ->   the same on the rows k of x and h

    f(x)[k] = f(x[k])

A transformer of which one token is read in the end, the first or that of the candidate, needs the last of its layers
for that token only. Of a Split, the outputs that are read are such entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.transfer.layouts import FAR, kept_entries
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, alike, same
from mari_onnx.patterns._cuts import cuts_of
from mari_onnx.patterns._parts import cut, split, weight_rows
from mari_onnx.patterns._picking import Needed, needed
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Picked:
    """Entries that are read of what an operator makes.

    Attributes:
        work: The operator.
        read: Which of its outputs is read.
        needed: Which of its inputs are cut, and on which axis.
        axis: The axis of its output.
        entries: The entries that are read.
    """

    work: Node
    read: int
    needed: Needed
    axis: int
    entries: Sequence[int]


class EarlyPick(Rule[Picked]):
    """Picks entries in front of an operator instead of behind it."""

    name = "early-pick"
    algebra = "f(x)[k] = f(x[k])"
    exactness = Exactness.EXACT
    early = True
    ops = frozenset({"Slice", "Gather", "Split"})

    def match(self, node: Node, at: Workspace) -> Picked | None:
        value = node.inputs[0]
        work, fact = at.graph.producer(value), at.fact(value)
        if work is None or not fact.shape or fact.opaque or not at.graph.is_private(value):
            return None
        if any(_is_read(other, at) for other in work.outputs if other != value):
            return None
        found = {"Slice": _sliced, "Gather": _gathered, "Split": _split}[node.op](node, fact.shape, at)
        if found is None:
            return None
        axis, entries = found
        if (fact.axis is not None and fact.axis.index == axis) or not 0 < len(entries) < fact.shape[axis]:
            return None
        wanted = needed(work, axis, at)
        if wanted is None:
            return None
        return Picked(work, work.outputs.index(value), wanted, axis, entries)

    def rewrite(self, node: Node, found: Picked, at: Workspace) -> Sequence[str]:
        inputs = list(found.work.inputs)
        for index, axis in found.needed.items():
            inputs[index] = _picked(inputs[index], axis, found.entries, at)
        shape = list(at.fact(node.inputs[0]).shape or ())
        shape[found.axis] = len(found.entries)
        if found.work.op in VIEWS:
            made = at.reshape(inputs[0], shape)
        elif found.work.op == "Expand":
            made = _expanded(inputs[0], tuple(shape), at)
        else:
            made = at.emit_many(found.work.op, inputs, len(found.work.outputs), **dict(found.work.attrs))[found.read]
        if node.op == "Split":
            return _cut_again(node, made, found.axis, at)
        return [made if node.op == "Slice" or at.fact(node.inputs[1]).rank else at.squeeze(made, [found.axis])]


def _cut_again(node: Node, made: str, axis: int, at: Workspace) -> list[str]:
    """The outputs of a Split that are read, which lie one behind the other now."""
    kept = [v for v in node.outputs if _is_read(v, at)]
    sizes = [(at.fact(v).shape or ())[axis] for v in kept]
    pieces = split(made, axis, sizes, at) if len(kept) > 1 else (made,)
    found = dict(zip(kept, pieces, strict=True))
    return [found.get(v, v) for v in node.outputs]


def _picked(value: str, axis: int, entries: Sequence[int], at: Workspace) -> str:
    """Some entries of a value; of a weight, a weight."""
    first, count = entries[0], len(entries)
    if list(entries) == list(range(first, first + count)):
        return cut(value, axis, first, count, at)
    if at.is_weight(value):
        return weight_rows(value, axis, [(n, 1) for n in entries], at)
    return at.emit("Gather", [value, at.weight(np.array(entries, np.int64))], axis=axis)


def _expanded(value: str, shape: Shape, at: Workspace) -> str:
    """A value repeated up to a shape."""
    own = at.fact(value).shape or ()
    if alike(own, shape):
        return value
    # Sizes that the value has need not be told: 1 keeps them.
    ahead = len(shape) - len(own)
    return at.emit("Expand", [value, at.sizes.known([*shape[:ahead], *map(_missing, own, shape[ahead:])])])


def _missing(own: Dim, wanted: Dim) -> Dim:
    return 1 if same(own, wanted) else wanted


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
        entries += range(start, start + piece[axis]) if _is_read(value, at) else ()
        start += piece[axis]
    return axis, entries


def _is_read(value: str, at: Workspace) -> bool:
    return bool(at.graph.consumers(value)) or at.graph.is_output(value)


def _gathered(node: Node, shape: Shape, at: Workspace) -> tuple[int, Sequence[int]] | None:
    numbers, axis = at.integers(node.inputs[1]), int(node.attrs.get("axis", 0)) % len(shape)
    if not numbers or (at.fact(node.inputs[1]).rank or 0) > 1 or not isinstance(shape[axis], int):
        return None
    return axis, [n % shape[axis] for n in numbers]
