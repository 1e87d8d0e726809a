"""A product over columns of which some need no item, wherever in the graph these were mixed::

    MatMul( x, W )      ->   x[rest] W[rest] + x[once] W[once]
    Conv( x, W )        ->   the same for channels

    x W = x[I] W[I] + x[J] W[J]

As with the products of all pairs of fields, of which those between two fields of the user need no item: they are
computed once, and the others apart from them. ``split-product`` does it where the columns are joined right in front.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.errors import RuleError
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, same
from mari_onnx.patterns._chosen import Chosen
from mari_onnx.patterns._colours import without_item
from mari_onnx.patterns._linear import is_linear_layer
from mari_onnx.patterns._parts import joined, mixed_parts, one_row, parts_of
from mari_onnx.patterns.split_product import halves_added
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace

MAX_BLOCKS = 32
"""Scattered columns cost an operator for each block of neighbours."""


@dataclass(frozen=True, slots=True)
class Block:
    """Columns that are all chosen entries along some axes of a value.

    Attributes:
        value: Where they are chosen from.
        choice: By axis, the entries.
        columns: Their numbers among the columns of the product, in the order of the choice.
    """

    value: str
    choice: tuple[tuple[int, tuple[int, ...]], ...]
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """The blocks that need no item, and the others."""

    axis: int
    once: tuple[Block, ...]
    rest: tuple[Block, ...]


class ChosenColumns(Rule[Columns]):
    """Splits a product by the columns that need no item."""

    name = "chosen-columns"
    algebra = "x W = x[I] W[I] + x[J] W[J]"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm", "Conv"})

    def match(self, node: Node, at: Workspace) -> Columns | Refusal | None:
        value = node.inputs[0]
        axis = _summed_axis(node, at)
        shape, candidates = at.fact(value).shape, at.fact(value).axis
        if axis is None or shape is None or candidates is None or at.is_once(value) or candidates.index == axis:
            return None
        size, parts = shape[axis], mixed_parts(value, at)
        if not isinstance(size, int):
            return None
        mask = without_item(value, at)
        once = np.broadcast_to(mask.all(axis=tuple(a for a in range(mask.ndim) if a != axis)), size)
        joined_already = sum(s for v, _, s in parts if at.is_once(v)) if parts and parts.axis == axis else 0
        if once.all() or once.sum() <= joined_already:
            return None
        halves = [_blocks(value, axis, np.flatnonzero(m).tolist(), at) for m in (once, ~once)]
        if sum(map(len, halves)) > MAX_BLOCKS:
            return Refusal("the columns that need no item are scattered")
        return Columns(axis, *halves)

    def rewrite(self, node: Node, found: Columns, at: Workspace) -> Sequence[str]:
        chosen = Chosen(at)
        user = [_together(found.once, found.axis, node, chosen, at), _rows(node, found.once, at)]
        if not at.is_once(user[0]):
            raise RuleError("the columns that need no item cannot be computed apart")
        item = [_together(found.rest, found.axis, node, chosen, at), _rows(node, found.rest, at)]
        if node.op != "Conv":
            return [halves_added(node, user, item, at)]
        half = at.emit("Conv", user, **dict(node.attrs))
        return [at.emit("Add", [at.emit("Conv", [*item, *node.inputs[2:]], **dict(node.attrs)), one_row(half, at)])]


def _summed_axis(node: Node, at: Workspace) -> int | None:
    """The axis of the operand that is summed over with a constant weight."""
    if node.op == "Conv":
        return 1 if at.is_weight(node.inputs[1]) and node.attrs.get("group", 1) == 1 else None
    return (at.fact(node.inputs[0]).rank or 0) - 1 if is_linear_layer(node, at) else None


def _rows(node: Node, blocks: Sequence[Block], at: Workspace) -> str:
    weight = node.inputs[1]
    axis = 1 if node.op == "Conv" else int(node.attrs.get("transB", 0) != 0)
    columns = [column for block in blocks for column in block.columns]

    def rows() -> np.ndarray:
        array = at.constant(weight)
        assert array is not None
        return np.take(array, columns, axis=axis)

    return at.cached_weight(("columns", weight, axis, tuple(columns)), rows, f"{weight}/part")


def _together(blocks: Sequence[Block], axis: int, node: Node, chosen: Chosen, at: Workspace) -> str:
    """The chosen columns of the operand, block by block."""
    shape = at.fact(node.inputs[0]).shape or ()
    made = []
    for block in blocks:
        value = chosen.of(block.value, dict(block.choice))
        made.append(at.reshape(value, (*shape[:axis], len(block.columns), *shape[axis + 1 :])))
    return joined(made, axis, at)


def _blocks(value: str, axis: int, columns: Sequence[int], at: Workspace) -> tuple[Block, ...]:
    """Blocks that make up some columns, found behind Concats and Reshapes that merge axes; not all of too many."""
    return tuple(islice(_blocks_of(value, axis, [(c, c) for c in columns], at), MAX_BLOCKS + 1))


Pairs = Sequence[tuple[int, int]]
"""Entries of a value along an axis, in order, each with the column that it is."""


def _blocks_of(value: str, axis: int, pairs: Pairs, at: Workspace) -> Iterator[Block]:
    if not pairs:
        return
    node, parts = at.graph.producer(value), parts_of(value, at)
    if parts is not None and parts.axis == axis:
        for part, start, size in parts:
            first, last = (bisect_left(pairs, end, key=itemgetter(0)) for end in (start, start + size))
            inside = [(entry - start, column) for entry, column in pairs[first:last]]
            yield from _blocks_of(part, axis, inside, at)
        return
    if node is not None and not node.domain and node.op in VIEWS and not at.is_once(value):
        merged = _merged_axes(axis, at.fact(value).shape, at.fact(node.inputs[0]).shape)
        if merged is not None:
            first, sizes = merged
            yield from _blocks_of_merged(node.inputs[0], first, sizes, pairs, at)
            return
    entries = tuple(entry for entry, _ in pairs)
    yield Block(value, ((axis, entries),), tuple(column for _, column in pairs))


def _blocks_of_merged(value: str, first: int, sizes: tuple[int, ...], pairs: Pairs, at: Workspace) -> Iterator[Block]:
    """Entries of merged axes, as few products of choices along each axis as there are kinds of rows."""
    if len(sizes) == 1:
        yield from _blocks_of(value, first, pairs, at)
        return
    columns = dict(pairs)
    for choice in _products([entry for entry, _ in pairs], sizes):
        flat = np.ravel_multi_index(np.meshgrid(*choice, indexing="ij"), sizes).ravel()
        along = tuple((first + k, entries) for k, entries in enumerate(choice))
        yield Block(value, along, tuple(columns[int(i)] for i in flat))


def _products(entries: Sequence[int], sizes: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Entries of merged axes as products of choices along each."""
    if len(sizes) == 1:
        yield (tuple(entries),)
        return
    inner = int(np.prod(sizes[1:]))
    rows: dict[int, list[int]] = {}
    for entry in entries:
        rows.setdefault(entry // inner, []).append(entry % inner)
    kinds: dict[tuple[int, ...], list[int]] = {}
    for row, rest in rows.items():
        kinds.setdefault(tuple(rest), []).append(row)
    for kind, alike in kinds.items():
        for choice in _products(kind, sizes[1:]):
            yield (tuple(alike), *choice)


def _merged_axes(axis: int, after: Shape | None, before: Shape | None) -> tuple[int, tuple[int, ...]] | None:
    """The axes of a layout, first and sizes, that make up one axis of another layout of the same entries."""
    if after is None or before is None:
        return None
    left = product(after[:axis])
    for first in range(len(before)):
        for last in range(first + 1, len(before) + 1):
            sizes = before[first:last]
            whole = all(isinstance(s, int) for s in sizes)
            if whole and same(product(before[:first]), left) and same(product(sizes), after[axis]):
                return first, tuple(sizes)
    return None
