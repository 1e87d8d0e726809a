"""A layer over all pairs of rows, of which some are the user's::

    Conv( [u_h * y_m for all h, m], W )   ->   MatMul( y, sum_h W_hm u_h )

    sum_hm W[o, h, m] u_h y_m = sum_m (sum_h W[o, h, m] u_h) y_m

The user's rows are multiplied into the weight, once; pairs with them are never made. So are the layers of compressed
interactions (xDeepFM): ``h`` are all fields, ``m`` those or the rows of the layer before, and each column of an
embedding has its own weight then. Pairs with rows of the items are made as before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim
from mari_onnx.patterns._finite import never_infinite
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._pairs import COLUMN, flat_layout, rows_of_pairs
from mari_onnx.patterns._parts import Parts, joined, mixed_parts
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Pairs:
    """What the layer reads.

    Attributes:
        parts: The rows of which some are the user's: ``[B, h, d]``.
        others: The rows that they are paired with: ``[B, m, d]``.
        first: Whether the number of a pair counts ``others`` within ``parts``.
        count: The number of ``others``.
        width: ``d``.
    """

    parts: Parts
    others: str
    first: bool
    count: int
    width: int


class ContractedWeight(Rule[Pairs]):
    """Multiplies the weight of a layer over pairs with the user's rows."""

    name = "contracted-weight"
    algebra = "sum_hm W[o, h, m] u_h y_m = sum_m (sum_h W[o, h, m] u_h) y_m"
    exactness = Exactness.REASSOCIATING
    phases = Phase.EARLY | Phase.MAIN
    rival = True
    ops = frozenset({"Conv"})

    def match(self, node: Node, at: Workspace) -> Pairs | None:
        shape, weight = at.fact(node.inputs[0]).shape, at.fact(node.inputs[1])
        layout = flat_layout(shape)
        if not at.is_weight(node.inputs[1]) or weight.dtype not in FLOATS or not _is_plain(node, weight.shape or ()):
            return None
        if shape is None or layout is None or not all(isinstance(d, int) for d in shape[1:]):
            return None
        operands = rows_of_pairs(node.inputs[0], layout, at) or ()
        for index, rows in enumerate(operands):
            parts, others = mixed_parts(rows, at), at.fact(operands[1 - index]).shape
            if parts is not None and parts.axis == 1 and others is not None and isinstance(others[1], int):
                # What is infinite times numbers of either sign adds up to no number, times their sum it is infinite.
                if not never_infinite(operands[1 - index], at):
                    return None
                return Pairs(parts, operands[1 - index], index == 0, others[1], int(shape[layout.index(COLUMN)]))
        return None

    def rewrite(self, node: Node, found: Pairs, at: Workspace) -> Sequence[str]:
        user = [(v, start, size) for v, start, size in found.parts if size and at.is_once(v)]
        items = [(v, start, size) for v, start, size in found.parts if size and not at.is_once(v)]
        batch, made = (at.fact(node.output).shape or ())[:2]
        matrices = _weighed(node, found, user, made, at)
        rows = at.emit("Transpose", [found.others], perm=[2, 0, 1])
        result = at.emit("Transpose", [at.emit("MatMul", [rows, matrices])], perm=[1, 2, 0])

        left = at.reshape(joined([v for v, _, _ in items], 1, at), (batch, _total(items), 1, found.width))
        right = at.reshape(found.others, (batch, 1, found.count, found.width))
        pairs = at.reshape(at.emit("Mul", [left, right]), (batch, _total(items) * found.count, found.width))
        kept = _part_of_weight(node, found, items, _channels, at)
        total = at.emit("Add", [at.emit("Conv", [pairs, kept, *node.inputs[2:]]), result])
        shape = at.fact(node.output).shape
        return [total if shape is None or len(shape) == 3 else at.reshape(total, shape)]


Piece = tuple[str, int, int]


def _total(pieces: Sequence[Piece]) -> int:
    return sum(size for _, _, size in pieces)


def _weighed(node: Node, found: Pairs, user: Sequence[Piece], made: Dim, at: Workspace) -> str:
    """The weight for each column, summed over the user's rows: ``[d, m, o]``, computed once."""

    def columns_of_matrix(cube: np.ndarray) -> np.ndarray:
        return np.transpose(cube, (1, 2, 0)).reshape(cube.shape[1], -1)

    # The columns of the weight stand as the result needs them: what is as large as the weight is never transposed.
    weight = _part_of_weight(node, found, user, columns_of_matrix, at)
    columns = at.emit("Transpose", [at.single(joined([v for v, _, _ in user], 1, at))], perm=[0, 2, 1])
    return at.reshape(at.emit("MatMul", [columns, weight]), (found.width, found.count, made))


def _channels(cube: np.ndarray) -> np.ndarray:
    return cube.reshape(len(cube), -1, 1)


Layout = Callable[[np.ndarray], np.ndarray]


def _part_of_weight(node: Node, found: Pairs, pieces: Sequence[Piece], laid_out: Layout, at: Workspace) -> str:
    """The weight of pairs with some of the rows, from ``[o, h, m]`` laid out anew."""

    def part() -> np.ndarray:
        array = at.constant(node.inputs[1])
        assert array is not None
        shape = (found.parts.total, found.count) if found.first else (found.count, found.parts.total)
        cube = array.reshape(len(array), *shape)
        cube = cube if found.first else np.moveaxis(cube, 1, 2)
        chosen = np.concatenate([np.arange(start, start + size) for _, start, size in pieces])
        return np.ascontiguousarray(laid_out(cube[:, chosen]))

    key = (laid_out.__name__, node.inputs[1], found.first, found.count, tuple(piece[1:] for piece in pieces))
    return at.cached_weight(key, part, f"{node.inputs[1]}/pairs")


def _is_plain(node: Node, weight: Shape) -> bool:
    """Whether a Conv takes each column by itself."""
    plain = {"strides": 1, "dilations": 1, "pads": 0}
    return (
        all(size == 1 for size in weight[2:])
        and all(set(node.attrs.get(name, ())) <= {only} for name, only in plain.items())
        and node.attrs.get("group", 1) == 1
        and node.attrs.get("auto_pad", "NOTSET") in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    )
