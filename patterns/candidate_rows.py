"""Products of each candidate with matrices that are computed once, one for each head::

    MatMul( x: [B, h, r, d], U: [h, d, n] )   ->   the rows of all candidates below each other, [h, B r, d] @ [h, d, n]
    MatMul( x: [B, 1, r, d], U: [h, d, n] )   ->   [1, B r, d] @ [h, d, n], the same rows for each head
    MatMul( x: [B, h, g, r, d], U: [h, 1, d, n] )   ->   [h, g, B r, d] @ [h, 1, d, n], heads that share a matrix

    x_b U_h for all b = [x_1; x_2; ..] U_h

One large product for each head instead of a small one for each candidate and head: attention of many candidates over
the same history, and experts that the user chooses.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class CandidateRows(Rule[str]):
    """Stacks the rows of all candidates in front of a product with what is computed once."""

    name = "candidate-rows"
    algebra = "x_b U_h for all b = [x_1; x_2; ..] U_h"
    rival = True
    exactness = Exactness.EXACT
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> str | None:
        rows, matrices = node.inputs
        fact = at.fact(rows)
        if fact.shape is None or len(fact.shape) < 4 or fact.axis is None or at.is_once(rows):
            return None
        if fact.axis.index != 0 or not fact.axis.is_whole or not all(isinstance(d, int) for d in fact.shape[1:]):
            return None
        if not at.is_once(matrices):
            return None
        single = at.single(matrices)
        shape, heads = at.fact(single).shape, fact.shape[1:-2]
        if shape is None or (len(shape) == len(fact.shape) and not same(shape[0], 1)):
            return None
        own = shape[-2 - len(heads) : -2]
        if len(own) != len(heads) or not all(isinstance(d, int) for d in own) or all(d == 1 for d in own):
            return None
        return single if all(1 in (d, h) or d == h for d, h in zip(heads, own, strict=True)) else None

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        shape, matrices = at.fact(node.inputs[0]).shape, at.fact(found).shape
        assert shape is not None
        assert matrices is not None
        batch, heads, (count, width) = shape[0], shape[1:-2], shape[-2:]
        inside = [*range(1, len(heads) + 1), 0, len(shape) - 2, len(shape) - 1]
        rows = node.inputs[0] if all(same(d, 1) for d in heads) else at.emit("Transpose", [node.inputs[0]], perm=inside)
        stacked = at.reshape(rows, (*heads, batch * count, width))
        if len(matrices) == len(shape):
            found = at.squeeze(found, [0])
        own = matrices[-2 - len(heads) : -2]
        both = [d if same(h, 1) else h for d, h in zip(heads, own, strict=True)]
        product = at.reshape(at.emit("MatMul", [stacked, found]), (*both, batch, count, matrices[-1]))
        outside = [len(heads), *range(len(heads)), len(shape) - 2, len(shape) - 1]
        return [at.emit("Transpose", [product], perm=outside)]
