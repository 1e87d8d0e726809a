"""Output shapes that depend on symbolic entries, which onnx's inference cannot see."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mari_onnx.analysis.facts import Fact, Shape
from mari_onnx.analysis.transfer.layouts import FAR, kept_entries, resolve_target
from mari_onnx.analysis.transfer.products import einsum_terms
from mari_onnx.ir.dims import (
    CANDIDATES,
    Dim,
    differ,
    difference,
    fresh,
    is_size,
    may_be_zero,
    product,
    quotient,
    same,
    simplified,
)
from mari_onnx.ir.graph import Node

Inputs = Sequence[Fact | None]
ShapeRule = Callable[[Node, Inputs], Shape | None]


def _shape(inputs: Inputs, index: int) -> Shape | None:
    fact = inputs[index] if index < len(inputs) else None
    return fact.shape if fact is not None else None


def _items(inputs: Inputs, index: int) -> Sequence[Dim] | None:
    fact = inputs[index] if index < len(inputs) else None
    return fact.content.items if fact is not None and fact.content is not None else None


def _reshape(node: Node, inputs: Inputs) -> Shape | None:
    shape, target = _shape(inputs, 0), _items(inputs, 1)
    if shape is None or target is None:
        return None
    allow_zero = node.attrs.get("allowzero", 0) == 1
    resolved = resolve_target(shape, target, allow_zero)
    if resolved is not None:
        return resolved
    return tuple(
        shape[i] if same(t, 0) and not allow_zero and i < len(shape) else fresh() if same(t, -1) else t
        for i, t in enumerate(target)
    )


def _broadcast_dim(left: Dim, right: Dim) -> Dim:
    if same(left, 1) or same(left, right):
        return right
    if same(right, 1):
        return left
    # One of the two is 1 when the model runs; a known size above 1 is then the larger one.
    for one, other in ((left, right), (right, left)):
        if isinstance(one, int) and not isinstance(other, int):
            return one
    return fresh()


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape of what an operator with multidirectional broadcasting makes."""
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = [1] * rank
    for shape in shapes:
        for index, dim in enumerate(shape, rank - len(shape)):
            result[index] = _broadcast_dim(result[index], dim)
    return tuple(result)


def _expand(node: Node, inputs: Inputs) -> Shape | None:
    shape, target = _shape(inputs, 0), _items(inputs, 1)
    return None if shape is None or target is None else broadcast([shape, tuple(target)])


def _tile(node: Node, inputs: Inputs) -> Shape | None:
    shape, repeats = _shape(inputs, 0), _items(inputs, 1)
    if shape is None or repeats is None or len(shape) != len(repeats):
        return None
    return tuple(product((d, r)) for d, r in zip(shape, repeats, strict=True))


def _constant_of_shape(node: Node, inputs: Inputs) -> Shape | None:
    items = _items(inputs, 0)
    return None if items is None else tuple(items)


def _range(node: Node, inputs: Inputs) -> Shape | None:
    bounds = [_items(inputs, i) for i in range(3)]
    if any(b is None or len(b) != 1 for b in bounds):
        return None
    start, limit, delta = (b[0] for b in bounds if b is not None)
    if all(isinstance(v, int) for v in (start, limit, delta)):
        return (len(range(start, limit, delta)),) if delta else None
    # Where the limit is below the start, nothing is counted.
    left = difference(limit, start)
    count = quotient(left, delta) if isinstance(delta, int) and delta > 0 and is_size(left) else None
    return None if count is None or not same(start, 0) else (count,)


def _concat(node: Node, inputs: Inputs) -> Shape | None:
    shapes = [f.shape for f in inputs if f is not None and f.shape is not None]
    if not shapes or len(shapes) != len(inputs):
        return None
    axis = int(node.attrs.get("axis", 0))
    axis = axis + len(shapes[0]) if axis < 0 else axis
    if any(len(s) != len(shapes[0]) for s in shapes) or not 0 <= axis < len(shapes[0]):
        return None
    result = [_agreed([s[i] for s in shapes]) for i in range(len(shapes[0]))]
    total: Dim = 0
    for shape in shapes:
        total = total + shape[axis]
    result[axis] = simplified(total)
    return tuple(result)


def _agreed(dims: Sequence[Dim]) -> Dim:
    """The size of an axis on which all parts agree: the most telling of their sizes."""
    return min(dict.fromkeys(dims), key=lambda d: (not isinstance(d, int), "?" in str(d), str(d)))


