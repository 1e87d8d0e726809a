"""All pairs of the rows of two values, entry by entry, however a graph lays them out and flattens them."""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.ir.orders import order_of
from mari_onnx.patterns._equations import plain_terms
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.workspace import Workspace

Layout = tuple[str, ...]
"""What each axis of a value runs over; an axis of size 1 that was only put in has no name."""

BATCH, LEFT, RIGHT, PAIR, COLUMN = "b", "h", "m", "p", "d"
FLAT: Layout = (BATCH, PAIR, COLUMN)


def rows_of_pairs(value: str, layout: Layout, at: Workspace) -> tuple[str, str] | None:
    """The rows that a value has all pairs of.

    Args:
        value: A value with a number for each pair and column: ``left[b, h, d] * right[b, m, d]``.
        layout: ``FLAT``, perhaps with axes of size 1, for ``p = h M + m``.
        at: The graph.

    Returns:
        The values ``[B, h, d]`` and ``[B, m, d]``, or ``None``.
    """
    while (node := at.graph.producer(value)) is not None:
        source = node.inputs[0] if node.inputs else ""
        before = at.fact(source).shape if source else None
        after = at.fact(value).shape
        if before is None or after is None:
            return None
        spread = _unflattened(node, layout, before, after)
        made = at.graph.producer(source) if spread else None
        found = _factors(made, spread, at) if made is not None and spread else None
        if found is not None and at.graph.is_private(source):
            return found
        higher = _above(node, layout, before, after)
        if higher is None:
            return None
        value, layout = source, higher
    return None


def _unflattened(node: Node, layout: Layout, before: Shape, after: Shape) -> Layout | None:
    """The layout in front of a view that makes one axis of two: the numbers of rows become those of pairs."""
    names = [(name, size) for name, size in zip(layout, after, strict=True) if name]
    if node.op not in VIEWS or node.domain or len(before) != len(names) + 1:
        return None
    at = [name for name, _ in names].index(PAIR)
    sizes = [size for _, size in names]
    if not alike((*before[:at], *before[at + 2 :]), (*sizes[:at], *sizes[at + 1 :])):
        return None
    if not all(isinstance(size, int) for size in before[at : at + 2]) or before[at] * before[at + 1] != sizes[at]:
        return None
    kept = [name for name, _ in names]
    return (*kept[:at], LEFT, RIGHT, *kept[at + 1 :])


def _above(node: Node, layout: Layout, before: Shape, after: Shape) -> Layout | None:
    """The layout in front of a Transpose, or of a view that puts in or takes away axes of size 1 alone."""
    if node.domain:
        return None
    if node.op == "Transpose":
        places = dict(zip(order_of(node, len(before)), layout, strict=True))
        return tuple(places[axis] for axis in range(len(before)))
    if node.op not in VIEWS:
        return None
    names = [name for name in layout if name]
    sizes = [size for name, size in zip(layout, after, strict=True) if name]
    if alike(before, sizes):
        return tuple(names)
    wide = [(name, size) for name, size in zip(names, sizes, strict=True) if size != 1]
    if len(wide) < len(names) or not alike([d for d in before if d != 1], sizes):
        return None
    rest = iter(names)
    return tuple("" if size == 1 else next(rest) for size in before)


def _factors(made: Node, layout: Layout, at: Workspace) -> tuple[str, str] | None:
    """The rows whose products a node makes, in a layout with both of their axes."""
    shape = at.fact(made.output).shape
    if made.domain or shape is None or len(shape) != len(layout):
        return None
    if made.op == "Einsum":
        equation = plain_terms(made)
        return (made.inputs[0], made.inputs[1]) if equation is not None and _is_outer(*equation, layout) else None
    orders = [made.inputs] if made.op == "MatMul" else [made.inputs, made.inputs[::-1]] if made.op == "Mul" else []
    if made.op == "MatMul" and layout[-2:] != (LEFT, RIGHT):
        return None
    for left, right in orders:
        rows = _rows(left, RIGHT, LEFT, layout, shape, at), _rows(right, LEFT, RIGHT, layout, shape, at)
        if all(rows):
            return rows
    return None


def _is_outer(terms: Sequence[str], result: str, layout: Layout) -> bool:
    if len(terms) != 2 or len(set(result)) != len(layout) or len(result) != len(layout):
        return False
    letters = dict(zip(layout, result, strict=True))
    return [*terms] == ["".join(letters[name] for name in (BATCH, row, COLUMN)) for row in (LEFT, RIGHT)]


def _rows(value: str, absent: str, row: str, layout: Layout, whole: Shape, at: Workspace) -> str:
    """The rows ``[B, row, d]`` that an operand has in the layout of the pairs, with one axis of size 1, or nothing."""
    if not alike(at.fact(value).shape, [1 if name == absent else d for name, d in zip(layout, whole, strict=True)]):
        return ""
    here = tuple("" if name == absent else name for name in layout)
    while here != (BATCH, row, COLUMN):
        node = at.graph.producer(value)
        before, after = (
            at.fact(node.inputs[0]).shape if node is not None and node.inputs else None,
            at.fact(value).shape,
        )
        if node is None or before is None or after is None:
            return ""
        higher = _above(node, here, before, after)
        if higher is None:
            return ""
        value, here = node.inputs[0], higher
    return value


def flat_layout(shape: Shape | None) -> Layout | None:
    """The layout of ``[B, p, d]``, also with axes of size 1 in front of or behind ``d``; ``None`` for other shapes."""
    if shape is None or len(shape) < len(FLAT):
        return None
    spare = [k for k in range(2, len(shape)) if shape[k] == 1][: len(shape) - len(FLAT)]
    if len(spare) < len(shape) - len(FLAT):
        return None
    names = iter(FLAT)
    return tuple("" if k in spare else next(names) for k in range(len(shape)))
