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
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, alike, same
from mari_onnx.patterns._parts import cut, weight_rows
from mari_onnx.patterns._picking import Needed, needed
from mari_onnx.patterns._picks import PICKS, is_read, picked_entries, taken_again
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
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
    phases = Phase.EARLY | Phase.MAIN
    ops = PICKS

    def match(self, node: Node, at: Workspace) -> Picked | None:
        value = node.inputs[0]
        work, found = at.graph.producer(value), picked_entries(node, at)
        if work is None or found is None or not at.graph.is_private(value):
            return None
        if any(is_read(other, at) for other in work.outputs if other != value):
            return None
        axis, entries = found
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
        return taken_again(node, made, found.axis, at)


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
