"""A convolution in groups that all read the same channels::

    Conv( Tile(x: [B, c, ..]) -> [B, G c, ..], W; G groups )   ->   Conv( x, W )

    conv([x, .., x]; G groups) = conv(x)

Some models run their experts like this, as one convolution with windows of one entry. Each group has filters of c
channels, so those of all groups together are the filters of one convolution over x, and the same products are added
in the same order. It splits like any other then, where x is of user and item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns._parts import joined
from mari_onnx.patterns._repeats import REPEATING, fits
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

MAX_VIEWS = 4
"""How many views may lie between the copies and the convolution."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What each group reads, as parts to be joined on axis 1, and its shape for the convolution."""

    parts: tuple[str, ...]
    shape: Shape


class AlikeGroups(Rule[Copied]):
    """Reads once what each group of a convolution has a copy of."""

    name = "alike-groups"
    algebra = "conv([x, .., x]; G groups) = conv(x)"
    exactness = Exactness.EXACT
    ops = frozenset({"Conv"})

    def match(self, node: Node, at: Workspace) -> Copied | None:
        groups, shape = int(node.attrs.get("group", 1)), at.fact(node.inputs[0]).shape
        if groups < 2 or shape is None or len(shape) < 3 or not isinstance(shape[1], int):
            return None
        once = (shape[0], shape[1] // groups, *shape[2:])
        copies = _copies(node.inputs[0], groups, at)
        return Copied(copies, once) if copies is not None and all(map(at.sizes.can_build, once)) else None

    def rewrite(self, node: Node, found: Copied, at: Workspace) -> Sequence[str]:
        once = at.reshape(joined(found.parts, 1, at), found.shape)
        attrs = {name: value for name, value in node.attrs.items() if name != "group"}
        return [at.emit("Conv", [once, *node.inputs[1:]], **attrs)]


def _copies(value: str, groups: int, at: Workspace) -> tuple[str, ...] | None:
    """The parts of what each row of a value holds so many times, to be joined on axis 1.

    Views keep the order of a row's entries, so that copies one behind the other on axis 1 stay that however the row is
    laid out, as long as the rows are the same.
    """
    whole = at.fact(value).shape
    for _ in range(MAX_VIEWS):
        node, shape = at.graph.producer(value), at.fact(value).shape
        if node is None or node.domain or not whole or not shape:
            return None
        found = _repeated(node, groups, at) if node.op in REPEATING and same(shape[0], whole[0]) else None
        if found is not None or node.op not in VIEWS:
            return found
        value = node.inputs[0]
    return None


def _repeated(node: Node, groups: int, at: Workspace) -> tuple[str, ...] | None:
    """What a node repeats so many times along axis 1, and along no other."""
    before, after = at.fact(node.inputs[0]).shape, at.fact(node.output).shape
    if before is None or after is None:
        return None
    if node.op == "Concat":
        return _period(node, groups, len(after))
    if not 1 < len(before) == len(after) or not alike((*before[:1], *before[2:]), (*after[:1], *after[2:])):
        return None
    # Expand repeats entries, not rows of them: there is one entry to repeat, or none is.
    if not same(after[1], groups * before[1]) or (node.op == "Expand" and not fits(before, after)):
        return None
    return (node.inputs[0],)


def _period(node: Node, groups: int, rank: int) -> tuple[str, ...] | None:
    """The inputs of a Concat on axis 1 that come again and again, so many times."""
    count, rest = divmod(len(node.inputs), groups)
    if rest or not count or int(node.attrs["axis"]) % rank != 1:
        return None
    first = node.inputs[:count]
    return tuple(first) if tuple(node.inputs) == tuple(first) * groups else None
