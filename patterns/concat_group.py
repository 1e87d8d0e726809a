"""Neighbouring user parts of a Concat::

    Concat(Expand(u), Expand(v), i)   ->   Concat( Expand( Concat(u, v) ), i )

    [U, V, i] = [[U, V], i]

One Expand of a joined row instead of one for each part.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Run, joined, mixed_parts, runs_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class ConcatGroup(Rule[list[Run]]):
    """Joins neighbouring user-side parts before they are repeated."""

    name = "concat-group"
    algebra = "[U, V, i] = [[U, V], i]"
    rival = True
    exactness = Exactness.EXACT
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> list[Run] | None:
        parts = mixed_parts(node.output, at)
        if parts is None:
            return None
        runs = runs_of(parts, at)
        return runs if any(len(r.values) > 1 and all(map(at.is_user, r.values)) for r in runs) else None

    def rewrite(self, node: Node, found: list[Run], at: Workspace) -> Sequence[str]:
        rank = at.fact(node.output).rank or 1
        axis = int(node.attrs["axis"]) % rank
        values: list[str] = []
        for run in found:
            values += [joined(run.values, axis, at)] if all(map(at.is_user, run.values)) else run.values
        return [joined(values, axis, at)]
