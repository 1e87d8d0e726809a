"""Dot products that are added up, as one::

    ReduceSum(x1 * y1) + ReduceSum(x2 * y2) + r   ->   ReduceSum( Concat(x1, x2) * Concat(y1, y2) ) + r
    MatMul(x1, u1) + c MatMul(x2, u2) + r         ->   MatMul( Concat(x1, x2), Concat(u1, c u2) ) + r

    x_1 . y_1 + x_2 . y_2 = [x_1, x_2] . [y_1, y_2],  x . y + x . z = x . (y + z)

A factorization machine written as a loop over pairs of fields, with a weight for each or without. Pairs of the user are
joined with each other, so are those of a field of the user and one of the item, and those of the item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from mari_onnx.analysis.sizes import broadcast
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns._dots import Dot, are_alike, dot_of, width
from mari_onnx.patterns._parts import joined, one_row, parts_of, summed
from mari_onnx.patterns._selected import entry_of
from mari_onnx.patterns._sums import all_terms, is_summand, row_sums
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class DotsAdded:
    """The dot products that are joined, those of one kind together, and what else is added."""

    groups: tuple[tuple[Dot, ...], ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row and what it is multiplied with, if with anything."""

    value: str
    scale: str


class DotSum(Rule[DotsAdded]):
    """Writes a sum of dot products as one."""

    name = "dot-sum"
    algebra = "x_1 . y_1 + x_2 . y_2 = [x_1, x_2] . [y_1, y_2]"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Add", "Sum", "ReduceSum"})

    def match(self, node: Node, at: Workspace) -> DotsAdded | None:
        terms = _terms(node, at)
        # What is added twice is not read by one alone.
        dots = {v: d for v, count in Counter(terms).items() if count == 1 and (d := dot_of(v, at)) is not None}
        if any(dot.is_undecided(at) for dot in dots.values()):
            return None
        groups: list[list[Dot]] = []
        for dot in dots.values():
            group = next((g for g in groups if are_alike(dot, g[0], at)), None)
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


def _joined(dots: Sequence[Dot], at: Workspace) -> str:
    """One product instead of several, laid out as each of them was."""
    shape = at.fact(dots[0].value).shape
    assert shape is not None
    by_left: dict[str, list[Row]] = {}
    for dot in _in_order(dots, at):
        right = dot.right if dot.op == "Mul" else at.reshape(dot.right, (1, width(dot.left, at) or 0))
        by_left.setdefault(dot.left, []).append(Row(right, dot.scale))
    left = _side_by_side(list(by_left), at)
    right = _side_by_side([_total(rows, at) for rows in by_left.values()], at)
    if dots[0].op == "MatMul":
        return at.reshape(at.emit("MatMul", [left, at.reshape(right, (width(left, at) or 0, 1))]), shape)
    return at.reshape(row_sums(at.emit("Mul", [left, right]), at), shape)


def _total(rows: Sequence[Row], at: Workspace) -> str:
    """Rows added up, each as often as its scale says."""
    if len(rows) > 2 and all(row.scale and at.is_once(row.value) and _is_single(row.value, at) for row in rows):
        scales = joined([at.reshape(row.scale, (1, 1)) for row in rows], 1, at)
        return at.emit("MatMul", [scales, joined([row.value for row in rows], 0, at)])
    return summed([at.emit("Mul", [r.value, at.reshape(r.scale, (1,))]) if r.scale else r.value for r in rows], at)


def _is_single(row: str, at: Workspace) -> bool:
    shape = at.fact(row).shape
    return shape is not None and len(shape) == 2 and same(shape[0], 1)


def _side_by_side(values: Sequence[str], at: Workspace) -> str:
    return joined(values, (at.fact(values[0]).rank or 1) - 1, at)


def _in_order(dots: Sequence[Dot], at: Workspace) -> Sequence[Dot]:
    """Those next to each other whose operands are entries of the same value; such are taken in one piece."""
    entries = [entry_of(d.left, at) for d in dots]
    places = [(e.source, e.index) if e else (d.left, 0) for d, e in zip(dots, entries, strict=True)]
    first = {source: n for n, (source, _) in reversed(list(enumerate(places)))}
    order = sorted(range(len(dots)), key=lambda n: (first[places[n][0]], places[n][1]))
    return [dots[n] for n in order]
