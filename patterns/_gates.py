"""What is known of values once it is supposed that a token is padding, or that it is none.

A *gate* is a value of truths, one for each token, from which the mask of an attention is made. An entry of a mask that
depends on the truth of its own token alone is known in both cases, though nothing is known of the mask as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.ir.orders import order_of
from mari_onnx.patterns._entries import NUMBER, Entries
from mari_onnx.patterns._knowledge import Knowledge
from mari_onnx.patterns._pieces import same_axis
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

MAX_DEPTH = 40
"""What lies further up is not looked at."""

FOLLOWED = frozenset({*UNARY, *BROADCASTING, *VIEWS, "Expand", "Transpose"})
"""Operators that make each entry of one entry of each input."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A truth for each token.

    Attributes:
        value: The truths, of type bool.
        axis: The axis of the tokens; no other one than that of the candidates has more than one entry.
        size: How many tokens there are.
        dead: The truth of a token that is padding.
    """

    value: str
    axis: int
    size: int
    dead: bool


def gates_above(value: str, axis: int, at: Workspace) -> Iterator[tuple[str, int, int]]:
    """Truths that the entries along an axis of a value are made of: value, axis, size; those furthest up first."""
    size = (at.fact(value).shape or ())[axis]
    seen: dict[tuple[str, int], None] = {}
    found, queue = [], [(value, axis, 0)]
    while queue and isinstance(size, int):
        value, axis, depth = queue.pop(0)
        if (value, axis) in seen or depth > MAX_DEPTH:
            continue
        seen[value, axis] = None
        if _is_row_of_truths(value, axis, at):
            found.append((value, axis, size))
        node = at.graph.producer(value)
        if node is not None and not node.domain:
            above = [(v, own, depth + 1) for v in node.inputs if v for own in _axes_above(node, v, value, axis, at)]
            queue += [entry for entry in above if same((at.fact(entry[0]).shape or ())[entry[1]], size)]
    yield from reversed(found)


def _is_row_of_truths(value: str, axis: int, at: Workspace) -> bool:
    fact = at.fact(value)
    if fact.dtype != onnx.TensorProto.BOOL or at.is_weight(value) or fact.opaque or fact.shape is None:
        return False
    candidates = fact.axis.index if fact.axis is not None and fact.axis.is_whole else None
    return candidates != axis and all(same(d, 1) for a, d in enumerate(fact.shape) if a not in (axis, candidates))


def _axes_above(node: Node, operand: str, value: str, axis: int, at: Workspace) -> list[int]:
    """The axis of an operand whose entries go one for one with those along an axis of the result; none or one."""
    before, after = at.fact(operand).shape, at.fact(value).shape
    if before is None or after is None:
        return []
    own = [a for a in range(len(before)) if goes_to(node, operand, a, at) == axis]
    return own[:1]


def goes_to(node: Node, operand: str, axis: int, at: Workspace) -> int | None:
    """The axis of the result that goes with an axis of an operand, entry by entry, each with nothing of the others."""
    before, after = at.fact(operand).shape, at.fact(node.output).shape
    if before is None or after is None or len(node.outputs) != 1 or node.domain:
        return None
    if node.op in (*UNARY, *BROADCASTING) or (node.op == "Expand" and operand == node.inputs[0]):
        own = axis + len(after) - len(before)
    elif node.op in VIEWS and operand == node.inputs[0]:
        found = same_axis(axis, before, after)
        own = -1 if found is None else found
    elif node.op == "Transpose":
        own = order_of(node, len(before)).index(axis)
    else:
        return None
    return own if 0 <= own < len(after) and same(before[axis], after[own]) else None


class TokenAxes:
    """Finds the values each of whose entries depends on the truth of one token, with the axis of the tokens.

    An entry may depend on anything else as well: on the gate as a whole too, as what layers compute of it does.

    Args:
        gate: Where the truths are.
        at: The graph; it must not change meanwhile.
    """

    def __init__(self, gate: Gate, at: Workspace) -> None:
        self._at = at
        self._known: dict[str, int | None] = {gate.value: gate.axis}

    def of(self, value: str, depth: int = 0) -> int | None:
        """The axis of the tokens; ``None`` where entries are not known to go with tokens."""
        if value not in self._known:
            self._known[value] = self._found(value, depth)
        return self._known[value]

    def _found(self, value: str, depth: int) -> int | None:
        node = self._at.graph.producer(value)
        if node is None or depth > MAX_DEPTH or node.op not in FOLLOWED:
            return None
        own = [(v, self.of(v, depth + 1)) for v in node.inputs if v]
        axes = {goes_to(node, v, axis, self._at) for v, axis in own if axis is not None}
        return axes.pop() if len(axes) == 1 else None


class Supposed(Knowledge):
    """What is known of entries if the truth of the token that they belong to is a given one.

    Values whose entries do not go with tokens are known as they are without any supposition. So the entry of a token is
    right whatever the truths of other tokens are.

    Args:
        at: The graph; it must not change meanwhile.
        given: What is known of all values without the supposition.
        gate: Where the truths are.
        axes: Tells which entries go with tokens.
        truth: What is supposed; it does not concern tokens whose truth is known.
    """

    def __init__(self, at: Workspace, given: Knowledge, gate: Gate, axes: TokenAxes, truth: bool) -> None:
        super().__init__(at)
        self._given = given
        self._axes = axes
        known = given.of(gate.value)
        self._memo[gate.value] = Entries(
            np.full(known.state.shape, NUMBER, np.int8),
            np.where(known.state == NUMBER, known.number != 0, truth),
        )

    def of(self, value: str, depth: int = 0) -> Entries:
        """What is known of a value whose rank is known."""
        return super().of(value, depth) if self._axes.of(value) is not None else self._given.of(value, depth)
