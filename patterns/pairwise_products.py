"""Products of each pair of rows, of which some are chosen::

    choose( X X^T ), X = Concat(u, i)   ->   choose( Concat( u u^T, i u^T, i i^T ) )

    [u; i] [u; i]^T = [[u u^T, (i u^T)^T], [i u^T, i i^T]]

As in dot interactions, where the triangle below the diagonal is cut out of the matrix. Pairs of the user's rows are
multiplied once, and all items with the user's rows in one plain product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.ir.orders import order_of
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, one_row
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Phase, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace

CHOOSING = frozenset({"Gather", "GatherND"})

MAX_STEPS = 8
"""Operators between the product and what is chosen."""

FEW = 450
"""Up to this many pairs of item rows, weighed with their width, are multiplied pair by pair."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows, and the pairs of them that are chosen, in order."""

    parts: Parts
    pairs: tuple[tuple[int, int], ...]


class PairwiseProducts(Rule[Chosen]):
    """Multiplies pairs of the user's rows once."""

    name = "pairwise-products"
    algebra = "[u; i] [u; i]^T = [[u u^T, (i u^T)^T], [i u^T, i i^T]]"
    exactness = Exactness.REASSOCIATING
    phases = Phase.EARLY | Phase.MAIN
    ops = VIEWS | CHOOSING | {"Transpose"}

    def match(self, node: Node, at: Workspace) -> Chosen | Refusal | None:
        result = at.fact(node.output)
        if result.rank != 2 or not _has_candidates_first(node.output, at):
            return None
        steps = _steps(node, at)
        if not steps:
            return None
        parts = _rows(steps[-1], at)
        if parts is None:
            return None
        pairs = _pairs(steps, parts.total, at)
        return Refusal("what is chosen of the products is not known") if pairs is None else Chosen(parts, pairs)

    def rewrite(self, node: Node, found: Chosen, at: Workspace) -> Sequence[str]:
        places: list[tuple[bool, int]] = []
        counts = {True: 0, False: 0}
        for value, _, size in found.parts:
            once = at.is_once(value)
            places += [(once, counts[once] + row) for row in range(size)]
            counts[once] += size
        halves = {once: [v for v in found.parts.values if at.is_once(v) == once] for once in (True, False)}
        user, item = joined(halves[True], 1, at), joined(halves[False], 1, at)
        pairs = [tuple(sorted((places[a], places[b]))) for a, b in found.pairs]
        distinct = sorted(set(pairs), key=lambda pair: (pair[0][0], pair[1][0], pair))
        made = []
        for sides, group in groupby(distinct, key=lambda pair: (pair[0][0], pair[1][0])):
            made.append(_block(sides, [(a, b) for (_, a), (_, b) in group], user, item, at))
        total = joined(made, 1, at)
        if pairs == distinct:
            return [total]
        order = {pair: index for index, pair in enumerate(distinct)}
        return [at.emit("Gather", [total, at.weight(np.array([order[p] for p in pairs], np.int64))], axis=1)]


def _has_candidates_first(value: str, at: Workspace) -> bool:
    axis = at.fact(value).axis
    return axis is not None and axis.is_whole and axis.index == 0 and at.fact(value).varies


def _steps(node: Node, at: Workspace) -> list[Node]:
    """The operators that lead to what is chosen, down to the product; none if there is no such product."""
    steps = [node]
    for _ in range(MAX_STEPS):
        before = at.graph.producer(steps[-1].inputs[0])
        if before is None or before.domain:
            return []
        steps.append(before)
        if before.op == "MatMul":
            return steps if any(s.op in CHOOSING for s in steps) else []
        if before.op not in VIEWS | CHOOSING | {"Transpose"}:
            return []
    return []


