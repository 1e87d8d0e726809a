"""All pieces of a value, viewed alike and stacked along another axis: the value with its axes in another order::

    Concat( Unsqueeze(x[:, :, :8]), Unsqueeze(x[:, :, 8:]), axis 0 )   ->   Transpose( Reshape(x -> [B, T, 2, 8]) )
    Concat( x[0], x[1], axis 2 ), x: [2, B, T, 8]                      ->   Reshape( Transpose(x) -> [B, T, 16] )

    [view(x_1), view(x_2)] = turn(x)

Heads of attention are stacked and laid side by side again like this (``stack(split(x))``, ``cat(unbind(x))``): an
operator for the cut, one for the join and a view for each head, and the entries are copied twice. What numbers the
pieces is an axis of its own, in front of the axis that is cut; in what is joined it lies where they are joined. Views
leave entries in their order, so it is enough that an axis of a piece ends there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, product, same
from mari_onnx.patterns._parts import Parts, parts_of
from mari_onnx.patterns._picks import picked_entries
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring entries of a value along an axis, in whatever layout."""

    source: str
    axis: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Stacked:
    """A value of which all pieces are stacked.

    Attributes:
        source: The value.
        shape: Its sizes with an axis of its own for the number of the piece.
        order: The order in which these axes are joined.
    """

    source: str
    shape: Shape
    order: tuple[int, ...]


class StackedPieces(Rule[Stacked]):
    """Puts the axes of a value in another order instead of stacking its pieces."""

    name = "stacked-pieces"
    algebra = "[view(x_1), view(x_2)] = turn(x)"
    exactness = Exactness.EXACT
    phases = Phase.CLEARING | Phase.EARLY | Phase.MAIN
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> Stacked | None:
        parts = parts_of(node.output, at)
        if parts is None or len(parts.values) < 2:
            return None
        first, shape = _piece_of(parts.values[0], at), at.fact(parts.values[0]).shape
        if first is None or not all(alike(shape, at.fact(v).shape) for v in parts.values[1:]):
            return None
        wanted = [Piece(first.source, first.axis, first.size * k, first.size) for k in range(len(parts.values))]
        whole = at.fact(first.source).shape or ()
        if whole[first.axis] != first.size * len(wanted) or [_piece_of(v, at) for v in parts.values] != wanted:
            return None
        return _stacked(first, whole, parts, at)

    def rewrite(self, node: Node, found: Stacked, at: Workspace) -> Sequence[str]:
        shape = at.fact(node.output).shape
        assert shape is not None
        turned = at.reshape(found.source, found.shape)
        if found.order != tuple(sorted(found.order)):
            turned = at.emit("Transpose", [turned], perm=list(found.order))
        return [at.reshape(turned, shape)]


def _piece_of(value: str, at: Workspace) -> Piece | None:
    """What a value is a view of and that is cut out of another; not along the candidates."""
    node = at.graph.producer(value)
    while node is not None and node.op in VIEWS and not node.domain:
        value = node.inputs[0]
        node = at.graph.producer(value)
    if node is None:
        return None
    if node.kind == "Split":
        return _output_of_split(node, value, at)
    picked = picked_entries(node, at) if node.kind in ("Slice", "Gather") else None
    if picked is None:
        return None
    axis, entries = picked
    together = list(entries) == list(range(entries[0], entries[0] + len(entries)))
    return Piece(node.inputs[0], axis, entries[0], len(entries)) if together else None


def _output_of_split(node: Node, value: str, at: Workspace) -> Piece | None:
    fact = at.fact(node.inputs[0])
    if not fact.shape or fact.opaque:
        return None
    axis = int(node.attrs.get("axis", 0)) % len(fact.shape)
    shapes = [at.fact(v).shape if v else None for v in node.outputs]
    sizes = [shape[axis] for shape in shapes if shape is not None and isinstance(shape[axis], int)]
    if len(sizes) < len(shapes) or (fact.axis is not None and fact.axis.index == axis):
        return None
    place = node.outputs.index(value)
    return Piece(node.inputs[0], axis, sum(sizes[:place]), sizes[place])


def _stacked(first: Piece, whole: Shape, parts: Parts, at: Workspace) -> Stacked | None:
    """The value's axes as they are joined, where what lies in front of the joined one ends with an axis of a piece."""
    axis, inner = first.axis, () if first.size == 1 else (first.size,)
    rest = (*whole[:axis], *inner, *whole[axis + 1 :])
    before = product((at.fact(parts.values[0]).shape or ())[: parts.axis])
    ends = [end for end in range(len(rest) + 1) if same(product(rest[:end]), before)]
    if not ends or 0 in whole:
        return None
    end = min(ends, key=lambda end: abs(end - axis))
    others = [a for a in range(len(rest) + 1) if a != axis]
    order = (*others[:end], axis, *others[end:])
    return Stacked(first.source, (*whole[:axis], len(parts.values), *inner, *whole[axis + 1 :]), order)
