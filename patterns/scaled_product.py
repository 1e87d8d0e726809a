"""A product of a product whose columns were scaled by the user in between::

    Gemm( s * Gemm(h, U, b) + r, W, c )   ->   Gemm( [s_i * Gemm(h, U_i, b_i), h], [W_i; U_u diag(s_u) W_u],
                                                     C = Gemm(r, W, c + (s_u b_u) W_u) )

    (s (h U + b)) W = h (U diag(s) W) + (s b) W

Columns ``u`` of ``s`` are computed once per request, so that is their matrix ``U diag(s) W``; columns ``i`` stay. A
cross network ends so: its last layer makes as many columns as it has features, for a head that asks for one number.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, same
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._linear import is_linear_layer, weight_of
from mari_onnx.patterns._parts import column_parts, joined, one_row, turned, weight_rows
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

Piece = tuple[str, int, int]
"""A value, where its columns begin, and how many there are."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """What a product reads.

    Attributes:
        inner: The first product.
        scales: The pieces of what it is scaled with.
        start: Where the scaled columns begin in the operand of the second product.
        width: How many there are.
        added: What is added to them, or nothing.
        others: What that product reads beside them.
    """

    inner: Node
    scales: tuple[Piece, ...]
    start: int
    width: int
    added: str
    others: tuple[Piece, ...]


class ScaledProduct(Rule[Scaled]):
    """Multiplies two weights with the user's scales between them."""

    name = "scaled-product"
    algebra = "(s (h U + b)) W = h (U diag(s) W) + (s b) W"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Scaled | None:
        if at.fact(node.inputs[0]).rank != 2 or not is_linear_layer(node, at) or not _has_plain_bias(node, at):
            return None
        beside = column_parts(node.inputs[0], at)
        for piece in (p for p in beside if _made_by(p[0], {"Add", "Mul"}, at)):
            value, start, size = piece
            for scaled, added in _as_sum(value, at):
                found = _scaled(scaled, size, at)
                if found is not None and all(never_infinite(v, at) for v, _, _ in found[1]):
                    return Scaled(*found, start, size, added, tuple(p for p in beside if p is not piece))
        return None

    def rewrite(self, node: Node, found: Scaled, at: Workspace) -> Sequence[str]:
        once = [p for p in found.scales if at.is_once(p[0])]
        items = [p for p in found.scales if not at.is_once(p[0])]
        scales = one_row(joined([v for v, _, _ in once], 1, at), at)
        weighed = at.emit("Mul", [scales, _turned_rows(node, _moved(once, found.start), at)])
        matrix = _through(found.inner, once, weighed, at)

        bias = [node.inputs[2]] if node.has_input(2) else []
        if found.inner.has_input(2):
            row = turned(weight_rows(found.inner.inputs[2], 0, _where(once), at), at)
            bias = [at.emit("Gemm", [row, weighed, *bias], transB=1)]
        if found.added:
            rows = _turned_rows(node, [(found.start, found.width)], at)
            bias = [at.emit("Gemm", [found.added, rows, *bias], transB=1)]

        values, taken = [v for v, _, _ in found.others], _where(found.others)
        if items:
            values.append(at.emit("Mul", [joined([v for v, _, _ in items], 1, at), _columns(found.inner, items, at)]))
            taken += _moved(items, found.start)
        weight = joined([*([_turned_rows(node, taken, at)] if taken else []), matrix], 1, at)
        return [at.emit("Gemm", [joined([*values, found.inner.inputs[0]], 1, at), weight, *bias], transB=1)]


def _as_sum(value: str, at: Workspace) -> list[tuple[str, str]]:
    """What a value is, and what is added to it."""
    node = at.graph.producer(value)
    if node is None or node.op != "Add" or node.domain or not at.graph.is_private(value):
        return [(value, "")]
    left, right = node.inputs
    whole = all(_is_as_wide(v, value, at) for v in node.inputs)
    return [(left, right), (right, left)] if whole else []


