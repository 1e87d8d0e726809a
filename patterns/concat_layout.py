"""An operator that only moves entries behind a Concat::

    Transpose( Concat(u, i; axis a) )   ->   Concat( Transpose(u), Transpose(i); axis a' )
    Reshape( Concat(u, i; axis a) )     ->   Concat( Reshape(u), Reshape(i); axis a' )

    move([u, i]) = [move(u), move(i)]

Reshape, Flatten, Squeeze, Unsqueeze, Transpose; the parts must stay in one piece in memory order. Where columns are
cut into tokens and a token has some of the user's and some of the items', it goes with those of the items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import product, quotient, same
from mari_onnx.ir.orders import order_of
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, runs_of, taken
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Moved:
    """Where the parts are afterwards.

    Attributes:
        parts: The parts before.
        axis: The axis of the result they are joined on.
        shape: Shape of the result.
        cuts: The pieces that are moved, one after the other: start and size on the old axis, and size on the new one.
    """

    parts: Parts
    axis: int
    shape: Shape
    cuts: tuple[tuple[int, int, int], ...]


class ConcatLayout(Rule[Moved]):
    """Moves the parts of a Concat instead of the whole."""

    name = "concat-layout"
    algebra = "move([u, i]) = [move(u), move(i)]"
    exactness = Exactness.EXACT
    ops = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"})

    def match(self, node: Node, at: Workspace) -> Moved | None:
        parts = mixed_parts(node.inputs[0], at)
        shape = at.fact(node.output).shape
        before = at.fact(node.inputs[0]).shape
        if parts is None or shape is None or before is None:
            return None
        if node.op == "Transpose":
            order = order_of(node, parts.rank)
            cuts = tuple((run.start, run.size, run.size) for run in runs_of(parts, at))
            return Moved(parts, order.index(parts.axis), shape, cuts)
        return _laid_out(parts, before, shape, at)

    def rewrite(self, node: Node, found: Moved, at: Workspace) -> Sequence[str]:
        def make(start: int, size: int, after: int) -> str:
            value = taken(found.parts, start, size, at)
            if node.op == "Transpose":
                return at.emit("Transpose", [value], **dict(node.attrs))
            return at.reshape(value, (*found.shape[: found.axis], after, *found.shape[found.axis + 1 :]))

        return [joined([make(*piece) for piece in found.cuts], found.axis, at)]


def _laid_out(parts: Parts, before: Shape, after: Shape, at: Workspace) -> Moved | None:
    """The axis that begins where the joined axis began, if its entries are whole parts of one side at least once."""
    left, right = product(before[: parts.axis]), product(before[parts.axis + 1 :])
    for axis, size in enumerate(after):
        if not isinstance(size, int) or size == 1 or not same(product(after[:axis]), left):
            continue
        ratio = _ratio(right, product(after[axis + 1 :]))
        if ratio is None or parts.total * ratio[0] != size * ratio[1]:
            continue
        cuts = _cuts(parts, ratio, at)
        if cuts is not None:
            return Moved(parts, axis, after, cuts)
    return None


def _cuts(parts: Parts, ratio: tuple[int, int], at: Workspace) -> tuple[tuple[int, int, int], ...] | None:
    """Neighbouring entries of the new axis that are all made of what is computed once, or none of them."""
    multiple, divisor = ratio
    once = np.repeat([at.is_once(v) for v in parts.values], parts.sizes)
    whole = once.reshape(-1, divisor).all(axis=1)
    if not whole.any():
        return None
    cuts, start = [], 0
    for _, group in groupby(np.atleast_1d(whole).tolist()):
        count = len(list(group))
        cuts.append((start, count * divisor, count * multiple))
        start += count * divisor
    return tuple(cuts) if len(cuts) > 1 else None


def _ratio(right: object, behind: object) -> tuple[int, int] | None:
    for ratio in (quotient(right, behind), quotient(behind, right)):
        if isinstance(ratio, int) and ratio > 0:
            return (ratio, 1) if quotient(right, behind) is not None else (1, ratio)
    return None
