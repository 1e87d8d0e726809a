"""The largest entry of a Concat that begins with the user's::

    ReduceMax( Concat(u, i; axis a), axis a )   ->   ReduceMax( Concat(ReduceMax(u), i; axis a), axis a )

    max([u, i]) = max([max(u), i])

ReduceMin likewise. What is the user's must come first, and Max will not do: ONNX Runtime's reductions drop a NaN unless
it is the first entry, and a NaN in a history that never reached a score is not to reach all of them. (Along the last
axis, what they do with a NaN depends on where a row lies in memory, before and after.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.patterns._floats import EXTREMES
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, runs_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class ConcatExtreme(Rule[Parts]):
    """Reduces the user's entries to one, in front of those of the item."""

    name = "concat-extreme"
    algebra = "max([u, i]) = max([max(u), i])"
    exactness = Exactness.EXACT
    ops = EXTREMES

    def match(self, node: Node, at: Workspace) -> Parts | None:
        parts, axes = mixed_parts(node.inputs[0], at), at.axes(node)
        if parts is None or not axes or [int(a) % parts.rank for a in axes] != [parts.axis]:
            return None
        first = runs_of(parts, at)[0]
        return parts if first.size > 1 and at.is_once(first.values[0]) else None

    def rewrite(self, node: Node, found: Parts, at: Workspace) -> Sequence[str]:
        first, *rest = runs_of(found, at)
        user = joined(first.values, found.axis, at)
        if node.has_input(1):
            extreme = at.emit(node.op, [user, at.weight(np.array([found.axis], np.int64))], keepdims=1)
        else:
            extreme = at.emit(node.op, [user], axes=[found.axis], keepdims=1)
        whole = joined([extreme, *(v for run in rest for v in run.values)], found.axis, at)
        return [at.emit(node.op, [whole, *node.inputs[1:]], **dict(node.attrs))]
