"""A product of rows, each of which is multiplied with a number of its own::

    MatMul( x * s, W )               ->   MatMul( x, W ) * s            x: [.., n], s: [.., 1]
    Gemm( x / s * g, W, C = b )      ->   Gemm( x, diag(g) W ) / s + b
    MatMul( RMSNormalization(x, g), W )   the same, with s = Sqrt( (sum(u^2) + sum(i^2)) / n + eps ), x = Concat(u, i)

    (s x) W = s (x W)

Then a product of rows of user and item that were scaled together falls apart into one of the user's and one of the
items'. The user's squares are summed up once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.analysis.facts import Shape
from mari_onnx.errors import RuleError
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.patterns._finite import moves_through_sum
from mari_onnx.patterns._floats import PRECISE
from mari_onnx.patterns._linear import is_linear_layer
from mari_onnx.patterns._parts import joined, mixed_parts, one_row, parts_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

Step = tuple[str, str]
"""``Mul`` or ``Div``, and the other operand."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Rows, what was done to their columns, and what to each of them, the first step first."""

    rows: str
    columns: tuple[Step, ...] = ()
    numbers: tuple[Step, ...] = ()
    norm: Node | None = None


@dataclass(frozen=True, slots=True)
class Scaled:
    """Parts that are joined to rows, what was done to the columns then, and what to each row."""

    parts: tuple[Chain, ...]
    columns: tuple[Step, ...]
    numbers: tuple[Step, ...]
    norm: Node | None = None


class RowScale(Rule[Scaled]):
    """Multiplies first, and scales the rows of the result."""

    name = "row-scale"
    algebra = "(s x) W = s (x W)"
    exactness = Exactness.REASSOCIATING
    enabling = True
    ops = frozenset({"MatMul", "Gemm"})

    def match(self, node: Node, at: Workspace) -> Scaled | None:
        if at.fact(node.output).dtype not in PRECISE or not is_linear_layer(node, at):
            return None
        chain = _chain(node.inputs[0], at)
        parts = parts_of(chain.rows, at)
        if parts is None or parts.axis != parts.rank - 1:
            return None
        if chain.numbers or chain.norm is not None:
            mixed = mixed_parts(chain.rows, at) is not None and _all_move(chain, at)
            return Scaled((chain,), (), chain.numbers, chain.norm) if mixed else None
        # The Concat may have been pushed through the scaling already.
        numbers = next((_chain(v, at).numbers for v, _, size in parts if size), ())
        if not numbers:
            return None
        pieces = tuple(_chain(v, at) for v, _, size in parts if size)
        kinds = {at.is_once(piece.rows) for piece in pieces}
        if len(kinds) < 2 or any(piece.norm or piece.numbers != numbers for piece in pieces):
            return None
        return Scaled(pieces, chain.columns, numbers) if _all_move(pieces[0], at) else None

    def rewrite(self, node: Node, found: Scaled, at: Workspace) -> Sequence[str]:
        lead = (at.fact(node.inputs[0]).shape or ())[:-1]
        wide = joined([_repeated(part.rows, lead, at) for part in found.parts], len(lead), at)
        made = at.emit(node.op, [wide, _weight(node, found, at)], **dict(node.attrs))
        numbers = found.numbers if found.norm is None else (("Div", _root(found.norm, at)), *found.numbers)
        for op, number in numbers:
            made = at.emit(op, [made, number])
        return [at.emit("Add", [made, node.inputs[2]]) if node.has_input(2) else made]


def _repeated(rows: str, lead: Shape, at: Workspace) -> str:
    """Rows with all their leading axes, of which broadcasting made the scaled ones."""
    shape = at.fact(rows).shape or ()
    if all(map(same, shape[:-1], lead)):
        return rows
    target = at.sizes.vector((*lead, shape[-1]))
    if target is None:
        raise RuleError("a size that it needs cannot be computed")
    return at.emit("Expand", [rows, target])


