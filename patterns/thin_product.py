"""Batched products of vectors::

    MatMul( a: [.., r, 1], b: [.., 1, n] )   ->   a * b
    MatMul( a: [.., 1, d], b: [.., d, 1] )   ->   ReduceSum( a * transposed(b) )
    Einsum( "bhd,bfd->bhfd", a, b )          ->   a[:, :, None] * b[:, None]

    a b^T for each pair = a * b

A product of matrices is started for each candidate and head; arithmetic by entry is started once.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._equations import spelled_terms
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class Kind(Enum):
    """What is made of two vectors: a matrix, or a number."""

    OUTER = "outer"
    INNER = "inner"


class ThinProduct(Rule[Kind]):
    """Writes batched products of vectors entry by entry."""

    name = "thin-product"
    algebra = "a b^T for each pair = a * b"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Einsum"})

    def match(self, node: Node, at: Workspace) -> Kind | None:
        if node.op == "Einsum":
            return Kind.OUTER if _sums_nothing(node, at) else None
        left, right = (at.fact(v).shape for v in node.inputs)
        # Sums of whole numbers are those of doubles in ONNX Runtime's reductions, and other types are not multiplied.
        if at.fact(node.output).dtype not in FLOATS:
            return None
        if left is None or right is None or min(len(left), len(right)) < 3 or all(same(d, 1) for d in right[:-2]):
            return None
        if same(left[-1], 1) and same(right[-2], 1):
            return Kind.OUTER
        return Kind.INNER if same(left[-2], 1) and same(right[-1], 1) and isinstance(left[-1], int) else None

    def rewrite(self, node: Node, found: Kind, at: Workspace) -> Sequence[str]:
        if node.op == "Einsum":
            return [at.emit("Mul", _side_by_side(node, at))]
        left, right = node.inputs
        if found is Kind.OUTER:
            return [at.emit("Mul", [left, right])]
        rank = at.fact(right).rank or 2
        turned = at.emit("Transpose", [right], perm=[*range(rank - 2), rank - 1, rank - 2])
        product = at.emit("Mul", [left, turned])
        if at.opset < 13:
            return [at.emit("ReduceSum", [product], axes=[-1], keepdims=1)]
        return [at.emit("ReduceSum", [product, at.weight(np.array([-1], np.int64))], keepdims=1)]


def _sums_nothing(node: Node, at: Workspace) -> bool:
    """Whether an Einsum of two operands keeps all of their axes."""
    found = spelled_terms(node, at)
    if found is None or len(found[0]) != 2:
        return False
    terms, result = found
    plain = all(len(set(term)) == len(term) for term in (*terms, result))
    return plain and set(terms[0]) | set(terms[1]) == set(result)


def _side_by_side(node: Node, at: Workspace) -> list[str]:
    """The operands with their axes in the order of the result, and of size 1 where they have none."""
    found = spelled_terms(node, at)
    assert found is not None
    terms, result = found
    made = []
    for term, value in zip(terms, node.inputs, strict=True):
        order = [term.index(letter) for letter in sorted(term, key=result.index)]
        if order != list(range(len(order))):
            value = at.emit("Transpose", [value], perm=order)
        sizes = iter(at.fact(value).shape or ())
        made.append(at.reshape(value, [next(sizes) if letter in term else 1 for letter in result]))
    return made
