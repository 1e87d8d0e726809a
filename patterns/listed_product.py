"""A linear layer on entries of which each is listed several times, as fields are that meet each other in pairs::

    MatMul( Gather(x, k), W )                            ->   Gather( MatMul(x, W), k )
    MatMul( Concat( Gather(x, k), Gather(y, l) ), W )    ->   Gather( MatMul(x, W_1), k ) + Gather( MatMul(y, W_2), l )

    [x[k], y[l]] W = (x W_1)[k] + (y W_2)[l]

It pays where the list is longer than what it is taken from; what of that is computed once comes apart then as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._linear import is_linear_layer, unmerged, weight_of
from mari_onnx.patterns._listed import Listed, listed_of
from mari_onnx.patterns._parts import joined, parts_of, summed
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of the operand: where they begin and how many they are, and the list that they are, if any."""

    value: str
    start: int
    size: int
    listed: Listed | None


@dataclass(frozen=True, slots=True)
class Lists:
    """The operand, before its leading axes were merged, and its columns."""

    operand: str
    columns: tuple[Columns, ...]


class ListedProduct(Rule[Lists]):
    """Multiplies entries before they are listed."""

    name = "listed-product"
    algebra = "[x[k], y[l]] W = (x W_1)[k] + (y W_2)[l]"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Lists | Refusal | None:
        operand = unmerged(node.inputs[0], at)
        shape = at.fact(operand).shape
        if not shape or len(shape) < 3 or at.is_once(operand):
            return None
        parts = parts_of(operand, at)
        columns = [(operand, 0, shape[-1])] if parts is None or parts.axis != parts.rank - 1 else list(parts)
        found = tuple(Columns(v, s, d, _longer(v, at)) for v, s, d in columns if isinstance(d, int))
        if len(found) < len(columns) or not any(each.listed for each in found):
            return None
        if not is_linear_layer(node, at):
            return Refusal("the other operand is not a plain weight matrix of floats")
        return Lists(operand, found)

    def rewrite(self, node: Node, found: Lists, at: Workspace) -> Sequence[str]:
        terms = []
        for each in found.columns:
            if each.listed is not None:
                once = at.emit("MatMul", [each.listed.source, weight_of(node, [(each.start, each.size)], at)])
                terms.append(Listed(once, each.listed.axis, each.listed.numbers).all_entries(at))
        others = [each for each in found.columns if each.listed is None]
        if others:
            rest = joined([each.value for each in others], (at.fact(found.operand).rank or 1) - 1, at)
            terms.append(at.emit("MatMul", [rest, weight_of(node, [(e.start, e.size) for e in others], at)]))
        total = at.reshape(summed(terms, at), at.fact(node.output).shape or ())
        return [summed([total, node.inputs[2]], at) if node.has_input(2) else total]


def _longer(value: str, at: Workspace) -> Listed | None:
    """The list that a value is, if it has more entries than what these are taken from, and is not of columns."""
    node = at.graph.producer(value)
    listed = listed_of(node, at) if node is not None and not at.is_once(value) else None
    if listed is None or listed.axis == (at.fact(value).rank or 0) - 1:
        return None
    size = (at.fact(listed.source).shape or ())[listed.axis]
    return listed if isinstance(size, int) and len(listed.numbers) > size else None
