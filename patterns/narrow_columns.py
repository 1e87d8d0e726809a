"""A layer whose columns the user scales, and that only products read behind sums::

    p = Gemm(h, U, b)
    Gemm( d * p + r, W, c ), ..   ->   Gemm( h, U diag(d) W, C = Gemm( r, W, c + (b d) W ) ), ..

    (d (h U + b) + r) W = h (U diag(d) W) + (b d) W + r W

The scales are computed once per request, so that are the matrices; the columns are not made at all. All products that
read them change at once, however many sums lie between: a cross network of low rank (``x0 * (U (V x) + b) + x``) never
leaves its rank then. It pays for many candidates, or where few columns come out.

Nothing in ``h`` may be infinite: infinite columns of either sign have no sum, where the matrix of both may have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._linear import is_linear_layer, is_plain_layer, weight_of
from mari_onnx.patterns._parts import one_row, turned
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

MAX_NODES = 60
"""More is not looked through."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """A value that the columns are in, scaled.

    Attributes:
        scales: What they are multiplied with, row by row.
        rest: What is added to them, nothing where that is empty.
    """

    scales: tuple[str, ...]
    rest: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the columns of a layer get to.

    Attributes:
        inner: What scales them and adds to them, producers first.
        ends: The products that read the results.
    """

    inner: tuple[Node, ...]
    ends: tuple[Node, ...]


class NarrowColumns(Rule[Reach]):
    """Multiplies weights with the user's scales between them, instead of making the columns."""

    name = "narrow-columns"
    algebra = "(d (h U + b) + r) W = h (U diag(d) W) + (b d) W + r W"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Reach | None:
        if at.is_once(node.output) or at.graph.is_pinned(node.output) or not never_infinite(node.inputs[0], at):
            return None
        # Every reader scales them: without scales the weights are one.
        if not all(_row_beside(c, {node.output}, at) for c in at.graph.consumers(node.output)):
            return None
        return _reach(node.output, at) if is_plain_layer(node, at) and _has_constant_bias(node, at) else None

    def rewrite(self, node: Node, found: Reach, at: Workspace) -> Sequence[str]:
        scaled = {node.output: Scaled((), "")}
        every = (node, *found.inner, *found.ends)
        for each in found.inner:
            at.working_for(each, self.name, every)
            scaled[each.output] = _step(each, scaled, at)
        done = []
        for each in found.ends:
            at.working_for(each, self.name, every)
            done.append(_product(each, node, scaled[each.inputs[0]], at))
        for each, value in zip(reversed(found.ends), reversed(done), strict=True):
            at.replace(each, [value])
        at.working_for(node, self.name, every)
        # Nobody reads it any more.
        return [at.emit(node.op, node.inputs, **node.attrs)]


def _reach(columns: str, at: Workspace) -> Reach | None:
    """Follows columns to the products that read them; ``None`` where something else does."""
    inside, queue = {columns}, [columns]
    inner, ends = dict[Node, None](), dict[Node, None]()
    while queue:
        for node in at.graph.consumers(queue.pop()):
            if node.op in NarrowColumns.ops and not node.domain and is_linear_layer(node, at):
                ends[node] = None
                continue
            if at.graph.is_pinned(node.output) or not (_row_beside(node, inside, at) or _sum_beside(node, inside, at)):
                return None
            if node not in inner:
                inner[node] = None
                inside.add(node.output)
                queue.append(node.output)
    plain = all(is_plain_layer(n, at) and inside.isdisjoint(n.inputs[1:]) for n in ends)
    # A sum whose sides are both inside would need sums of scales.
    once = all(sum(v in inside for v in n.inputs) == 1 for n in inner)
    if not ends or not plain or not once or len(inner) + len(ends) > MAX_NODES:
        return None
    return Reach(tuple(at.graph.sorted_among(inner)), tuple(at.graph.sorted_among(ends)))


