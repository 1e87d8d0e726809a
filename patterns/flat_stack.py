"""Rows stacked along an axis that each of them is given before, laid end to end instead::

    Concat( Unsqueeze(x: [B, d], 1), Unsqueeze(y: [B, d], 1), axis 1 )   ->   Reshape( Concat(x, y) -> [B, 2, d] )

    [view(x), view(y)] = view([x, y])

``torch.stack`` is exported like this: one view for each row, which all cost a start in every request. A Concat copies
what each part has behind the axes in front of its own, and those entries stay in their order: any layout of the parts
does that keeps the axes in front. The other rules look for tokens along an axis, so this one comes after them.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, product
from mari_onnx.patterns._parts import joined, parts_of
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


class FlatStack(Rule[tuple[str, ...]]):
    """Lays rows end to end and views them as stacked, where each was viewed so before."""

    name = "flat-stack"
    algebra = "[view(x), view(y)] = view([x, y])"
    exactness = Exactness.EXACT
    phases = Phase.CLOSING
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> tuple[str, ...] | None:
        parts, shape = parts_of(node.output, at), at.fact(node.output).shape
        if parts is None or shape is None or 0 in (*parts.sizes, *shape):
            return None
        if sum(not isinstance(d, int) for d in shape) > 1:
            return None
        lead = shape[: parts.axis]
        flat = tuple(_flat(value, lead, at) for value in parts.values)
        return flat if any(x != v for x, v in zip(flat, parts.values, strict=True)) else None

    def rewrite(self, node: Node, found: tuple[str, ...], at: Workspace) -> Sequence[str]:
        shape = at.fact(node.output).shape
        assert shape is not None
        axis = int(node.attrs["axis"]) % len(shape)
        sizes = [product((at.fact(value).shape or ())[axis:]) for value in found]
        rows = [at.reshape(value, (*shape[:axis], size)) for value, size in zip(found, sizes, strict=True)]
        return [at.reshape(joined(rows, axis, at), shape)]


def _flat(value: str, lead: Shape, at: Workspace) -> str:
    """What a value is a view of and has one axis behind those in front; the value itself where there is none."""
    source = value
    while not _is_flat(source, lead, at):
        producer = at.graph.producer(source)
        if producer is None or producer.domain or producer.op not in VIEWS:
            return value
        source = producer.inputs[0]
    return source


def _is_flat(value: str, lead: Shape, at: Workspace) -> bool:
    shape = at.fact(value).shape
    return shape is not None and len(shape) == len(lead) + 1 and alike(shape[:-1], lead)
