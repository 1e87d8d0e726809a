"""Products of one operand with several constant matrices::

    MatMul(x, V), MatMul(x, W), ..    ->   Split( MatMul( x, [V, W, ..] ) )
    Gemm(x, V, b), Gemm(x, W, c), ..  ->   Split( Gemm( x, [V, W, ..], [b, c, ..] ) )

    x V, x W = x [V, W]

The gates of a mixture have few columns each, and the user's halves of all experts one row: there starting a product
costs more than its arithmetic. Matrices may also be computed once per request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.fused import FUSED_ACTIVATIONS
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._parts import joined, matrix_of, one_row, parts_of, split
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

MOST_VISITED = 200
"""So many nodes in front of a computed matrix are looked at before it is given up."""


@dataclass(frozen=True, slots=True)
class Siblings:
    """The products, the node itself first, and how many columns each has."""

    nodes: tuple[Node, ...]
    columns: int


class SiblingProducts(Rule[Siblings]):
    """Joins products of one operand into one."""

    name = "sibling-products"
    algebra = "x V, x W = x [V, W]"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Siblings | None:
        readers = at.graph.consumers(node.inputs[0])
        columns = _columns(node, at)
        if len(readers) < 2 or columns is None:
            return None
        siblings = [n for n in readers if _is_alike(n, node, at) and _columns(n, at) == columns]
        nodes = tuple(sorted(siblings, key=at.graph.order))
        if len(nodes) < 2 or nodes[0] is not node or not _are_independent(nodes, at):
            return None
        return Siblings(nodes, columns)

    def rewrite(self, node: Node, found: Siblings, at: Workspace) -> Sequence[str]:
        operands = [node.inputs[0], _side_by_side([matrix_of(n, at) for n in found.nodes], at)]
        if node.has_input(2):
            operands.append(_side_by_side([n.inputs[2] for n in found.nodes], at))
        whole = at.emit(node.op, operands)
        last = (at.fact(whole).rank or 0) - 1
        own, *others = split(whole, last, [found.columns] * len(found.nodes), at)
        for sibling, part in zip(found.nodes[1:], others, strict=True):
            at.replace(sibling, [part])
        return [own]


def _columns(node: Node, at: Workspace) -> int | None:
    """How many columns a product has that can be joined with others."""
    scaled = any(node.attrs.get(name, 1.0) != 1.0 for name in ("alpha", "beta"))
    if scaled or node.attrs.get("transA", 0) or not _is_joinable(node.inputs[1], at) or at.is_weight(node.inputs[0]):
        return None
    transposed = bool(node.attrs.get("transB", 0))
    if transposed and not at.is_weight(node.inputs[1]):
        return None
    columns = (at.fact(node.inputs[1]).shape or (None,))[0 if transposed else -1]
    if not isinstance(columns, int) or (node.has_input(2) and not _is_row(node.inputs[2], columns, at)):
        return None
    return None if _is_fused(node, at) else columns


def _is_joinable(matrix: str, at: Workspace) -> bool:
    """Whether an operand is a matrix that is constant or computed once, and not one of integers with a scale.

    Its rows and columns must be no candidates.
    """
    producer = at.graph.producer(matrix)
    quantized = producer is not None and producer.op == "DequantizeLinear"
    lane = at.fact(matrix).axis
    rows = lane is not None and lane.index >= (at.fact(matrix).rank or 0) - 2
    return at.is_once(matrix) and at.fact(one_row(matrix, at)).rank == 2 and not quantized and not rows


def _is_row(bias: str, columns: int, at: Workspace) -> bool:
    shape = at.fact(one_row(bias, at)).shape
    return at.is_once(bias) and (alike(shape, (1, columns)) or alike(shape, (columns,)))


def _is_fused(node: Node, at: Workspace) -> bool:
    """Whether ONNX Runtime makes one operator of a product for all candidates and what follows, as things are."""
    if at.graph.is_output(node.output):
        return True
    if at.is_once(node.inputs[0]):
        return False
    readers = at.graph.consumers(node.output)
    return any(n.op in FUSED_ACTIVATIONS or (n.op == "Add" and any(map(at.is_weight, n.inputs))) for n in readers)


def _is_alike(other: Node, node: Node, at: Workspace) -> bool:
    """Whether a reader of the same operand is the same kind of product with it."""
    if other.kind != node.kind or other.inputs[0] != node.inputs[0] or other.has_input(2) != node.has_input(2):
        return False
    return (
        not node.has_input(2) or at.fact(one_row(node.inputs[2], at)).rank == at.fact(one_row(other.inputs[2], at)).rank
    )


def _are_independent(nodes: Sequence[Node], at: Workspace) -> bool:
    """Whether no product reads what comes of another, by its matrix or bias."""
    queue = [v for n in nodes for v in n.inputs[1:]]
    seen: set[Node] = set()
    while queue:
        producer = at.graph.producer(queue.pop())
        if producer in nodes or len(seen) > MOST_VISITED:
            return False
        if producer is not None and producer not in seen:
            seen.add(producer)
            queue += producer.reads
    return True


def _side_by_side(values: Sequence[str], at: Workspace) -> str:
    """Matrices or rows joined along their last axis, when the model is optimized or once per request."""
    values = [one_row(v, at) for v in values]
    last = (at.fact(values[0]).rank or 1) - 1
    if all(map(at.is_weight, values)):
        return at.cached_weight(("side by side", *values), lambda: _joined(values, at), f"{values[0]}/joined")
    blocks = [parts_of(v, at) for v in values]
    sizes = {b.sizes if b is not None and b.axis != last else None for b in blocks}
    if None in sizes or len(sizes) > 1:
        return joined(values, last, at)
    rows = zip(*(b.values for b in blocks if b is not None), strict=True)
    return joined([_side_by_side(row, at) for row in rows], 0, at)


def _joined(values: Sequence[str], at: Workspace) -> np.ndarray:
    arrays = [at.constant(v) for v in values]
    return np.concatenate([a for a in arrays if a is not None], axis=-1)