def _row_beside(node: Node, inside: set[str], at: Workspace) -> str:
    """The row that a node scales columns with; what may be infinite scales no sum."""
    if node.op != "Mul" or node.domain:
        return ""
    for value, row in (node.inputs, node.inputs[::-1]):
        if value in inside and at.is_once(row) and alike(at.fact(one_row(row, at)).shape, _row_of(value, at)):
            whole = alike(at.fact(node.output).shape, at.fact(value).shape)
            return row if whole and never_infinite(row, at) else ""
    return ""


def _sum_beside(node: Node, inside: set[str], at: Workspace) -> str:
    """What a node adds to columns: as many for each candidate, or one row of them."""
    if node.op != "Add" or node.domain:
        return ""
    for value, other in (node.inputs, node.inputs[::-1]):
        whole = at.fact(value).shape
        row = at.is_once(other) and alike(at.fact(one_row(other, at)).shape, _row_of(value, at))
        if value in inside and (row or alike(at.fact(other).shape, whole)):
            return other
    return ""


def _row_of(value: str, at: Workspace) -> tuple[object, ...]:
    """The shape of one row of a matrix."""
    return (1, *(at.fact(value).shape or ())[1:])


def _has_constant_bias(node: Node, at: Workspace) -> bool:
    return not node.has_input(2) or at.is_weight(node.inputs[2])


def _step(node: Node, scaled: dict[str, Scaled], at: Workspace) -> Scaled:
    """What a node makes of scaled columns."""
    inside = next(v for v in node.inputs if v in scaled)
    other = next(v for v in node.inputs if v != inside)
    before = scaled[inside]
    if node.op == "Mul":
        return Scaled((*before.scales, other), at.emit("Mul", [before.rest, other]) if before.rest else "")
    return Scaled(before.scales, at.emit("Add", [before.rest, other]) if before.rest else other)


def _product(node: Node, layer: Node, read: Scaled, at: Workspace) -> str:
    """A product of scaled columns and what was added to them, by way of what the layer reads."""
    columns = turned(_whole_weight(node, at), at)
    rows = [one_row(v, at) for v in read.scales]
    weighed = at.emit("Mul", [reduce(lambda a, b: at.emit("Mul", [a, b]), rows), columns])
    matrix = at.emit("Gemm", [weighed, _whole_weight(layer, at)], transB=1)
    total = [one_row(node.inputs[2], at)] if node.has_input(2) else []
    if layer.has_input(2):
        bias = _as_row(layer.inputs[2], at)
        # The scales with a constant matrix: what is added to the columns often are the scales as well.
        sides = [rows[0], _scaled_rows(bias, columns, at)] if len(rows) == 1 else [bias, weighed]
        total = [at.emit("Gemm", [*sides, *total], transB=1)]
    if read.rest:
        total = [one_row(at.emit("Gemm", [one_row(read.rest, at), columns, *total], transB=1), at)]
    return at.emit("Gemm", [layer.inputs[0], matrix, *total], transB=1)


def _as_row(bias: str, at: Workspace) -> str:
    """A constant bias as a matrix of one row, which it may be already."""
    return bias if at.fact(bias).rank == 2 else turned(bias, at)


def _scaled_rows(row: str, columns: str, at: Workspace) -> str:
    """A constant row times each row of a constant matrix."""

    def product() -> np.ndarray:
        left, right = at.constant(row), at.constant(columns)
        assert left is not None
        assert right is not None
        return np.asarray(left * right)

    return at.cached_weight(("scaled rows", row, columns), product, f"{columns}/scaled")


def _whole_weight(node: Node, at: Workspace) -> str:
    """The weight of a product as it multiplies rows, scaled as the product is."""
    shape = at.fact(node.inputs[1]).shape or (0, 0)
    rows = shape[1 if node.attrs.get("transB", 0) else 0]
    assert isinstance(rows, int)
    return weight_of(node, [(0, rows)], at)