def _rows(product: Node, at: Workspace) -> Parts | None:
    """The rows, where a product is that of a Concat on axis 1 with its own transpose."""
    left, right = product.inputs
    turn = at.graph.producer(right)
    if turn is None or turn.op != "Transpose" or turn.domain or turn.inputs[0] != left:
        return None
    if list(turn.attrs.get("perm", ())) != [0, 2, 1]:
        return None
    parts = mixed_parts(left, at)
    if parts is None or parts.rank != 3 or parts.axis != 1 or not _has_candidates_first(left, at):
        return None
    users = [at.fact(one_row(v, at)).shape or () for v in parts.values if at.is_once(v)]
    return parts if all(same(shape[0], 1) for shape in users if shape) else None


def _pairs(steps: Sequence[Node], count: int, at: Workspace) -> tuple[tuple[int, int], ...] | None:
    """What one candidate's result consists of: the numbers of its entries, sent through all operators."""
    found: np.ndarray = np.arange(count * count).reshape(1, count, count)
    for node in reversed(steps[:-1]):
        before, after = at.fact(node.inputs[0]), at.fact(node.output)
        if after.axis is None or not after.axis.is_whole or before.axis is None or not _is_fixed(after.single_shape):
            return None
        if node.op in VIEWS:
            found = found.reshape(after.single_shape)
        elif node.op == "Transpose":
            found = found.transpose(order_of(node, found.ndim))
        else:
            indices = _numbers(node.inputs[1], at)
            if indices is None or node.attrs.get("batch_dims", 0):
                return None
            chosen = _choose(node, found, indices, before.axis.index)
            if chosen is None:
                return None
            found = chosen
        if found.shape != after.single_shape:
            return None
    return tuple((int(e) // count, int(e) % count) for e in found.ravel())


def _numbers(value: str, at: Workspace) -> np.ndarray | None:
    """A list of indices, as a constant or as known from sizes."""
    shape, known = at.fact(value).shape, at.integers(value)
    if known is None or not _is_fixed(shape):
        return at.constant(value)
    return np.array(known, np.int64).reshape(shape)


def _is_fixed(shape: Shape | None) -> bool:
    return shape is not None and all(isinstance(d, int) for d in shape)


def _choose(node: Node, found: np.ndarray, indices: np.ndarray, candidates: int) -> np.ndarray | None:
    """A lookup that leaves the axis of candidates alone."""
    if node.op == "Gather":
        axis = int(node.attrs.get("axis", 0)) % found.ndim
        return None if axis == candidates else found.take(indices, axis=axis)
    if indices.ndim == 0 or indices.shape[-1] > candidates:
        return None
    return np.asarray(found[tuple(np.moveaxis(indices, -1, 0))])


def _block(sides: tuple[bool, bool], entries: list[tuple[int, int]], user: str, item: str, at: Workspace) -> str:
    """The products of some pairs of rows, one column for each."""
    left, right = (user if once else item for once in sides)
    size = (at.fact(item).shape or ())[2]
    if not any(sides) and isinstance(size, int) and len(entries) * (10 + size) <= FEW:
        rows = [at.weight(np.array(chosen, np.int64)) for chosen in zip(*entries, strict=True)]
        return _summed(at.emit("Mul", [at.emit("Gather", [item, r], axis=1) for r in rows]), at)
    turned = at.emit("Transpose", [one_row(right, at)], perm=[0, 2, 1])
    if sides == (False, True):
        turned = at.squeeze(turned, [0])
    product = at.emit("MatMul", [left, turned])
    shape = at.fact(product).shape or ()
    flat = at.reshape(product, (shape[0], shape[1] * shape[2]))
    places = [a * shape[2] + b for a, b in entries]
    if places == list(range(shape[1] * shape[2])):
        return flat
    return at.emit("Gather", [flat, at.weight(np.array(places, np.int64))], axis=1)


def _summed(value: str, at: Workspace) -> str:
    if at.opset < 13:
        return at.emit("ReduceSum", [value], axes=[2], keepdims=0)
    return at.emit("ReduceSum", [value, at.weight(np.array([2], np.int64), "mari/axes")], keepdims=0)
