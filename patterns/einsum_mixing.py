"""An Einsum that mixes tokens by a constant matrix::

    Einsum( "ij,bjd->bid", W, x )   ->   MatMul( W, x )

    sum_j W[i, j] x[.., j, d] = W x

The operands may stand the other way round, and the axes of the matrix. It is rewritten where the product then splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._equations import agree, plain_terms
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._parts import turned
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Mixing:
    """The matrix, whether its rows are what is summed over, the tokens, and where the result's axes are found."""

    matrix: str
    is_turned: bool
    tokens: str
    order: tuple[int, ...]


class EinsumMixing(Rule[Mixing]):
    """Writes an Einsum over the last axis but one of the tokens as a MatMul."""

    name = "einsum-mixing"
    algebra = "sum_j W[i, j] x[.., j, d] = W x"
    exactness = Exactness.REASSOCIATING
    enabling = True
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> Mixing | None:
        equation = plain_terms(node)
        if equation is None or len(equation[0]) != 2 or at.fact(node.output).dtype not in FLOATS:
            return None
        terms, result = equation
        if not agree(node.inputs, terms, at):
            return None
        for one, other in ((0, 1), (1, 0)):
            matrix, tokens = terms[one], terms[other]
            if at.is_weight(node.inputs[one]) and len(matrix) == 2 and len(tokens) > 2 and tokens[-2] in matrix:
                kept = matrix.replace(tokens[-2], "")
                made = tokens[:-2] + kept + tokens[-1]
                if kept not in tokens and sorted(made) == sorted(result):
                    order = tuple(made.index(letter) for letter in result)
                    return Mixing(node.inputs[one], matrix[0] == tokens[-2], node.inputs[other], order)
        return None

    def rewrite(self, node: Node, found: Mixing, at: Workspace) -> Sequence[str]:
        matrix = turned(found.matrix, at) if found.is_turned else found.matrix
        mixed = at.emit("MatMul", [matrix, found.tokens])
        if found.order == tuple(range(len(found.order))):
            return [mixed]
        return [at.emit("Transpose", [mixed], perm=list(found.order))]
