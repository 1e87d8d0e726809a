"""Several products with the same operand, their weights stacked::

    Einsum( "bd,edh->beh", x, W )   ->   Reshape( MatMul( x, [W_1 .. W_e] ) )

    x W_e for all e = x [W_1, .., W_e]

The experts of a mixture become one product, which splits like any other. It is rewritten where that comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import product
from mari_onnx.patterns._equations import agree
from mari_onnx.patterns.einsum_matmul import is_product
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Stack:
    """An Einsum as a product.

    Attributes:
        value: The operand that is no weight.
        weight: The weight.
        order: The order in which the axes of the weight are laid out: those summed over, then those of the result.
        summed: How many axes are summed over.
        turn: Where each axis of the result is found among those of rows and columns.
    """

    value: str
    weight: str
    order: tuple[int, ...]
    summed: int
    turn: tuple[int, ...]


class Experts(Rule[Stack]):
    """Writes an Einsum with a constant operand as one product."""

    name = "experts"
    algebra = "x W_e for all e = x [W_1, .., W_e]"
    exactness = Exactness.REASSOCIATING
    enabling = True
    ops = frozenset({"Einsum"})

    def match(self, node: Node, at: Workspace) -> Stack | None:
        left, arrow, result = str(node.attrs.get("equation", "")).replace(" ", "").partition("->")
        terms = left.split(",")
        if not arrow or len(terms) != 2 or "." in left or is_product(node, at):
            return None
        for one, other in ((0, 1), (1, 0)):
            if at.is_weight(node.inputs[other]) and not at.is_once(node.inputs[one]):
                return _stack(node.inputs[one], node.inputs[other], terms[one], terms[other], result, at)
        return None

    def rewrite(self, node: Node, found: Stack, at: Workspace) -> Sequence[str]:
        before = at.fact(found.value).shape or ()
        lead = before[: len(before) - found.summed]
        sizes = [(at.fact(found.weight).shape or ())[axis] for axis in found.order]

        def laid_out() -> np.ndarray:
            array = at.constant(found.weight)
            assert array is not None
            inner = int(np.prod(sizes[: found.summed]))
            return np.ascontiguousarray(array.transpose(found.order).reshape(inner, -1))

        weight = at.cached_weight(("stack", found.weight, found.order, found.summed), laid_out, f"{found.weight}/flat")
        rows = at.reshape(found.value, (*lead, product(before[len(lead) :])))
        total = at.reshape(at.emit("MatMul", [rows, weight]), (*lead, *sizes[found.summed :]))
        if found.turn == tuple(range(len(found.turn))):
            return [total]
        return [at.emit("Transpose", [total], perm=list(found.turn))]


def _stack(value: str, weight: str, rows: str, columns: str, result: str, at: Workspace) -> Stack | None:
    """Letters sorted: the last of the value's are summed over, all others stand in the result."""
    if any(len(set(term)) != len(term) for term in (rows, columns, result)):
        return None
    shared = [letter for letter in rows if letter in columns]
    kept = [letter for letter in columns if letter not in shared]
    lead = rows[: len(rows) - len(shared)]
    if not shared or not lead or list(rows[len(lead) :]) != shared:
        return None
    if sorted(result) != sorted([*lead, *kept]):
        return None
    if not agree([value, weight], [rows, columns], at):
        return None
    kept.sort(key=result.index)
    order = tuple(columns.index(letter) for letter in (*shared, *kept))
    found = [*lead, *kept]
    return Stack(value, weight, order, len(shared), tuple(found.index(letter) for letter in result))
