"""Dot products, as models write them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._parts import mixed_parts
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

CUTS = frozenset({"Gather", "Slice", "Split"})


@dataclass(frozen=True, slots=True)
class Dot:
    """A dot product along the last axis, or with a column that is computed once.

    Attributes:
        value: What it is read as.
        op: ``Mul`` or ``MatMul``.
        left: One operand, the one for each candidate if only one is.
        right: The other.
        scale: A finite number that it is multiplied with, computed once; ``""`` for none.
    """

    value: str
    op: str
    left: str
    right: str
    scale: str = ""

    def is_undecided(self, at: Workspace) -> bool:
        """Whether an operand is cut out of a Concat of both sides, and may turn out to be on one of them."""
        cuts = [node for v in (self.left, self.right) if (node := at.graph.producer(v)) is not None and node.op in CUTS]
        return any(mixed_parts(node.inputs[0], at) is not None for node in cuts)


def dot_of(value: str, at: Workspace) -> Dot | None:
    """The dot product that makes a value, which nothing else reads."""
    node = _maker(value, at)
    if node is None or at.fact(node.output).dtype not in PRECISE:
        return None
    if node.op == "MatMul":
        return _with_column(value, node, at)
    if node.op == "Mul":
        return _scaled(value, node, at)
    return _of_rows(value, node, at) if node.op == "ReduceSum" else None


def _maker(value: str, at: Workspace) -> Node | None:
    """What makes a value, layouts aside, for nobody else to read."""
    node = at.graph.producer(value)
    while node is not None and node.op in VIEWS and not node.domain and at.graph.is_private(value):
        value = node.inputs[0]
        node = at.graph.producer(value)
    return node if node is not None and not node.domain and at.graph.is_private(value) else None


def _with_column(value: str, node: Node, at: Workspace) -> Dot | None:
    left, right = node.inputs
    column = at.fact(right).shape or ()
    if len(column) != 2 or not same(column[1], 1) or not at.is_once(right) or at.is_weight(right):
        return None
    return Dot(value, "MatMul", left, right) if width(left, at) == column[0] else None


def _scaled(value: str, node: Node, at: Workspace) -> Dot | None:
    for inner, scale in (node.inputs, node.inputs[::-1]):
        sizes = at.fact(scale).shape
        if not at.is_once(scale) or sizes is None or len(sizes) > (at.fact(inner).rank or 0):
            continue
        dot = dot_of(inner, at) if all(same(d, 1) for d in sizes) else None
        if dot is not None and not dot.scale and never_infinite(scale, at):
            return replace(dot, value=value, scale=scale)
    return None


def _of_rows(value: str, node: Node, at: Workspace) -> Dot | None:
    whole, axes = node.inputs[0], at.axes(node)
    scaled = at.graph.producer(whole)
    if scaled is None or scaled.op != "Mul" or scaled.domain or not at.graph.is_private(whole):
        return None
    if axes is None or len(axes) != 1 or int(axes[0]) not in (-1, (at.fact(whole).rank or 0) - 1):
        return None
    left, right = sorted(scaled.inputs, key=at.is_once)
    size = width(left, at)
    return Dot(value, "Mul", left, right) if size is not None and size == width(right, at) else None


def width(value: str, at: Workspace) -> int | None:
    """Entries along the last axis, if candidates lie along another."""
    fact = at.fact(value)
    if not fact.shape or fact.opaque or (fact.axis is not None and fact.axis.index == len(fact.shape) - 1):
        return None
    return fact.shape[-1] if isinstance(fact.shape[-1], int) else None


def are_alike(one: Dot, other: Dot, at: Workspace) -> bool:
    """Whether two products differ in their widths at most."""
    if one.op != other.op or not alike(at.fact(one.value).shape, at.fact(other.value).shape):
        return False
    if at.fact(one.value).dtype != at.fact(other.value).dtype or not _have_rows_alike(one.left, other.left, at):
        return False
    return one.op == "MatMul" or _have_rows_alike(one.right, other.right, at)


def _have_rows_alike(one: str, other: str, at: Workspace) -> bool:
    shapes: list[Shape] = [at.fact(v).shape or () for v in (one, other)]
    return at.is_once(one) == at.is_once(other) and alike(shapes[0][:-1], shapes[1][:-1])
