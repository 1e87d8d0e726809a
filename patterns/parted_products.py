"""Products with one matrix that are cut apart, and of which only some rows are read of one::

    q, k, v = Split( Add( MatMul(x, [V, W, ..]), [b, c, ..] ) ),  Gather(q, rows)
        ->   Gather( Add( MatMul(x, V), b ), rows ), Add( MatMul(x, W), c ), ..

    pieces(x [V, W] + [b, c]) = x V + b, x W + c

Queries, keys and values of all tokens are often one product. Where one token is read in the end, its query is enough,
and what picks it goes on in front of a product of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import cut
from mari_onnx.patterns._picks import picked_entries
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Parted:
    """A product whose columns are cut apart.

    Attributes:
        product: The product.
        biases: What is added to it, the first first.
        sizes: How many columns each piece has.
    """

    product: Node
    biases: tuple[str, ...]
    sizes: tuple[int, ...]


class PartedProducts(Rule[Parted]):
    """Gives each piece a product of its own."""

    name = "parted-products"
    algebra = "pieces(x [V, W] + [b, c]) = x V + b, x W + c"
    exactness = Exactness.REASSOCIATING
    ops = frozenset({"Split"})

    def match(self, node: Node, at: Workspace) -> Parted | None:
        rank = at.fact(node.inputs[0]).rank or 0
        if rank < 2 or int(node.attrs.get("axis", 0)) % rank != rank - 1:
            return None
        sizes = [(at.fact(v).shape or (None,))[-1] for v in node.outputs]
        if not all(isinstance(s, int) and s for s in sizes) or not any(_is_picked(v, rank, at) for v in node.outputs):
            return None
        found = _summands(node.inputs[0], sum(sizes), at)
        return None if found is None else Parted(*found, tuple(sizes))

    def rewrite(self, node: Node, found: Parted, at: Workspace) -> Sequence[str]:
        pieces, start = [], 0
        for size in found.sizes:
            rows, matrix = found.product.inputs
            piece = at.emit("MatMul", [rows, cut(matrix, 1, start, size, at)])
            for bias in found.biases:
                piece = at.emit("Add", [piece, _columns(bias, start, size, at)])
            pieces.append(piece)
            start += size
        return pieces


def _is_picked(value: str, rank: int, at: Workspace) -> bool:
    """Whether some rows are all that is read of a piece."""
    readers = at.graph.consumers(value)
    if len(readers) != 1 or at.graph.is_output(value) or readers[0].inputs[0] != value:
        return False
    found = picked_entries(readers[0], at)
    return found is not None and found[0] != rank - 1


def _summands(value: str, columns: int, at: Workspace) -> tuple[Node, tuple[str, ...]] | None:
    """The product with a constant matrix that is in a sum, and what is added to it, by all of its columns or by one."""
    node, biases = at.graph.producer(value), list[str]()
    while node is not None and node.kind == "Add" and at.graph.is_private(value):
        products = [v for v in node.inputs if at.graph.producer(v) is not None and not at.is_once(v)]
        if len(products) != 1:
            return None
        (value,) = products
        other = node.inputs[1 - node.inputs.index(value)]
        if (at.fact(other).shape or (1,))[-1] not in (1, columns) or len(biases) > 2:
            return None
        biases.insert(0, other)
        node = at.graph.producer(value)
    if node is None or node.kind != "MatMul" or not at.graph.is_private(value) or not at.is_weight(node.inputs[1]):
        return None
    return (node, tuple(biases)) if at.fact(node.inputs[1]).rank == 2 else None


def _columns(bias: str, start: int, size: int, at: Workspace) -> str:
    """Some columns of what is added; all of what is the same for all."""
    shape = at.fact(bias).shape or ()
    return bias if not shape or shape[-1] == 1 else cut(bias, len(shape) - 1, start, size, at)
