"""Columns of user and item that meet what a layer makes for each of them::

    Gemm( Concat(u, i) * Gemm(h, U, b), W, c )   ->   Gemm( i * Gemm(h, U_i, b_i), W_i,
                                                            C = Gemm( u * Gemm(h, U_u, b_u), W_u, c ) )

    ([u, i] (h U)) W = (u (h U_u)) W_u + (i (h U_i)) W_i

All that works on the columns one by one is taken apart at once, from the layers that make them to those that sum over
them, however many scales and sums lie between. So the user's columns stay one row where they meet the others, and no
row of both is written. A cross network (``x0 * (W x + b) + x``) reads them in every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.ir import Node
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._labels import labels_of
from mari_onnx.patterns._linear import is_linear_layer
from mari_onnx.patterns._orders import axis_joined, orders_from
from mari_onnx.patterns._parts import Parts, cut, joined, mixed_parts, one_row, parts_of, runs_of, taken, weight_rows
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

COLUMNS = 1
"""The axis of a matrix that is taken apart."""
PRODUCTS = frozenset({"MatMul", "Gemm"})
BY_ENTRY = frozenset({*UNARY, *BROADCASTING})

Borders = dict[str, set[int]]
"""Where the columns of a value are cut, both ends included."""
Made = dict[str, list[str]]
"""The pieces of a value."""


@dataclass(frozen=True, slots=True)
class Region:
    """What works on the columns of a Concat.

    Attributes:
        parts: The parts of that Concat.
        nodes: Producers before those that read them, the Concat first of those that read it.
        borders: For each value of theirs with such columns.
    """

    parts: Parts
    nodes: tuple[Node, ...]
    borders: Borders

    def pieces(self, value: str) -> list[tuple[int, int]]:
        """Where the pieces of a value start, and their sizes."""
        ends = sorted(self.borders[value])
        return [(start, end - start) for start, end in pairwise(ends)]


class ColumnsApart(Rule[Region]):
    """Takes the columns of user and item apart all the way from where they are made to where they are summed."""

    name = "columns-apart"
    algebra = "([u, i] (h U)) W = (u (h U_u)) W_u + (i (h U_i)) W_i"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> Region | None:
        parts, fact = mixed_parts(node.output, at), at.fact(node.output)
        if parts is None or parts.rank != 2 or fact.axis is None or not fact.axis.is_whole or fact.dtype not in FLOATS:
            return None
        # Where nothing but products read the Concat, each of them is split by itself.
        if parts.axis != COLUMNS or all(c.op in PRODUCTS for c in at.graph.consumers(node.output)):
            return None
        found = orders_from(node.output, COLUMNS, tuple(range(parts.total)), at)
        if found is None or any(axis != COLUMNS for _, axis in found.places):
            return None
        inside = {value for value, _ in found.places}
        nodes = tuple(n for n in found.nodes if n is node or not inside.isdisjoint((*n.inputs, *n.outputs)))
        makes = any(n.op in PRODUCTS and n.output in inside for n in nodes)
        if not makes or not all(n is node or _is_divisible(n, inside, at) for n in nodes):
            return None
        # What sums columns up is replaced first, and the Concat with it where it joins such a sum.
        if any(n.output in node.inputs and n.output not in inside for n in nodes):
            return None
        ends = {value: {0, len(order)} for (value, _), order in found.places.items()}
        ends[node.output] |= {run.start for run in runs_of(parts, at)}
        return Region(parts, nodes, _spread(ends, [n for n in nodes if n is not node], at))

    def rewrite(self, node: Node, found: Region, at: Workspace) -> Sequence[str]:
        made: Made = {}
        ends: dict[Node, str] = {}
        for each in found.nodes:
            at.working_for(each, self.name, found.nodes)
            if each is node:
                made[node.output] = [taken(found.parts, *piece, at) for piece in found.pieces(node.output)]
            elif each.output in found.borders:
                made[each.output] = _pieces(each, found, made, at)
            else:
                ends[each] = _product(each, 0, found, made, at)
        for each, value in reversed(ends.items()):
            at.replace(each, [value])
        at.working_for(node, self.name, found.nodes)
        # Nobody reads it any more.
        return [joined(made[node.output], COLUMNS, at)]


def _is_divisible(node: Node, inside: set[str], at: Workspace) -> bool:
    """Whether a node can be built piece by piece."""
    if node.op in PRODUCTS:
        plain = is_linear_layer(node, at) and at.fact(node.inputs[0]).rank == 2
        return plain and (not node.has_input(2) or at.is_once(node.inputs[2]))
    if node.output not in inside or at.fact(node.output).rank != 2:
        return False
    return node.op in BY_ENTRY or axis_joined(node, at) == COLUMNS


def _spread(borders: Borders, nodes: Sequence[Node], at: Workspace) -> Borders:
    """Cuts what belongs together at the same places, until nothing changes."""
    while True:
        before = sum(map(len, borders.values()))
        for node in nodes:
            if axis_joined(node, at) == COLUMNS:
                _spread_through_join(node, borders, at)
            elif node.op not in PRODUCTS:
                alike = [borders[v] for v in (*node.inputs, node.output) if v in borders]
                for each in alike:
                    each |= set().union(*alike)
            elif len(node.inputs) > 2 and node.inputs[2] in borders:
                borders[node.inputs[2]] |= borders[node.output]
                borders[node.output] |= borders[node.inputs[2]]
        if sum(map(len, borders.values())) == before:
            return borders


def _spread_through_join(node: Node, borders: Borders, at: Workspace) -> None:
    parts = parts_of(node.output, at)
    assert parts is not None
    for value, start, size in parts:
        own = borders.get(value, {0, size})
        borders[node.output] |= {start + end for end in own}
        own |= {end - start for end in borders[node.output] if start <= end <= start + size}


def _pieces(node: Node, found: Region, made: Made, at: Workspace) -> list[str]:
    """The pieces of what a node makes."""
    own = found.pieces(node.output)
    if node.op in PRODUCTS:
        return [_product(node, index, found, made, at) for index in range(len(own))]
    parts = parts_of(node.output, at)
    if node.op == "Concat" and parts is not None:
        return [p for value, start, size in parts for p in made.get(value) or _cut(value, start, size, own, at)]
    return [
        at.emit(node.op, [_operand(node, k, index, piece, made, at) for k in range(len(node.inputs))], **node.attrs)
        for index, piece in enumerate(own)
    ]


def _cut(value: str, start: int, size: int, pieces: Sequence[tuple[int, int]], at: Workspace) -> list[str]:
    """A part of a Concat that nothing else takes apart, in the pieces that lie in it."""
    return [cut(value, COLUMNS, first - start, own, at) for first, own in pieces if start <= first < start + size]


def _operand(node: Node, place: int, index: int, piece: tuple[int, int], made: Made, at: Workspace) -> str:
    """What a piece of a node's result reads of an operand."""
    value = node.inputs[place]
    if value in made:
        return made[value][index]
    labels = labels_of(node, at)
    assert labels is not None
    row = labels.inputs[place]
    last = len(row) - 1
    return cut(value, last, *piece, at) if row and row[last] == COLUMNS else value


def _product(node: Node, index: int, found: Region, made: Made, at: Workspace) -> str:
    """A piece of a product, all of one that has none, summed over the pieces of its operand, the user's first."""
    transposed = int(node.attrs.get("transB", 0) != 0)
    x, weight, *bias = node.inputs
    if node.output in found.borders:
        piece = found.pieces(node.output)[index]
        weight = weight_rows(weight, 1 - transposed, [piece], at)
        bias = [_operand(node, 2, index, piece, made, at) for _ in bias]
    total = [one_row(v, at) for v in bias]
    if x not in made:
        return at.emit(node.op, [x, weight, *total], **node.attrs)
    sides = sorted(zip(made[x], found.pieces(x), strict=True), key=lambda side: not at.is_once(side[0]))
    scale: dict[str, Any] = {"alpha": float(node.attrs.get("alpha", 1.0)), "transB": transposed}
    for value, rows in sides:
        product = at.emit("Gemm", [value, weight_rows(weight, transposed, [rows], at), *total], **scale)
        total = [one_row(product, at)]
    return product