def _scaled(value: str, width: int, at: Workspace) -> tuple[Node, tuple[Piece, ...]] | None:
    """The product that a value scales, and what with; nothing else may read either."""
    node = None if at.is_once(value) else _read_once(value, {"Mul"}, at)
    for product, scales in (node.inputs, node.inputs[::-1]) if node is not None else ():
        inner = None if at.is_once(product) else _read_once(product, ScaledProduct.ops, at)
        if inner is None:
            continue
        shape = at.fact(inner.inputs[0]).shape
        if not is_linear_layer(inner, at) or not _has_plain_bias(inner, at) or shape is None or len(shape) != 2:
            continue
        pieces, fits = column_parts(scales, at), _is_as_wide(scales, product, at)
        once = [v for v, _, _ in pieces if at.is_once(v)]
        if fits and once and all(_is_row(v, at) for v in once) and _is_whole(pieces, width):
            return inner, pieces
    return None


def _is_as_wide(value: str, whole: str, at: Workspace) -> bool:
    """Whether a value has an entry for each column of a matrix: the same ones for all rows where it has one row."""
    own, shape = at.fact(value).shape, at.fact(whole).shape or ()
    return alike(own, shape) or (at.is_once(value) and alike(own, (1, *shape[1:])))


def _is_row(value: str, at: Workspace) -> bool:
    """Whether a matrix is one row for all: what is there once may have rows of its own, as tokens have."""
    shape = at.fact(one_row(value, at)).shape
    return shape is not None and same(shape[0], 1)


def _made_by(value: str, ops: Set[str], at: Workspace) -> Node | None:
    """The node that makes a value, if it is of such an operator."""
    node = at.graph.producer(value)
    return node if node is not None and node.kind in ops else None


def _read_once(value: str, ops: Set[str], at: Workspace) -> Node | None:
    """The node of such an operator that makes a value that one node reads, once."""
    node = _made_by(value, ops, at)
    if node is None or not at.graph.is_private(value):
        return None
    return node if at.graph.consumers(value)[0].reads.count(value) == 1 else None


def _is_whole(pieces: Sequence[Piece], width: int) -> bool:
    return sum(size for _, _, size in pieces) == width


def _has_plain_bias(node: Node, at: Workspace) -> bool:
    """Whether a linear layer has no bias, or a constant one for its columns."""
    if not node.has_input(2):
        return True
    shape, whole = at.fact(node.inputs[2]).shape, at.fact(node.output).shape
    if shape is None or len(shape) != 1 or not whole:
        return False
    return at.is_weight(node.inputs[2]) and same(shape[0], whole[-1])


def _where(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    return [(start, size) for _, start, size in pieces]


def _moved(pieces: Sequence[Piece], by: int) -> list[tuple[int, int]]:
    return [(by + start, size) for _, start, size in pieces]


def _columns(inner: Node, pieces: Sequence[Piece], at: Workspace) -> str:
    """Some columns of a linear layer."""
    transposed = int(inner.attrs.get("transB", 0) != 0)
    bias = [weight_rows(inner.inputs[2], 0, _where(pieces), at)] if inner.has_input(2) else []
    weight = weight_rows(inner.inputs[1], 1 - transposed, _where(pieces), at)
    alpha = float(inner.attrs.get("alpha", 1.0))
    return at.emit("Gemm", [inner.inputs[0], weight, *bias], alpha=alpha, transB=transposed)


def _through(inner: Node, pieces: Sequence[Piece], weighed: str, at: Workspace) -> str:
    """The transposed product of some columns of a layer's weight with what weighs them."""
    transposed = int(inner.attrs.get("transB", 0) != 0)
    weight = weight_rows(inner.inputs[1], 1 - transposed, _where(pieces), at)
    return at.emit("Gemm", [weighed, weight], alpha=float(inner.attrs.get("alpha", 1.0)), transB=1 - transposed)


def _turned_rows(node: Node, pieces: Sequence[tuple[int, int]], at: Workspace) -> str:
    """Some rows of the weight of a product, transposed."""
    return turned(weight_of(node, pieces, at), at)
