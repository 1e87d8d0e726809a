"""A product that mixes tokens, with a mask that cuts the user's tokens off from the items'::

    MatMul( P, Concat(V_u, V_i) )   ->   Concat( MatMul(P_uu, V_u), MatMul([P_iu, P_ii], Concat(V_u, V_i)) )
                                         where P = [[P_uu, 0], [P_iu, P_ii]]

    [P_uu, 0] [V_u; V_i] = P_uu V_u

The zeros are proven from the constants of the mask: a triangle multiplied onto the scores, minus infinity in front of
the Softmax, a mixing weight with zeros. What is left of P for the user's rows is built from the user's tokens alone,
so it runs once, and with it the user's rows of the whole layer. A column of the Softmax that is cut off again, as that
of an attention sink is, stays in the sums of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.patterns._entries import for_all_heads
from mari_onnx.patterns._finite import infinite_by_masks_alone
from mari_onnx.patterns._knowledge import Knowledge
from mari_onnx.patterns._parts import Parts, joined, mixed_parts
from mari_onnx.patterns._pieces import Pieces, neighbours
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace

MAX_GROUPS = 4
SCATTERED = "the rows that the mask cuts off are scattered"

Both = tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Masked:
    """A product with zeros.

    Attributes:
        parts: Parts of the operand that is joined on the axis that is summed over.
        operand: Its position, 0 or 1.
        groups: Neighbouring rows (columns where the operand is the left one) that need the same parts: where they
            start, how many they are, and whether they need what is computed once and what is per candidate.
    """

    parts: Parts
    operand: int
    groups: tuple[tuple[int, int, Both], ...]


class MaskedProduct(Rule[Masked]):
    """Leaves the parts out that a mask removes."""

    name = "masked-product"
    algebra = "[P_uu, 0] [V_u; V_i] = P_uu V_u"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul"})

    def match(self, node: Node, at: Workspace) -> Masked | Refusal | None:
        for operand in (1, 0):
            found = masked(node.inputs[1 - operand], node.inputs[operand], operand, at)
            if found is not None:
                return found
        return None

    def rewrite(self, node: Node, found: Masked, at: Workspace) -> Sequence[str]:
        mixing, value = node.inputs[1 - found.operand], node.inputs[found.operand]
        rows = products(mixing, value, found, Pieces(at, Knowledge(at)), at)
        return [joined(rows, (at.fact(node.output).rank or 2) - 1 - found.operand, at)]


def masked(mixing: str, value: str, operand: int, at: Workspace) -> Masked | Refusal | None:
    """The zeros in the product of a mixing with a value, which is the operand of that number."""
    parts, shape = mixed_parts(value, at), at.fact(mixing).shape
    if parts is None or shape is None or min(parts.rank, len(shape)) < 2 or parts.axis != parts.rank - 1 - operand:
        return None
    needed = _needed(mixing, operand, parts, at)
    if needed is None:
        return None
    groups = _grouped(needed)
    return Masked(parts, operand, groups) if len(groups) <= MAX_GROUPS else Refusal(SCATTERED)


def products(mixing: str, value: str, found: Masked, pieces: Pieces, at: Workspace) -> list[str]:
    """The product for each of the groups, of the parts that it needs."""
    parts, rank = found.parts, at.fact(mixing).rank or 2
    free, summed = (rank - 2, rank - 1) if found.operand == 1 else (rank - 1, rank - 2)
    rows = []
    for start, size, (once, each) in found.groups:
        chosen = [p for p in parts if p[2] and (once if at.is_once(p[0]) else each)]
        part, runs = value, [(0, parts.total)]
        if len(chosen) < len(parts.values):
            part, runs = joined([v for v, _, _ in chosen], parts.axis, at), neighbours(chosen)
        cuts = [pieces.of(mixing, {free: (start, size), summed: run}) for run in runs]
        mixed = joined(cuts, summed, at)
        rows.append(at.emit("MatMul", [mixed, part] if found.operand == 1 else [part, mixed]))
    return rows


def _needed(mixing: str, operand: int, parts: Parts, at: Workspace) -> list[Both] | None:
    """For each row, whether it needs what is computed once, and what is per candidate; ``None`` where all need both."""
    shape = at.fact(mixing).shape or ()
    size = shape[-2] if operand == 1 else shape[-1]
    zeros = Knowledge(at).zeros(mixing)
    if not isinstance(size, int) or not zeros.any():
        return None
    zeros = for_all_heads(zeros)
    zeros = np.broadcast_to(zeros if operand == 1 else zeros.T, (size, parts.total))
    once = np.repeat([at.is_once(v) for v in parts.values], parts.sizes)
    needed = [(bool(not row[once].all()), bool(not row[~once].all())) for row in zeros]
    # Rows of zeros need something to have a value at all.
    needed = [(True, False) if n == (False, False) else n for n in needed]
    cuts = any(n != (True, True) for n in needed)
    return needed if cuts and infinite_by_masks_alone(mixing, at) else None


def _grouped(needed: Sequence[Both]) -> tuple[tuple[int, int, Both], ...]:
    groups = []
    for both, members in groupby(enumerate(needed), key=lambda member: member[1]):
        indices = [index for index, _ in members]
        groups.append((indices[0], len(indices), both))
    return tuple(groups)
