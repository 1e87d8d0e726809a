"""Joined parts that are padded, or shifted, along the axis they are joined on or another one::

    Pad( Concat(u, i; axis a), pads )   ->   Concat( Pad(u, pads in front), Pad(i, pads behind); axis a )

    pad([u, i]) = [pad(u), pad(i)]

A pad below zero cuts entries off: a history that is moved by one step, as in the token shift of RWKV, loses the
candidate at its end, and is the user's. What fills the gap lies in front of the first part or behind the last one;
entries along the other axes are padded part by part. Modes that read entries (reflect, edge, wrap) may do so along
other axes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, joined, mixed_parts, runs_of, taken
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

Pads = tuple[tuple[int, int], ...]
"""For each axis how many entries come in front and behind."""


@dataclass(frozen=True, slots=True)
class Padded:
    """What is left of the parts, and what they get.

    Attributes:
        parts: The parts.
        pieces: Start and size of what stays, user and item parts apart.
        pads: For each piece, how it is padded.
    """

    parts: Parts
    pieces: tuple[tuple[int, int], ...]
    pads: tuple[Pads, ...]


class ConcatPad(Rule[Padded]):
    """Pads the parts of a Concat instead of the whole."""

    name = "concat-pad"
    algebra = "pad([u, i]) = [pad(u), pad(i)]"
    exactness = Exactness.EXACT
    ops = frozenset({"Pad"})

    def match(self, node: Node, at: Workspace) -> Padded | None:
        parts, joint = mixed_parts(node.inputs[0], at), at.fact(node.inputs[0])
        pads = _pads(node, parts.rank, at) if parts is not None else None
        if parts is None or pads is None or joint.opaque or joint.axis is None or pads[joint.axis.index] != (0, 0):
            return None
        front, behind = pads[parts.axis]
        if (front or behind) and node.attrs.get("mode", "constant") != "constant":
            return None
        pieces = _kept(parts, max(-front, 0), parts.total - max(-behind, 0), at)
        if not pieces:
            return None
        last = len(pieces) - 1
        own = [(max(front, 0) if k == 0 else 0, max(behind, 0) if k == last else 0) for k in range(len(pieces))]
        return Padded(parts, pieces, tuple((*pads[: parts.axis], o, *pads[parts.axis + 1 :]) for o in own))

    def rewrite(self, node: Node, found: Padded, at: Workspace) -> Sequence[str]:
        whole = [taken(found.parts, start, size, at) for start, size in found.pieces]
        made = [_padded(node, value, pads, at) for value, pads in zip(whole, found.pads, strict=True)]
        return [joined(made, found.parts.axis, at)]


def _pads(node: Node, rank: int, at: Workspace) -> Pads | None:
    """How each axis is padded; ``None`` where that is not known."""
    axes = at.integers(node.inputs[3]) if node.has_input(3) else tuple(range(rank))
    given = at.integers(node.inputs[1]) if at.opset >= 11 else tuple(int(p) for p in node.attrs["pads"])
    if given is None or axes is None or len(given) != 2 * len(axes):
        return None
    pads = dict.fromkeys(range(rank), (0, 0))
    pads |= {axis % rank: (given[k], given[k + len(axes)]) for k, axis in enumerate(axes)}
    return tuple(pads[axis] for axis in range(rank))


def _kept(parts: Parts, first: int, end: int, at: Workspace) -> tuple[tuple[int, int], ...]:
    """What of each run lies between two places."""
    bounds = [(max(run.start, first), min(run.start + run.size, end)) for run in runs_of(parts, at)]
    return tuple((start, stop - start) for start, stop in bounds if start < stop)


def _padded(node: Node, value: str, pads: Pads, at: Workspace) -> str:
    if not any(map(any, pads)):
        return value
    flat = [front for front, _ in pads] + [behind for _, behind in pads]
    if at.opset < 11:
        return at.emit("Pad", [value], **{**node.attrs, "pads": flat})
    fill = [node.inputs[2]] if node.has_input(2) else []
    return at.emit("Pad", [value, at.weight(np.array(flat, np.int64), "mari/pads"), *fill], **dict(node.attrs))
