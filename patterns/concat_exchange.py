"""Concats on two axes::

    Concat( Concat(u, i; a), Concat(v, j; a); b )   ->   Concat( Concat(u, v; b), Concat(i, j; b); a )

    [[u, i]_a, [v, j]_a]_b = [[u, v]_b, [i, j]_b]_a

The embeddings of several features of a history and of the item, joined by column, become one block of user tokens
and one of item tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, parts_of, runs_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class ConcatExchange(Rule[tuple[Parts, ...]]):
    """Joins what belongs together before joining user and item."""

    name = "concat-exchange"
    algebra = "[[u, i]_a, [v, j]_a]_b = [[u, v]_b, [i, j]_b]_a"
    exactness = Exactness.EXACT
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> tuple[Parts, ...] | None:
        first = mixed_parts(node.inputs[0], at) if len(node.inputs) > 1 else None
        outer = parts_of(node.output, at)
        if first is None or outer is None or first.axis == outer.axis:
            return None
        found = [first]
        for value in node.inputs[1:]:
            other = parts_of(value, at)
            if other is None or other.axis != first.axis or not _cuts_alike(first, other, at):
                return None
            found.append(other)
        return tuple(found) if _sorts(found, at) else None

    def rewrite(self, node: Node, found: tuple[Parts, ...], at: Workspace) -> Sequence[str]:
        rank = at.fact(node.output).rank or 1
        axis = int(node.attrs["axis"]) % rank
        blocks = []
        for run in runs_of(found[0], at):
            members = []
            for parts in found:
                inside = [v for v, start, size in parts if run.start <= start and start + size <= run.start + run.size]
                members.append(joined(inside, parts.axis, at))
            blocks.append(joined(members, axis, at))
        return [joined(blocks, found[0].axis, at)]


def _sorts(found: Sequence[Parts], at: Workspace) -> bool:
    """Whether more blocks are on one side afterwards than before; so an exchange is never taken back."""
    before = [{at.is_once(v) for v in parts.values} for parts in found]
    after = [
        {at.is_once(v) for parts in found for v, start, _ in parts if run.start <= start < run.start + run.size}
        for run in runs_of(found[0], at)
    ]
    return sum(len(sides) == 1 for sides in after) > sum(len(sides) == 1 for sides in before)


def _cuts_alike(first: Parts, other: Parts, at: Workspace) -> bool:
    """Whether user and item parts of the first begin where parts of the other begin."""
    return other.total == first.total and {run.start for run in runs_of(first, at)} <= set(other.offsets)
