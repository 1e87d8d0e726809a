"""Entries taken one by one and joined, taken all at once::

    Concat( x[:, 3], y[:, 0], x[:, 1], .. ), x: [B, n, d]   ->   Reshape( Gather( Concat(x, y), [3, n, 1, ..] ) )

    [x_j, y_k] = [x, y][j, k]

A model that takes the vector of each pair of fields by itself takes those of all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby

import numpy as np

from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._parts import Parts, joined, parts_of
from mari_onnx.patterns._selected import Entry, entry_of, laid_flat, stretches
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class JoinedEntries(Rule[Parts]):
    """Takes entries that are joined all at once."""

    name = "joined-entries"
    algebra = "[x_j, y_k] = [x, y][j, k]"
    exactness = Exactness.EXACT
    ops = frozenset({"Concat"})

    def match(self, node: Node, at: Workspace) -> Parts | None:
        parts = parts_of(node.output, at)
        return parts if parts is not None and any(entries for _, entries in _runs(parts, at)) else None

    def rewrite(self, node: Node, found: Parts, at: Workspace) -> Sequence[str]:
        pieces: list[str] = []
        for values, entries in _runs(found, at):
            pieces += [_taken(entries, at)] if entries else values
        return [joined(pieces, found.axis, at)]


def _runs(parts: Parts, at: Workspace) -> Iterator[tuple[tuple[str, ...], tuple[Entry, ...]]]:
    """Neighbouring parts, and which entries they are where they can be taken at once."""
    for _, group in groupby(parts.values, key=lambda v: (e := entry_of(v, at)) is not None and e.axis == parts.axis):
        values = tuple(group)
        entries = tuple(e for v in values if (e := entry_of(v, at)) is not None and e.axis == parts.axis)
        sources = {e.source for e in entries}
        # Fewer pieces are copied sooner than what they are cut out of is joined.
        pays = sum(1 for _ in stretches(values, parts.axis, at)) > 2 * len(sources)
        yield values, entries if pays and _may_be_joined(entries, at) else ()


def _may_be_joined(entries: Sequence[Entry], at: Workspace) -> bool:
    """Whether what the entries are taken from differs in size along their axis at most."""
    sources = list(dict.fromkeys(e.source for e in entries))
    facts = [at.fact(v) for v in sources]
    if len({(at.is_once(v), f.axis, f.dtype) for v, f in zip(sources, facts, strict=True)}) != 1:
        return False
    axis = entries[0].axis
    rest = [(*(f.shape or ())[:axis], *(f.shape or ())[axis + 1 :]) for f in facts]
    return all(alike(shape, rest[0]) for shape in rest)


def _taken(entries: Sequence[Entry], at: Workspace) -> str:
    axis, sources = entries[0].axis, list(dict.fromkeys(e.source for e in entries))
    sizes = [int((at.fact(v).shape or ())[axis]) for v in sources]
    offsets = dict(zip(sources, [0, *accumulate(sizes)][:-1], strict=True))
    indices = at.weight(np.array([offsets[e.source] + e.index for e in entries], np.int64))
    return laid_flat(at.emit("Gather", [joined(sources, axis, at), indices], axis=axis), axis, at)
