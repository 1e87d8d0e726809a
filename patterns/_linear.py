"""A product with a weight, seen as a sum over the values that its operand is a linear function of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike, product, same
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._parts import mixed_parts, one_row, parts_of
from mari_onnx.patterns._repeats import before, source_of
from mari_onnx.patterns.views import REPETITIONS, VIEWS
from mari_onnx.rewrite.memory import kept
from mari_onnx.rewrite.overflow import within_range
from mari_onnx.rewrite.workspace import Workspace

MAX_TERMS = 16
LARGE = 10.0
"""Less than this is subtracted from numbers of about one: a mean of many deviations loses digits."""
MOVING = VIEWS | REPETITIONS | {"Transpose", "Cast", "Slice", "Split", "Gather"}
"""Operators behind which numbers are as large as before."""

Columns = tuple[tuple[int, int], ...]
"""Which column of a value meets which row of the weight; empty where they follow each other."""

Pieces = tuple[tuple[int, float, Columns], ...]
"""Rows of the weight that are added up: where they begin, a factor, and their order."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A value, the row of the weight where it begins, and the order of its columns."""

    value: str
    start: int
    columns: Columns = ()


@dataclass(frozen=True, slots=True)
class Form:
    """``x W`` as the sum of each term times its own combination of rows of ``W``.

    Attributes:
        terms: For each value what it is multiplied with; a value may lack repetitions, which broadcasting brings back.
        shape: What ``x`` was before its leading axes were merged.
        changed: Whether the terms are anything else than the parts of ``x``.
    """

    terms: dict[str, Pieces]
    shape: Shape
    changed: bool


@kept
def linear_form(value: str, at: Workspace) -> Form | None:
    """The operand of a product as a linear form, with no more wide terms than it has parts."""
    value = unmerged(value, at)
    shape = at.fact(value).shape
    if not shape or len(shape) < 2 or not isinstance(shape[-1], int) or at.is_once(value):
        return None
    parts = _parts(value, at)
    expanded = [[(narrowest(p.value, at), 1.0)] if p.columns else terms_of(p.value, at) for p in parts]
    known = {terms[0][0] for terms in expanded if len(terms) == 1}
    terms: dict[str, Pieces] = {}
    changed = False
    for part, found in zip(parts, expanded, strict=True):
        wide = [v for v, _ in found if v not in known and _is_wide(v, part.value, at)]
        taken = found if len(wide) <= 1 and len(found) <= MAX_TERMS else [(narrowest(part.value, at), 1.0)]
        known |= {v for v, _ in taken}
        narrowed = taken[0][0] != part.value and not at.is_once(part.value)
        changed = changed or len(taken) > 1 or narrowed or bool(part.columns)
        for v, factor in taken:
            terms[v] = (*terms.get(v, ()), (part.start, factor, part.columns))
    return Form(terms, shape, changed)


def _parts(value: str, at: Workspace) -> list[_Part]:
    """The columns of a value in their parts, those that a Gather put in another order among them."""
    parts = parts_of(value, at)
    if parts is None or parts.axis != parts.rank - 1:
        return _gathered(value, 0, at) or [_Part(value, 0)]
    return [p for v, start, size in parts if size for p in _gathered(v, start, at) or [_Part(v, start)]]


def _gathered(value: str, start: int, at: Workspace) -> list[_Part]:
    """Where a value has chosen columns of a Concat of user and item parts, those parts."""
    node = at.graph.producer(value)
    if node is None or node.op != "Gather" or node.domain:
        return []
    parts, indices = mixed_parts(node.inputs[0], at), at.constant(node.inputs[1])
    if parts is None or indices is None or indices.ndim != 1:
        return []
    if not parts.axis == parts.rank - 1 == int(node.attrs.get("axis", 0)) % parts.rank:
        return []
    found = []
    chosen = [int(i) % parts.total for i in indices]
    for source, offset, size in parts:
        columns = tuple((i - offset, row) for row, i in enumerate(chosen) if offset <= i < offset + size)
        if columns and len({column for column, _ in columns}) < size:
            # Columns that the model leaves out may be no numbers at all, which zeros would not make go away.
            return []
        if columns:
            found.append(_Part(source, start, columns))
    return found


def unmerged(value: str, at: Workspace) -> str:
    """What a Reshape merged the leading axes of."""
    node = at.graph.producer(value)
    before = at.fact(node.inputs[0]).shape if node is not None and node.op in ("Reshape", "Flatten") else None
    after = at.fact(value).shape
    if node is None or not before or not after or len(before) < 3 or len(after) != 2:
        return value
    return node.inputs[0] if same(before[-1], after[-1]) and not node.domain else value


def _is_wide(value: str, part: str, at: Workspace) -> bool:
    """Whether a term has as many rows as the part it comes from."""
    own, whole = at.fact(value).shape, at.fact(part).shape
    assert own is not None
    assert whole is not None
    return not at.is_once(value) and same(product(own), product(whole))


def narrowest(value: str, at: Workspace) -> str:
    """The value without repetitions that broadcasting brings back, those along the last axis excepted."""
    while True:
        axis = at.fact(value).axis
        if at.is_user(value) and axis is not None and axis.is_whole and axis.index != (at.fact(value).rank or 0) - 1:
            value = at.single(value)
            continue
        source = _repeated(value, at)
        if source is None:
            return value
        value = source


def _repeated(value: str, at: Workspace) -> str | None:
    """What a value does nothing but repeat, along other axes than the last."""
    source = source_of(value, at)
    before, after = (at.fact(v).shape if v else None for v in (source, value))
    return source if before and after and same(before[-1], after[-1]) else None


