"""Whether anything is read of the tokens that are padding.

Two runs of a graph on the same inputs are compared, which differ in what some attentions find for tokens that are
padding: in the rows of a Softmax whose own gate is dead (see :mod:`mari_onnx.patterns._gates`). What the proof has of
each value is along which tokens the runs may differ, dead ones always:

- Layers work on each token by itself: the runs go on differing in dead tokens only.
- A Softmax over tokens, in a row that certainly sees something (a plain entry, be it that of the token itself when its
  gate is alive): the entries of dead tokens are masked in both runs, so they are exactly 0 in both and change neither
  the largest entry nor the sum; all others are equal. Rows that see nothing unless their own gate is alive are dead
  themselves where they see nothing, and may differ.
- A product with such weights: nothing of a dead token's value gets into a row that does not differ anyway, as it is
  multiplied with 0; what layers computed is finite.
- Picking tokens of which none can be dead leaves no difference.

The proof holds where no output differs. A gate may have any truths: all dead, none, dead ones anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.orders import axis_of
from mari_onnx.patterns._along import EVERYWHERE, Along, Differences, Places, along
from mari_onnx.patterns._entries import NUMBER, Entries, for_all_heads, mask_of
from mari_onnx.patterns._gates import Gate, Supposed, TokenAxes
from mari_onnx.patterns._knowledge import Knowledge
from mari_onnx.patterns._spread import spread
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True)
class Rows:
    """What is known of the rows of a Softmax over tokens, by query and key, for all heads alike.

    Attributes:
        first: The token that the first row is taken for; the others are for those behind it.
        seeing: Rows that certainly see something.
        own: Rows that see themselves if their gate is alive.
        hidden: Entries that are masked if the gate of their key is dead.
        never: Entries that are masked in any case.
        absent: Entries that are minus infinity in any case.
    """

    first: int
    seeing: np.ndarray
    own: np.ndarray
    hidden: np.ndarray
    never: np.ndarray
    absent: np.ndarray


class Unread:
    """Follows what dead tokens of a gate hold through a graph.

    Args:
        gate: Which tokens are dead.
        knowledge: What is known of values.
        at: The graph; it must not change meanwhile.
    """

    def __init__(self, gate: Gate, knowledge: Knowledge, at: Workspace) -> None:
        axes = TokenAxes(gate, at)
        self._at = at
        self.gate = gate
        self._axes = axes
        self._known = knowledge
        self.dead = Supposed(at, knowledge, gate, axes, gate.dead)
        self.alive = Supposed(at, knowledge, gate, axes, not gate.dead)
        known = knowledge.of(gate.value)
        certain = (known.state == NUMBER) & ((known.number != 0) != gate.dead)
        other = tuple(a for a in range(certain.ndim) if a != gate.axis)
        self._mortal = np.broadcast_to(~certain.all(axis=other), gate.size)

    def rows(self, softmax: Node) -> Rows | None:
        """What is known of the rows of a Softmax along the tokens of the gate, if it is one."""
        scores, at = softmax.inputs[0], self._at
        shape = at.fact(scores).shape
        rank = len(shape or ())
        if (
            shape is None
            or rank < 2
            or shape[-2] == 1
            or self._axes.of(scores) != rank - 1
            or not isinstance(shape[-2], int)
        ):
            return None
        if axis_of(softmax, rank, at.opset) != rank - 1:
            return None
        mask, table = mask_of(at.fact(scores).dtype), (shape[-2], self.gate.size)
        plain, dead, alive = (_as_table(k.of(scores), table) for k in (self._known, self.dead, self.alive))
        masked = [for_all_heads(x.masked(mask)) for x in (dead, alive)]
        absent = [for_all_heads((x.state == NUMBER) & (x.number == -np.inf)) for x in (dead, alive)]
        seeing = for_all_heads((plain.quiet | (dead.quiet & alive.quiet)).any(-1, keepdims=True))[:, 0]
        first, own = _own_tokens(for_all_heads(alive.quiet), seeing)
        return Rows(first, seeing, own, masked[0], masked[0] & masked[1], absent[0] & absent[1])

    def reached(self, changed: str) -> Node | None:
        """The first node behind which more than dead tokens differ, if what a Softmax finds for dead ones is changed.

        Args:
            changed: What the Softmax makes.
        """
        differing: dict[str, Places] = {}
        given = Differences(self._at, differing, lambda first, end: bool(self._mortal[max(first, 0) : end].any()))
        self._vanishing: dict[str, Along] = {}
        for node in self._at.graph.sorted_nodes():
            found = self._behind(node, given)
            if changed in node.outputs and found[0] is not None:
                shape, rows = self._at.fact(changed).shape or (), self.rows(node)
                found = [found[0] | {along(len(shape) - 2, shape, rows.first if rows is not None else 0)}]
            told = [v for v, places in zip(node.outputs, found, strict=True) if places and self._at.graph.is_output(v)]
            if told or EVERYWHERE in found:
                return node
            differing |= {v: places for v, places in zip(node.outputs, found, strict=True) if v and places}
        return None

    def _behind(self, node: Node, given: Differences) -> Sequence[Places | None]:
        if node.domain or len(node.outputs) != 1:
            return spread(node, given)
        if node.op == "Softmax":
            return [self._weights(node, given)]
        if node.op == "MatMul" and node.inputs[0] in self._vanishing:
            return [self._mixed(node, given)]
        self._keep_zeros(node)
        return spread(node, given)

    def _weights(self, node: Node, given: Differences) -> Places | None:
        """Behind a Softmax dead tokens weigh nothing, but in rows that are dead themselves."""
        rows, shape, places = self.rows(node), given.shape(node.output) or (), given.places(node.inputs[0])
        if rows is None or not _is_settled(rows, self._mortal):
            return spread(node, given)[0]
        columns, queries = along(len(shape) - 1, shape), along(len(shape) - 2, shape, rows.first)
        self._vanishing[node.output] = columns
        others = places - {columns}
        if any(place.axis(shape) in (None, len(shape) - 1) for place in others):
            return EVERYWHERE
        # A row that sees nothing is dead: it weighs dead tokens, too, and so what they hold, be that equal or not.
        return others | ({queries} if not rows.seeing.all() else Places())

    def _mixed(self, node: Node, given: Differences) -> Places | None:
        """A product that leaves out what dead tokens hold."""
        weights, values = node.inputs
        shape, places = given.shape(values) or (), given.places(values)
        summed = {place for place in places if place.axis(shape) == len(shape) - 2}
        if len(shape) < 2 or any((place.size, place.first) != (self.gate.size, 0) for place in summed):
            return EVERYWHERE
        left = {weights: given.places(weights), values: places - summed}
        return spread(node, Differences(self._at, left, given.matters))[0]

    def _keep_zeros(self, node: Node) -> None:
        """Weights that are looked at entry by entry still weigh nothing where they did."""
        at = self._at
        if node.op in ("Identity", "Cast", "Dropout") and node.inputs[0] in self._vanishing:
            self._vanishing[node.output] = self._vanishing[node.inputs[0]]
        if node.op == "Where":
            places = []
            for value in node.inputs[1:]:
                number = at.constant(value) if at.is_weight(value) else None
                if number is None or number.any():
                    places.append(self._vanishing.get(value))
            if len(places) == 1 and places[0] is not None and _same_shape(node, at):
                self._vanishing[node.output] = places[0]


def _same_shape(node: Node, at: Workspace) -> bool:
    shape = at.fact(node.output).shape
    return shape is not None and any(at.fact(v).shape == shape for v in node.inputs[1:])


def _is_settled(rows: Rows, mortal: np.ndarray) -> bool:
    """Whether each row sees something unless it is dead, and nothing of any dead token then."""
    return bool((rows.seeing | rows.own).all() and rows.hidden[:, mortal].all())


def _own_tokens(quiet: np.ndarray, seeing: np.ndarray) -> tuple[int, np.ndarray]:
    """Which token the first row is taken for, and the rows that see the token that they are taken for.

    Where there are fewer rows than tokens, most likely they are those of the last tokens. That is no more than a
    guess at what will prove most: any token does of which the mask says that the row sees it when it is alive.

    Args:
        quiet: Entries that are plain when their key is alive, by query and key.
        seeing: Rows that see something in any case.
    """
    queries, keys = quiet.shape
    for first in dict.fromkeys((max(keys - queries, 0), 0)):
        own = np.zeros(queries, np.bool_)
        diagonal = quiet.diagonal(first)
        own[: len(diagonal)] = diagonal
        if (seeing | own).all():
            break
    return first, own


def _as_table(entries: Entries, table: tuple[int, int]) -> Entries:
    return entries.map(lambda x: np.broadcast_to(x, (*x.shape[:-2], *table)))
