"""A sum of the user's rows that a mask of the candidate's leaves, as a product::

    ReduceSum( Where( m: [.., n, 1], u: [.., n, d], 0 ), axis -2 )   ->   MatMul( m: [.., 1, n], u )

    sum_k where(m_k, u_k, 0) = m^T u

Steps of a history that are of the candidate's category, added up: the product reads the history once and writes nothing
of its size. A mask takes away what is no number, and a product does not: so ``u`` must be one, whatever a request
brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._always_numbers import is_always_a_number
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Masked:
    """The mask, whether it leaves a row where it is true, and the rows."""

    mask: str
    leaves: bool
    rows: str


class MaskedSum(Rule[Masked]):
    """Writes a sum of the rows that a mask leaves as a product."""

    name = "masked-sum"
    algebra = "sum_k where(m_k, u_k, 0) = m^T u"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"ReduceSum"})

    def match(self, node: Node, at: Workspace) -> Masked | None:
        whole, axes = at.fact(node.inputs[0]), at.axes(node)
        choice = at.graph.producer(node.inputs[0])
        if whole.shape is None or whole.dtype not in PRECISE or not axes or len(axes) != 1:
            return None
        if choice is None or choice.domain or choice.op != "Where":
            return None
        if int(axes[0]) % len(whole.shape) != len(whole.shape) - 2:
            return None
        mask, *sides = choice.inputs
        for rows, other in (sides, sides[::-1]):
            if at.is_once(rows) and not at.is_once(mask) and _is_zero(other, at) and _is_mask_of(mask, rows, at):
                return Masked(mask, rows == sides[0], rows) if is_always_a_number(rows, at) else None
        return None

    def rewrite(self, node: Node, found: Masked, at: Workspace) -> Sequence[str]:
        mask = found.mask if found.leaves else at.emit("Not", [found.mask])
        *lead, count, one = at.fact(mask).shape or ()
        numbers = at.emit("Cast", [at.reshape(mask, (*lead, one, count))], to=at.fact(found.rows).dtype)
        total = at.emit("MatMul", [numbers, found.rows])
        return [total if node.attrs.get("keepdims", 1) else at.squeeze(total, [(at.fact(total).rank or 0) - 2])]


def _is_zero(value: str, at: Workspace) -> bool:
    """Whether a value is a constant that is 0, and makes nothing wider."""
    array = at.constant(value) if at.is_weight(value) else None
    return array is not None and array.size == 1 and not array.any() and array.ndim < 3


def _is_mask_of(mask: str, rows: str, at: Workspace) -> bool:
    """Whether there is one truth for each row."""
    narrow, wide = at.fact(mask).shape, at.fact(rows).shape
    if not narrow or not wide or min(len(narrow), len(wide)) < 2:
        return False
    return same(narrow[-1], 1) and not same(wide[-1], 1) and same(narrow[-2], wide[-2])
