"""Dot products that are added up, as one::

    ReduceSum(x1 * y1) + ReduceSum(x2 * y2) + r   ->   ReduceSum( Concat(x1, x2) * Concat(y1, y2) ) + r
    MatMul(x1, u1) + MatMul(x2, u2) + r           ->   MatMul( Concat(x1, x2), Concat(u1, u2) ) + r

    x_1 . y_1 + x_2 . y_2 = [x_1, x_2] . [y_1, y_2],  x . y + x . z = x . (y + z)

A factorization machine written as a loop over pairs of fields. Pairs of the user are joined with each other, so are
those of a field of the user and one of the item, and those of the item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.sizes import broadcast
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._parts import joined, mixed_parts, one_row, parts_of, summed
from mari_onnx.patterns._selected import entry_of
from mari_onnx.patterns._sums import all_terms, is_summand, row_sums
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
CUTS = frozenset({"Gather", "Slice", "Split"})


@dataclass(frozen=True, slots=True)
class Dot:
    """A dot product along the last axis, or with a column that is computed once.

    Attributes:
        value: What it is summed as.
        op: ``Mul`` or ``MatMul``.
        left: One operand, the one for each candidate if only one is.
        right: The other.
    """

    value: str
    op: str
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class DotsAdded:
    """The dot products that are joined, those of one kind together, and what else is added."""

    groups: tuple[tuple[Dot, ...], ...]
    others: tuple[str, ...]


class DotSum(Rule[DotsAdded]):
    """Writes a sum of dot products as one."""

    name = "dot-sum"
    algebra = "x_1 . y_1 + x_2 . y_2 = [x_1, x_2] . [y_1, y_2]"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Add", "Sum", "ReduceSum"})

    def match(self, node: Node, at: Workspace) -> DotsAdded | None:
        terms = _terms(node, at)
        # What is added twice is not read by one alone.
        dots = {v: d for v, count in Counter(terms).items() if count == 1 and (d := _dot(v, at)) is not None}
        if any(_is_undecided(v, at) for d in dots.values() for v in (d.left, d.right)):
            return None
        groups: list[list[Dot]] = []
        for dot in dots.values():
            group = next((g for g in groups if _are_alike(dot, g[0], at)), None)
            if group is None:
                groups.append([dot])
            else:
                group.append(dot)
        groups = [g for g in groups if len(g) > 1]
        if not groups:
            return None
        taken = {dot.value for dot in chain.from_iterable(groups)}
        return DotsAdded(tuple(map(tuple, groups)), tuple(v for v in terms if v not in taken))

    def rewrite(self, node: Node, found: DotsAdded, at: Workspace) -> Sequence[str]:
        values = [*found.others, *(_joined(group, at) for group in found.groups)]
        once = [v for v in values if at.is_once(v)]
        total = summed([*([summed(once, at)] if once else []), *(v for v in values if v not in once)], at)
        shape = at.fact(node.output).shape
        return [at.reshape(total, shape) if node.op == "ReduceSum" and shape is not None else total]


def _terms(node: Node, at: Workspace) -> Sequence[str]:
    """What a node adds up, where no other sum takes it on."""
    if node.op != "ReduceSum":
        return () if _is_taken_on(node.output, at) else _filling(all_terms(node, at), node.output, at)
    value = node.inputs[0]
    parts, axes = parts_of(value, at), at.axes(node)
    if parts is None or axes is None or len(axes) != 1 or at.fact(node.output).shape is None:
        return ()
    if int(axes[0]) % parts.rank != parts.axis or set(parts.sizes) != {1} or not at.graph.is_private(value):
        return ()
    return _filling([one_row(v, at) for v in parts.values], parts.values[0], at)


def _filling(terms: Sequence[str], value: str, at: Workspace) -> Sequence[str]:
    """The terms, if their sum is known to have the shape of a value."""
    shapes = [s for v in terms if (s := at.fact(v).shape) is not None]
    return terms if len(shapes) == len(terms) and alike(broadcast(shapes), at.fact(value).shape) else ()


def _is_taken_on(value: str, at: Workspace) -> bool:
    """Whether a sum is only there to be added to something, repeated for all candidates where it is."""
    readers = at.graph.consumers(value)
    repeated = len(readers) == 1 and readers[0].op == "Expand" and at.graph.is_private(value)
    return is_summand(readers[0].output if repeated else value, at)


def _dot(value: str, at: Workspace) -> Dot | None:
    """The dot product that makes a value, which nothing else reads."""
    source: str = value
    node = at.graph.producer(source)
    while node is not None and node.op in VIEWS and not node.domain and at.graph.is_private(source):
        source = node.inputs[0]
        node = at.graph.producer(source)
    if node is None or node.domain or not at.graph.is_private(source) or at.fact(source).dtype not in PRECISE:
        return None
    if node.op == "MatMul":
        left, right = node.inputs
        column = at.fact(right).shape or ()
        if len(column) != 2 or not same(column[1], 1) or not at.is_once(right) or at.is_weight(right):
            return None
        return Dot(value, "MatMul", left, right) if _width(left, at) == column[0] else None
    scaled, axes = at.graph.producer(node.inputs[0]) if node.op == "ReduceSum" else None, at.axes(node)
    if scaled is None or scaled.op != "Mul" or scaled.domain or not at.graph.is_private(node.inputs[0]):
        return None
    if axes is None or len(axes) != 1 or int(axes[0]) not in (-1, (at.fact(node.inputs[0]).rank or 0) - 1):
        return None
    left, right = sorted(scaled.inputs, key=at.is_once)
    width = _width(left, at)
    return Dot(value, "Mul", left, right) if width is not None and width == _width(right, at) else None


def _is_undecided(value: str, at: Workspace) -> bool:
    """Whether a value is cut out of a Concat of both sides, and may turn out to be on one of them."""
    node = at.graph.producer(value)
    return node is not None and node.op in CUTS and mixed_parts(node.inputs[0], at) is not None


def _width(value: str, at: Workspace) -> int | None:
    """Entries along the last axis, if candidates lie along another."""
    fact = at.fact(value)
    if not fact.shape or fact.opaque or (fact.axis is not None and fact.axis.index == len(fact.shape) - 1):
        return None
    return fact.shape[-1] if isinstance(fact.shape[-1], int) else None


def _are_alike(one: Dot, other: Dot, at: Workspace) -> bool:
    """Whether two products differ in their widths at most."""
    if one.op != other.op or not alike(at.fact(one.value).shape, at.fact(other.value).shape):
        return False
    if at.fact(one.value).dtype != at.fact(other.value).dtype or not _have_rows_alike(one.left, other.left, at):
        return False
    return one.op == "MatMul" or _have_rows_alike(one.right, other.right, at)


def _have_rows_alike(one: str, other: str, at: Workspace) -> bool:
    shapes: list[Shape] = [at.fact(v).shape or () for v in (one, other)]
    return at.is_once(one) == at.is_once(other) and alike(shapes[0][:-1], shapes[1][:-1])


def _joined(dots: Sequence[Dot], at: Workspace) -> str:
    """One product instead of several, laid out as each of them was."""
    shape = at.fact(dots[0].value).shape
    assert shape is not None
    by_left: dict[str, list[str]] = {}
    for dot in _in_order(dots, at):
        right = dot.right if dot.op == "Mul" else at.reshape(dot.right, (1, _width(dot.left, at) or 0))
        by_left.setdefault(dot.left, []).append(right)
    left = _side_by_side(list(by_left), at)
    right = _side_by_side([summed(rights, at) for rights in by_left.values()], at)
    if dots[0].op == "MatMul":
        return at.reshape(at.emit("MatMul", [left, at.reshape(right, (_width(left, at) or 0, 1))]), shape)
    return at.reshape(row_sums(at.emit("Mul", [left, right]), at), shape)


def _side_by_side(values: Sequence[str], at: Workspace) -> str:
    return joined(values, (at.fact(values[0]).rank or 1) - 1, at)


def _in_order(dots: Sequence[Dot], at: Workspace) -> Sequence[Dot]:
    """Those next to each other whose operands are entries of the same value; such are taken in one piece."""
    entries = [entry_of(d.left, at) for d in dots]
    places = [(e.source, e.index) if e else (d.left, 0) for d, e in zip(dots, entries, strict=True)]
    first = {source: n for n, (source, _) in reversed(list(enumerate(places)))}
    order = sorted(range(len(dots)), key=lambda n: (first[places[n][0]], places[n][1]))
    return [dots[n] for n in order]
