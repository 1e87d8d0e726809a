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
from mari_onnx.patterns._axes import Labels
from mari_onnx.patterns._entries import NUMBER, Entries
from mari_onnx.patterns._knowledge import Knowledge
from mari_onnx.patterns._labels import labels_of
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
        labels = _labels(node, at)
        if node is not None and labels is not None:
            queue += [(node.inputs[i], own, depth + 1) for i, own in (labels.sources(axis) or {}).items()]
    yield from reversed(found)


def _is_row_of_truths(value: str, axis: int, at: Workspace) -> bool:
    fact = at.fact(value)
    if fact.dtype != onnx.TensorProto.BOOL or at.is_weight(value) or fact.opaque or fact.shape is None:
        return False
    candidates = fact.axis.index if fact.axis is not None and fact.axis.is_whole else None
    return candidates != axis and all(same(d, 1) for a, d in enumerate(fact.shape) if a not in (axis, candidates))


def _labels(node: Node | None, at: Workspace) -> Labels | None:
    return labels_of(node, at) if node is not None and node.op in FOLLOWED else None


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
        labels = _labels(node, self._at)
        if node is None or labels is None or depth > MAX_DEPTH:
            return None
        own = [self.of(v, depth + 1) if v else None for v in node.inputs]
        axes = {labels.target(index, axis) for index, axis in enumerate(own) if axis is not None}
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
