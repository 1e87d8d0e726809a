"""Positions of a convolution that nobody reads are not computed::

    Slice( Conv( x [B, C, T], W ), positions from a to b )   ->   Conv( Slice(x, what their windows look at), W )

    conv(x)[a:b] = conv(x[windows of a:b])

A causal convolution is padded at both ends and cut off at one; behind a history that is read once, the candidate is
one of its last positions. What a window looks at beyond either end stays padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, cut
from mari_onnx.patterns._picks import PICKS, picked_entries, taken_again
from mari_onnx.patterns._windows import window_of
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Seen:
    """What the windows of some positions look at.

    Attributes:
        work: The convolution.
        axis: The axis of the positions.
        start: The first entry that they look at.
        size: How many there are.
        before: Entries of padding in front of it.
        behind: Entries of padding behind it.
    """

    work: Node
    axis: int
    start: int
    size: int
    before: int
    behind: int


class EarlyWindows(Rule[Seen]):
    """Cuts what a convolution reads instead of what it makes."""

    name = "early-windows"
    algebra = "conv(x)[a:b] = conv(x[windows of a:b])"
    exactness = Exactness.EXACT
    phases = Phase.EARLY | Phase.MAIN
    ops = PICKS

    def match(self, node: Node, at: Workspace) -> Seen | None:
        value = node.inputs[0]
        work, found = at.graph.producer(value), picked_entries(node, at)
        if work is None or work.kind != "Conv" or found is None or not at.graph.is_private(value):
            return None
        axis, entries = found
        shape = at.fact(work.inputs[0]).shape
        if axis < 2 or shape is None or not isinstance(shape[axis], int):
            return None
        first, last = entries[0], entries[0] + len(entries)
        window = window_of(work, Parts((work.inputs[0],), axis, (shape[axis],), len(shape)), at)
        if window is None or list(entries) != list(range(first, last)):
            return None
        start, end = window.entries(first, last)
        low, high = max(start, 0), min(end, window.size)
        return Seen(work, axis, low, high - low, low - start, end - high) if low < high else None

    def rewrite(self, node: Node, found: Seen, at: Workspace) -> Sequence[str]:
        work, place = found.work, found.axis - 2
        spatial = (at.fact(work.inputs[0]).rank or 0) - 2
        pads = list(work.attrs.get("pads", [0] * (2 * spatial)))
        pads[place], pads[place + spatial] = found.before, found.behind
        value = cut(work.inputs[0], found.axis, found.start, found.size, at)
        attrs = {name: given for name, given in work.attrs.items() if name != "auto_pad"}
        made = at.emit("Conv", [value, *work.inputs[1:]], **{**attrs, "pads": pads})
        return taken_again(node, made, found.axis, at)
