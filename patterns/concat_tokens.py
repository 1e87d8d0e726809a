"""A product of tokens, some of them the user's::

    MatMul( Concat(u, i; axis -2), W )   ->   Concat( MatMul(u, W), MatMul(i, W); axis -2 )
    MatMul( W, Concat(u, i; axis -1) )   ->   Concat( MatMul(W, u), MatMul(W, i); axis -1 )

    [u; i] W = [u W; i W]

The same for tokens on an axis further in front. Layers of a transformer project the user's tokens once, and where W
is computed for each candidate, the user's tokens are not repeated for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, Run, apply_to_runs, cut, mixed_parts
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens to take apart.

    Attributes:
        parts: Parts of the operand that holds them.
        operand: Its position, 0 or 1.
        axis: The axis of the result on which they lie.
        along: The axis of the other operand that goes with them, if there is one.
    """

    parts: Parts
    operand: int
    axis: int
    along: int | None


class ConcatTokens(Rule[Tokens]):
    """Multiplies the user's tokens and the items' apart."""

    name = "concat-tokens"
    algebra = "[u; i] W = [u W; i W]"
    exactness = Exactness.EXACT
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Tokens | None:
        rank = at.fact(node.output).rank
        for operand in (0, 1):
            parts, other = mixed_parts(node.inputs[operand], at), node.inputs[1 - operand]
            shape = at.fact(other).shape
            if parts is None or shape is None or rank is None or min(parts.rank, len(shape)) < 2:
                continue
            if parts.axis == parts.rank - 1 - operand:
                continue
            axis = parts.axis + rank - parts.rank
            if axis >= rank - 2:
                return Tokens(parts, operand, axis, None)
            if not at.is_once(other):
                continue
            own = axis - (rank - len(shape))
            if own >= 0 and shape[own] not in (1, parts.total):
                continue
            return Tokens(parts, operand, axis, own if own >= 0 and shape[own] != 1 else None)
        return None

    def rewrite(self, node: Node, found: Tokens, at: Workspace) -> Sequence[str]:
        other = node.inputs[1 - found.operand]

        def make(value: str, run: Run) -> str:
            operand = other if found.along is None else cut(other, found.along, run.start, run.size, at)
            return at.emit("MatMul", [value, operand] if found.operand == 0 else [operand, value])

        return [apply_to_runs(found.parts, found.axis, make, at)]
