"""An Einsum over an operand that is the same for all candidates::

    Einsum( "bld,bd->bl", repeat(u), i )        ->   MatMul( i, Transpose(u) )
    Einsum( "bld,bd,de->ble", repeat(u), i, W ) ->   Einsum( "ld,bd,de->ble", u, i, W )

    sum_k repeat(U)[b, k] x[b, k] = sum_k U[k] x[b, k]

What were as many products of small matrices as there are candidates is one product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, may_be_zero, same
from mari_onnx.patterns._equations import MatrixProduct, agree, matrix_product, multiplied, plain_terms
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Shorter:
    """What is left of an equation.

    Attributes:
        axes: For operands that are repeated the axis that goes.
        equation: The equation without these.
        product: The same as products of matrices, where it is no more.
    """

    axes: tuple[int | None, ...]
    equation: str
    product: MatrixProduct | None


class EinsumRepeat(Rule[Shorter]):
    """Leaves the candidates out of operands that are there once."""

    name = "einsum-repeat"
    algebra = "sum_k repeat(U)[b, k] x[b, k] = sum_k U[k] x[b, k]"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> Shorter | None:
        equation = plain_terms(node)
        if equation is None:
            return None
        terms, result = equation
        if any(at.fact(v).shape is None for v in node.inputs):
            return None
        axes = tuple(_repeated(v, at) for v in node.inputs)
        kept = {term[axis] for term, axis in zip(terms, axes, strict=True) if axis is not None}
        others = {
            letter
            for term, axis, value in zip(terms, axes, node.inputs, strict=True)
            if axis is None
            for letter, size in zip(term, at.fact(value).shape or (), strict=True)
            if any(same(size, candidates) for candidates in _candidates(node, axes, at))
        }
        if len(kept) != 1 or not kept <= others or any(len(t) == 1 for t, a in zip(terms, axes, strict=True) if a == 0):
            return None
        shorter = [t if a is None else t[:a] + t[a + 1 :] for t, a in zip(terms, axes, strict=True)]
        made = matrix_product(shorter, result) if agree(node.inputs, terms, at) else None
        # Matrices of one operand that serve for several of the other are left to Einsum: it lays their rows together.
        made = made if made is not None and made.shared == made.batch else None
        # ONNX Runtime's Einsum does not survive operands without entries that have little in common.
        if made is None and any(may_be_zero(d) for v in node.inputs for d in at.fact(v).shape or ()):
            return None
        return Shorter(axes, f"{','.join(shorter)}->{result}", made)

    def rewrite(self, node: Node, found: Shorter, at: Workspace) -> Sequence[str]:
        operands = [
            v if axis is None else at.squeeze(at.single(v), [axis])
            for v, axis in zip(node.inputs, found.axes, strict=True)
        ]
        if found.product is not None:
            return [multiplied(operands, found.product, at)]
        return [at.emit("Einsum", operands, equation=found.equation)]


def _candidates(node: Node, axes: Sequence[int | None], at: Workspace) -> list[Dim]:
    """How many candidates there are, as the operands that are repeated have it.

    Another operand must have as many: one of size 1 is repeated as well, and would not say how often to sum.
    """
    shapes = [(at.fact(v).shape, axis) for v, axis in zip(node.inputs, axes, strict=True)]
    return [shape[axis] for shape, axis in shapes if shape is not None and axis is not None]


def _repeated(value: str, at: Workspace) -> int | None:
    """The axis along which a value is repeated for every candidate."""
    axis = at.fact(value).axis
    return axis.index if at.is_user(value) and axis is not None and axis.is_whole else None