def _weight(node: Node, found: Scaled, at: Workspace) -> str:
    """The weight, its rows multiplied with what the columns of the rows are."""
    weight, turned = node.inputs[1], bool(node.attrs.get("transB", 0))
    if not any((*(part.columns for part in found.parts), found.columns)):
        return weight
    widths = [(at.fact(part.rows).shape or ())[-1] for part in found.parts]
    factors = np.concatenate([_factors(p.columns, n, at) for p, n in zip(found.parts, widths, strict=True)])
    factors = factors * _factors(found.columns, len(factors), at)

    def scaled() -> np.ndarray:
        array = at.constant(weight)
        assert array is not None
        rows = array.astype(np.float64) * (factors if turned else factors[:, None])
        return np.asarray(rows, array.dtype)

    return at.cached_weight(("scaled", weight, turned, factors.tobytes()), scaled, f"{weight}/scaled")


def _factors(steps: Sequence[Step], width: int, at: Workspace) -> np.ndarray:
    """What columns are multiplied with."""
    factors = np.ones(width)
    for op, other in steps:
        numbers = at.constant(other)
        assert numbers is not None
        factors = factors * numbers.reshape(-1) if op == "Mul" else factors / numbers.reshape(-1)
    return factors


def _chain(value: str, at: Workspace) -> Chain:
    """The steps between a value and rows that were not scaled yet."""
    columns: list[Step] = []
    numbers: list[Step] = []
    norm = None
    while norm is None:
        node, shape = at.graph.producer(value), at.fact(value).shape
        if node is None or node.domain or at.is_once(value) or not shape or shape[-1] == 1:
            break
        if node.op == "RMSNormalization":
            if not _is_row(node.inputs[1], at) or int(node.attrs.get("axis", -1)) not in (-1, len(shape) - 1):
                break
            columns.insert(0, ("Mul", node.inputs[1]))
            value, norm = node.inputs[0], node
            continue
        operands = {"Mul": (node.inputs, node.inputs[::-1]), "Div": (node.inputs,)}.get(node.op, ())
        step = next((pair for pair in operands if _keeps_shape(pair[0], value, at) and _is_factor(pair[1], at)), None)
        if step is None or (node.op == "Div" and _has_zeros(step[1], at)):
            break
        (columns if at.is_weight(step[1]) else numbers).insert(0, (node.op, step[1]))
        value = step[0]
    return Chain(value, tuple(columns), tuple(numbers), norm)


def _all_move(chain: Chain, at: Workspace) -> bool:
    """Whether rows are multiplied with finite numbers alone, and divided by none that is 0 while they are not."""
    return all(moves_through_sum(op, number, at, chain.rows) for op, number in chain.numbers)


def _keeps_shape(rows: str, value: str, at: Workspace) -> bool:
    own, shape = at.fact(rows).shape, at.fact(value).shape
    return own is not None and shape is not None and len(own) == len(shape) and same(own[-1], shape[-1])


def _is_factor(value: str, at: Workspace) -> bool:
    """Whether a value has one number for each row of the items, or is a constant with one for each column."""
    shape = at.fact(value).shape
    return _is_row(value, at) or (bool(shape) and shape is not None and shape[-1] == 1 and not at.is_once(value))


def _is_row(value: str, at: Workspace) -> bool:
    shape = at.fact(value).shape
    return at.is_weight(value) and shape is not None and all(size == 1 for size in shape[:-1])


def _has_zeros(value: str, at: Workspace) -> bool:
    numbers = at.constant(value) if at.is_weight(value) else None
    return numbers is not None and not numbers.all()


def _root(norm: Node, at: Workspace) -> str:
    """What an RMSNormalization divides its rows by: the squares of the user's columns are summed up once."""
    parts = mixed_parts(norm.inputs[0], at)
    assert parts is not None
    kind = onnx.helper.tensor_dtype_to_np_dtype(at.fact(norm.output).dtype)
    last = at.weight(np.array([-1], np.int64), "mari/axes")
    sums = []
    for once in (True, False):
        value = joined([v for v, _, size in parts if size and at.is_once(v) == once], parts.axis, at)
        sums.append(at.emit("ReduceSum", [at.emit("Mul", [value, value]), last], keepdims=1))
    total = at.emit("Add", [one_row(sums[0], at), sums[1]])
    mean = at.emit("Mul", [total, at.weight(np.array(1 / parts.total, kind))])
    return at.emit("Sqrt", [at.emit("Add", [mean, at.weight(np.array(norm.attrs.get("epsilon", 1e-5), kind))])])
