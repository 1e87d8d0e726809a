"""Concats on two axes::

    Concat( Concat(u, i; a), Concat(v, j; a); b )   ->   Concat( Concat(u, v; b), Concat(i, j; b); a )

    [[u, i]_a, [v, j]_a]_b = [[u, v]_b, [i, j]_b]_a

The embeddings of several features of a history and of the item, joined by column, become one block of user tokens
and one of item tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, Run, cut, joined, mixed_parts, parts_of, runs_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class ConcatExchange(Rule[tuple[Parts | None, ...]]):
    """Joins what belongs together before joining user and item; what is computed once is cut as the others are."""

    name = "concat-exchange"
    algebra = "[[u, i]_a, [v, j]_a]_b = [[u, v]_b, [i, j]_b]_a"
    exactness = Exactness.EXACT
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> tuple[Parts | None, ...] | None:
        first = next(filter(None, (mixed_parts(v, at) for v in node.inputs)), None)
        outer = parts_of(node.output, at)
        if len(node.inputs) < 2 or first is None or outer is None or first.axis == outer.axis:
            return None
        found: list[Parts | None] = []
        for value in node.inputs:
            other = parts_of(value, at)
            if other is not None and other.axis == first.axis and _cuts_alike(first, other, at):
                found.append(other)
            elif at.is_once(value):
                found.append(None)
            else:
                return None
        return tuple(found) if _sorts(found, first, outer.sizes, at) else None

    def rewrite(self, node: Node, found: tuple[Parts | None, ...], at: Workspace) -> Sequence[str]:
        first = next(parts for parts in found if parts is not None and len(runs_of(parts, at)) > 1)
        rank = at.fact(node.output).rank or 1
        axis = int(node.attrs["axis"]) % rank
        blocks = []
        for run in runs_of(first, at):
            members = [
                cut(value, first.axis, run.start, run.size, at)
                if parts is None
                else joined(_inside(parts, run), first.axis, at)
                for value, parts in zip(node.inputs, found, strict=True)
            ]
            blocks.append(joined(members, axis, at))
        return [joined(blocks, first.axis, at)]


def _inside(parts: Parts, run: Run) -> list[str]:
    return [v for v, start, size in parts if run.start <= start and start + size <= run.start + run.size]


def _sorts(found: Sequence[Parts | None], first: Parts, widths: Sequence[int], at: Workspace) -> bool:
    """Whether more blocks are on one side afterwards than before, or as many of which more is computed once.

    So an exchange is never taken back.
    """

    def sides(parts: Parts | None, run: Run | None = None) -> set[bool]:
        if parts is None:
            return {True}
        return {at.is_once(v) for v in (parts.values if run is None else _inside(parts, run))}

    before = [(sides(parts), first.total * width) for parts, width in zip(found, widths, strict=True)]
    after = [(set[bool]().union(*(sides(p, run) for p in found)), run.size * sum(widths)) for run in runs_of(first, at)]
    return _order(after) > _order(before)


def _order(blocks: Sequence[tuple[set[bool], int]]) -> tuple[int, int]:
    """How many blocks are on one side, and how large those are together that are computed once."""
    return sum(len(sides) == 1 for sides, _ in blocks), sum(size for sides, size in blocks if sides == {True})


def _cuts_alike(first: Parts, other: Parts, at: Workspace) -> bool:
    """Whether user and item parts of the first begin where parts of the other begin."""
    return other.total == first.total and {run.start for run in runs_of(first, at)} <= set(other.offsets)