def terms_of(value: str, at: Workspace, depth: int = 4) -> list[tuple[str, float]]:
    """Values and factors that a value is the sum of."""
    value = narrowest(value, at)
    node = at.graph.producer(value)
    if node is None or node.domain or depth == 0 or at.is_once(value):
        return [(value, 1.0)]
    if _is_raw_difference(node, at):
        return [(value, 1.0)]
    if node.op in ("Add", "Sub", "Sum") and all(_has_columns_of(v, value, at) for v in node.inputs):
        signs = [1.0, -1.0] if node.op == "Sub" else [1.0] * len(node.inputs)
        return [(v, s * f) for o, s in zip(node.inputs, signs, strict=True) for v, f in terms_of(o, at, depth - 1)]
    if node.op == "Neg":
        return [(v, -f) for v, f in terms_of(node.inputs[0], at, depth - 1)]
    return [(value, 1.0)]


def _is_raw_difference(node: Node, at: Workspace) -> bool:
    """Whether large numbers that a request brings may leave a small one: two times, or prices and their mean.

    What is left has all of their digits; of two products little would be left but what was rounded. Vectors that a
    request brings are of moderate size; a single column is where times are, and gains nothing.
    """
    if node.op not in ("Sub", "Add") or len(node.inputs) != 2 or not any(_is_raw(v, at) for v in node.inputs):
        return False
    constants = [array for v in node.inputs if at.is_weight(v) and (array := at.constant(v)) is not None]
    if any(np.abs(array).max(initial=0) > LARGE for array in constants):
        return True
    return same((at.fact(node.output).shape or (0,))[-1], 1)


def _is_raw(value: str, at: Workspace) -> bool:
    """Whether a value is an input of the model, cut, repeated, laid out anew or beside other values."""
    source = before(narrowest(value, at), MOVING, at)
    node = at.graph.producer(source)
    if node is not None and node.op == "Concat" and not node.domain:
        return any(_is_raw(v, at) for v in node.inputs)
    return source in at.graph.inputs


def _has_columns_of(value: str, total: str, at: Workspace) -> bool:
    own, whole = at.fact(value).shape, at.fact(total).shape
    return bool(own and whole and same(own[-1], whole[-1]))


def rows(weight: np.ndarray, pieces: Pieces, size: int) -> np.ndarray:
    """A combination of rows of a weight, in its own precision."""
    if len(pieces) == 1 and pieces[0][1] == 1.0 and not pieces[0][2]:
        return weight[pieces[0][0] : pieces[0][0] + size]
    total = np.zeros((size, weight.shape[1]))
    for start, factor, columns in pieces:
        if columns:
            np.add.at(total, [c for c, _ in columns], factor * weight[[start + r for _, r in columns]].astype(float))
        else:
            total += factor * weight[start : start + size].astype(np.float64)
    return total.astype(weight.dtype)


def combined(node: Node, columns: Sequence[tuple[Pieces, int]], at: Workspace, *, apart: bool = False) -> str:
    """The weight of a product for several terms side by side: for each the pieces, and how many columns it has.

    With ``apart`` there is an axis of size 1 between rows and columns.
    """
    scale = float(node.attrs.get("alpha", 1.0))
    turned = bool(node.attrs.get("transB", 0))

    def stacked() -> np.ndarray:
        array = at.constant(node.inputs[1])
        assert array is not None
        array = array.T if turned else array
        blocks = [rows(array, tuple((s, f * scale, c) for s, f, c in pieces), size) for pieces, size in columns]
        total = np.ascontiguousarray(np.concatenate(blocks, axis=0))
        return total[:, np.newaxis, :] if apart else total

    key = ("combined", node.inputs[1], turned, scale, tuple(columns), apart)
    return at.cached_weight(key, stacked, f"{node.inputs[1]}/combined")


def weight_of(node: Node, pieces: Sequence[tuple[int, int]], at: Workspace) -> str:
    """Pieces (start, size) of the rows of a product's weight, one after the other, scaled as the product is."""
    return combined(node, [(((start, 1.0, ()),), size) for start, size in pieces], at)


def is_linear_layer(node: Node, at: Workspace) -> bool:
    """Whether a MatMul or Gemm multiplies rows with a constant matrix of floats, and adds at most an unscaled bias."""
    weight = at.fact(node.inputs[1])
    if not at.is_weight(node.inputs[1]) or weight.rank != 2 or weight.dtype not in FLOATS:
        return False
    scaled = node.has_input(2) and node.attrs.get("beta", 1.0) != 1.0
    return not node.attrs.get("transA", 0) and not scaled


def matrix_of_layer(node: Node, at: Workspace) -> np.ndarray:
    """The weight of a linear layer as it multiplies rows, scaled as the product is, in its own type."""
    array, scale = at.constant(node.inputs[1]), float(node.attrs.get("alpha", 1.0))
    assert array is not None
    array = array.T if node.attrs.get("transB", 0) else array
    if scale == 1.0:
        return array
    with within_range():
        return np.asarray((array.astype(np.float64) * scale).astype(array.dtype))


def is_plain_layer(node: Node, at: Workspace) -> bool:
    """Whether a node multiplies the rows of a matrix with a constant one, and adds one row for all candidates."""
    if node.op not in ("MatMul", "Gemm") or node.domain or not is_linear_layer(node, at):
        return False
    if at.fact(node.inputs[0]).rank != 2 or at.is_weight(node.inputs[0]):
        return False
    return not node.has_input(2) or is_bias(node.inputs[2], node.output, at)


def is_bias(row: str, product: str, at: Workspace) -> bool:
    """Whether a value is one row for all candidates, as wide as the product it is added to."""
    shape, whole = at.fact(one_row(row, at)).shape, at.fact(product).shape or ()
    return bool(whole) and at.is_once(row) and (alike(shape, whole[-1:]) or alike(shape, (1, *whole[-1:])))
