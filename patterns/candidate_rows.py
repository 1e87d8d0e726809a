"""Products of each candidate with matrices that are computed once, one for each head::

    MatMul( x: [B, h, r, d], U: [h, d, n] )   ->   the rows of all candidates below each other, [h, B r, d] @ [h, d, n]
    MatMul( x: [B, 1, r, d], U: [h, d, n] )   ->   [1, B r, d] @ [h, d, n], the same rows for each head
    MatMul( x: [B, h, g, r, d], U: [h, 1, d, n] )   ->   [h, g, B r, d] @ [h, 1, d, n], heads that share a matrix
    MatMul( x: [h, B, r, d], U: [h, 1, d, n] )   ->   [h, B r, d] @ [h, d, n], a view

    x_b U_h for all b = [x_1; x_2; ..] U_h

One large product for each head instead of a small one for each candidate and head: attention of many candidates over
the same history, and experts that the user chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, same
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Rows:
    """A product of each candidate, whose operands have the same batch axes.

    Attributes:
        shape: Sizes of the rows.
        place: Their axis of candidates.
        heads: The other batch axes of the rows.
        matrices: What is computed once.
        own: The batch axes of that in the places of ``heads``, 1 where it has none.
    """

    shape: Shape
    place: int
    heads: tuple[int, ...]
    matrices: str
    own: tuple[int, ...]

    @property
    def order(self) -> list[int]:
        """The axes of the rows with the candidates behind the heads."""
        rank = len(self.shape)
        return [*(a for a in range(rank - 2) if a != self.place), self.place, rank - 2, rank - 1]


class CandidateRows(Rule[Rows]):
    """Stacks the rows of all candidates in front of a product with what is computed once."""

    name = "candidate-rows"
    algebra = "x_b U_h for all b = [x_1; x_2; ..] U_h"
    rival = True
    exactness = Exactness.EXACT
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Rows | None:
        rows, matrices = node.inputs
        fact = at.fact(rows)
        if fact.shape is None or len(fact.shape) < 4 or fact.axis is None or at.is_once(rows):
            return None
        place = fact.axis.index
        if place > len(fact.shape) - 3 or not fact.axis.is_whole or not at.is_once(matrices):
            return None
        single = at.single(matrices)
        shape = at.fact(single).shape
        if shape is None or not 2 <= len(shape) <= len(fact.shape):
            return None
        batch = (*(1,) * (len(fact.shape) - len(shape)), *shape[:-2])
        if not same(batch[place], 1):
            return None
        others = [a for a in range(len(batch)) if a != place]
        heads, own = _numbers(fact.shape, others), _numbers(batch, others)
        if heads is None or own is None or all(d == 1 for d in own):
            return None
        if not isinstance(fact.shape[-2], int) or not isinstance(fact.shape[-1], int):
            return None
        fits = all(1 in (d, h) or d == h for d, h in zip(heads, own, strict=True))
        return Rows(fact.shape, place, heads, single, own) if fits else None

    def rewrite(self, node: Node, found: Rows, at: Workspace) -> Sequence[str]:
        batch, (count, width) = found.shape[found.place], found.shape[-2:]
        stacked = at.reshape(_moved(node.inputs[0], found, at), (*found.heads, batch * count, width))
        product = at.emit("MatMul", [stacked, _without_candidates(found, at)])
        both = [d if h == 1 else h for h, d in zip(found.heads, found.own, strict=True)]
        result = at.reshape(product, (*both, batch, count, (at.fact(found.matrices).shape or ())[-1]))
        back = [found.order.index(axis) for axis in range(len(found.order))]
        return [result if back == sorted(back) else at.emit("Transpose", [result], perm=back)]


def _numbers(sizes: Sequence[Dim], axes: Sequence[int]) -> tuple[int, ...] | None:
    numbers = tuple(size for size in (sizes[a] for a in axes) if isinstance(size, int))
    return numbers if len(numbers) == len(axes) else None


def _moved(rows: str, found: Rows, at: Workspace) -> str:
    """The rows with the candidates behind the heads, where that is more than a view."""
    if all(d == 1 for d in found.heads) or found.order == sorted(found.order):
        return rows
    return at.emit("Transpose", [rows], perm=found.order)


def _without_candidates(found: Rows, at: Workspace) -> str:
    """The matrices without the axis of size 1 that goes with the candidates of the rows, if they have one."""
    place = found.place - len(found.shape) + len(at.fact(found.matrices).shape or ())
    return at.squeeze(found.matrices, [place]) if place >= 0 else found.matrices