def _flatten(node: Node, inputs: Inputs) -> Shape | None:
    shape = _shape(inputs, 0)
    if shape is None:
        return None
    axis = int(node.attrs.get("axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    return (product(shape[:axis]), product(shape[axis:]))


def _elementwise(node: Node, inputs: Inputs) -> Shape | None:
    shapes = [f.shape for f in inputs if f is not None]
    known = [s for s in shapes if s is not None]
    return broadcast(known) if len(known) == len(shapes) else None


def _slice(node: Node, inputs: Inputs) -> Shape | None:
    """Only what onnx leaves open: a slice that keeps a symbolic axis whole, or cuts a known piece off its front."""
    shape, starts, ends = _shape(inputs, 0), _items(inputs, 1), _items(inputs, 2)
    axes = _items(inputs, 3) if len(inputs) > 3 and inputs[3] is not None else range(len(starts or ()))
    steps = _items(inputs, 4) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts or ())
    if shape is None or starts is None or ends is None or axes is None or steps is None:
        return None
    if len({len(bounds) for bounds in (axes, starts, ends, steps)}) > 1:
        return None
    if not all(isinstance(axis, int) for axis in axes):
        return tuple(fresh() for _ in shape)
    result = list(shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index = axis + len(shape) if axis < 0 else axis
        result[index] = _cut(shape[index], start, end, step)
    return tuple(result)


def _cut(size: Dim, start: Dim, end: Dim, step: Dim) -> Dim:
    if size == CANDIDATES and same(start, 0) and same(end, 1) and same(step, 1):
        return 1  # a request has at least one candidate
    if all(isinstance(v, int) for v in (size, start, end, step)):
        kept = kept_entries(size, start, end, step)
        return fresh() if kept is None else len(kept)
    bounds = borders(size, start, end) if same(step, 1) else None
    return fresh() if bounds is None else difference(bounds[1], bounds[0])


def borders(size: Dim, start: Dim, end: Dim) -> tuple[Dim, Dim] | None:
    """Where a slice begins and ends, counted from the front.

    Args:
        size: How many entries there are.
        start: The first entry, as a Slice names it: from behind where it is below 0.
        end: The entry behind the last one; as many as there may be at all where it is far.

    Returns:
        ``None`` where it is not certain that ``0 <= start <= end <= size``.
    """
    first = _from_front(size, start)
    last = size if isinstance(end, int) and end >= FAR else _from_front(size, end)
    if first is None or last is None or not all(map(is_size, (difference(size, last), difference(last, first)))):
        return None
    return first, last


def _from_front(size: Dim, place: Dim) -> Dim | None:
    """An entry counted from the front; a number of which the sign is not known may be either."""
    if is_size(place):
        return place
    behind = simplified(-place)
    # Minus nothing is the front, not the end.
    if not is_size(behind) or may_be_zero(behind):
        return None
    found = difference(size, behind)
    return found if is_size(found) else None


def _split(node: Node, inputs: Inputs) -> list[Shape] | None:
    """Only what onnx leaves open: pieces of symbolic sizes, and halves of an axis that has twice as many entries."""
    shape, sizes = _shape(inputs, 0), _items(inputs, 1)
    if shape is None:
        return None
    axis, count = int(node.attrs.get("axis", 0)) % len(shape), len(node.outputs)
    if sizes is None and "split" not in node.attrs:
        each = quotient(shape[axis], count)
        sizes = None if each is None else [each] * count
    if sizes is None or len(sizes) != count or not same(sum(sizes), shape[axis]):
        return None
    return [(*shape[:axis], simplified(size), *shape[axis + 1 :]) for size in sizes]


def _einsum(node: Node, inputs: Inputs) -> Shape | None:
    """Letters broadcast, which onnx forgets: it takes the first size it meets."""
    shapes = [f.shape for f in inputs if f is not None]
    if any(s is None for s in shapes):
        return None
    parsed = einsum_terms(str(node.attrs.get("equation", "")), [len(s or ()) for s in shapes])
    if parsed is None:
        return None
    sizes: dict[str, Dim] = {}
    for term, shape in zip(parsed[0], shapes, strict=True):
        for letter, dim in zip(term, shape or (), strict=True):
            sizes[letter] = _broadcast_dim(sizes.get(letter, 1), dim)
    return tuple(sizes[letter] for letter in parsed[1])


def _top_k(node: Node, inputs: Inputs) -> Shape | None:
    shape, count = _shape(inputs, 0), _items(inputs, 1)
    if shape is None or count is None or len(count) != 1:
        return None
    axis = int(node.attrs.get("axis", -1)) % len(shape)
    return (*shape[:axis], count[0], *shape[axis + 1 :])


def _squeeze(node: Node, inputs: Inputs) -> Shape | None:
    """Only what onnx leaves open: no axes, where the candidate axis is all that is not a number."""
    fact = inputs[0]
    if fact is None or fact.shape is None or fact.axis is None or "axes" in node.attrs or node.has_input(1):
        return None
    kept = [d for i, d in enumerate(fact.shape) if i == fact.axis.index or d != 1]
    return tuple(kept) if sum(not isinstance(d, int) for d in kept) == 1 else None


def _attention(node: Node, inputs: Inputs) -> Shape | None:
    """Only where values of several heads have an open width, which onnx 1.23 takes for none."""
    query, value = _shape(inputs, 0), _shape(inputs, 2)
    if query is None or value is None or len(query) != 3 or isinstance(value[-1], int):
        return None
    heads, own = (int(node.attrs.get(name, 0)) for name in ("q_num_heads", "kv_num_heads"))
    return (*query[:2], value[-1] if heads == own else fresh())


RULES: dict[str, ShapeRule] = {
    "Attention": _attention,
    "Einsum": _einsum,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Concat": _concat,
    "Flatten": _flatten,
    "Slice": _slice,
    "TopK": _top_k,
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Equal", "Less", "Greater", "Where"), _elementwise
    ),
}


ALL_ALIKE = frozenset({"TopK"})
"""Operators of which all outputs have one shape."""


def refine(node: Node, inputs: Inputs, inferred: Sequence[Shape | None]) -> list[Shape | None]:
    """Shapes of the outputs with the sizes that follow from symbolic entries filled in."""
    rule = RULES.get(node.op)
    pieces = _split(node, inputs) if node.op == "Split" and not node.domain else None
    if pieces is not None:
        return list(pieces)
    if rule is None or node.domain:
        return list(inferred)
    derived = rule(node, inputs)
    if derived is None:
        return list(inferred)
    if node.op not in ("Attention", "Slice", "Einsum") and inferred[0] is not None and len(inferred[0]) == len(derived):
        # Where onnx knows a number, it wins: it may have seen constants that have no content here.
        derived = tuple(
            i if isinstance(i, int) and not isinstance(d, int) and not differ(i, d) else d
            for i, d in zip(inferred[0], derived, strict=True)
        )
    return [derived] * len(inferred) if node.op in ALL_ALIKE else [derived, *inferred[1:]]
