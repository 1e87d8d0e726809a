"""A product that mixes tokens with rows that were scaled, by their own sums for one, and with a mask::

    MatMul( P / s, Concat(V_u, V_i) )   ->   Concat( P_uu V_u / s_u, [P_iu, P_ii] [V_u; V_i] / s_i )
                                             where P = [[P_uu, 0], [P_iu, P_ii]], and s has one number for each row

    ([P_uu, 0] / s) [V_u; V_i] = (P_uu V_u) / s

Rows are normalised so in retention (RetNet), and where a model writes its Softmax out. A sum over a row of P leaves the
zeros out: what divides the user's rows comes from the user's entries alone, and these rows run once as those of
``masked-product`` do. ``s`` is 0 only where all of its row is, and then neither side is a number (``_finite``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import TensorProto

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns._finite import moves_through_sum
from mari_onnx.patterns._knowledge import Knowledge
from mari_onnx.patterns._parts import joined
from mari_onnx.patterns._pieces import Pieces
from mari_onnx.patterns.masked_product import Masked, masked, products
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace

WIDE = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE})
"""Types in which rows may be summed before they are made small; half precision ends at 65504."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """A mixing with zeros, whose rows are scaled.

    Attributes:
        mixing: The rows before they are scaled.
        op: What they are scaled with, ``Div`` or ``Mul``.
        scale: One number for each row.
        masked: The product with the zeros.
    """

    mixing: str
    op: str
    scale: str
    masked: Masked


class DividedMixing(Rule[Scaled]):
    """Scales the rows of a masked product behind it."""

    name = "divided-mixing"
    algebra = "([P_uu, 0] / s) [V_u; V_i] = (P_uu V_u) / s"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Scaled | Refusal | None:
        scaling = at.graph.producer(node.inputs[0])
        if scaling is None or scaling.domain or scaling.op not in ("Div", "Mul"):
            return None
        if at.fact(node.output).dtype not in WIDE:
            return None
        operands = [scaling.inputs] if scaling.op == "Div" else [scaling.inputs, scaling.inputs[::-1]]
        for mixing, scale in operands:
            if not _is_for_rows(scale, mixing, scaling.output, at):
                continue
            if not moves_through_sum(scaling.op, scale, at, mixing):
                continue
            found = masked(mixing, node.inputs[1], 1, at)
            return Scaled(mixing, scaling.op, scale, found) if isinstance(found, Masked) else found
        return None

    def rewrite(self, node: Node, found: Scaled, at: Workspace) -> Sequence[str]:
        pieces, rows = Pieces(at, Knowledge(at)), (at.fact(node.output).rank or 2) - 2
        made = products(found.mixing, node.inputs[1], found.masked, pieces, at)
        whole = (at.fact(found.scale).shape or ())[-2]
        scaled = []
        for product, (start, size, _) in zip(made, found.masked.groups, strict=True):
            box = {} if same(whole, 1) else {(at.fact(found.scale).rank or 2) - 2: (start, size)}
            scaled.append(at.emit(found.op, [product, pieces.of(found.scale, box)]))
        return [joined(scaled, rows, at)]


def _is_for_rows(scale: str, mixing: str, whole: str, at: Workspace) -> bool:
    """Whether a value has one number for each row of another, of the same rank, and makes it no larger."""
    own, shape = at.fact(scale).shape, at.fact(mixing).shape
    if not own or not shape or len(own) != len(shape) or len(own) < 2 or at.is_weight(scale):
        return False
    # An open number of rows may be 1 when the model runs, and is then no number for each.
    fits = same(own[-1], 1) and (same(own[-2], 1) or same(own[-2], shape[-2]))
    return fits and not same(shape[-1], 1) and alike(shape, at.fact(whole).shape)
