"""Rows of the user computed anew, those that are computed alike all at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from onnx import helper

from mari_onnx.ir.dims import product
from mari_onnx.patterns._gated_rows import Layer, Leaf, Number, Row, Times
from mari_onnx.patterns._parts import joined, matrix_of, one_row
from mari_onnx.rewrite.workspace import Workspace


def rows_built(rows: Sequence[Row], at: Workspace) -> str:
    """Rows of one width, one behind the other: ``[1, n, d]``."""
    leaves = [row for row in rows if isinstance(row, Leaf)]
    if len(leaves) == len(rows):
        return _leaves(leaves, at)
    unique = list(dict.fromkeys(rows))
    if len(unique) < len(rows):
        places = {row: place for place, row in enumerate(unique)}
        return _picked(rows_built(unique, at), [places[row] for row in rows], at)
    kinds: dict[Hashable, list[Row]] = {}
    for row in rows:
        kinds.setdefault((type(row), row.node if isinstance(row, Layer) else None), []).append(row)
    made = joined([_of_one_kind(alike, at) for alike in kinds.values()], 1, at)
    order = {row: place for place, row in enumerate(row for alike in kinds.values() for row in alike)}
    return _picked(made, [order[row] for row in rows], at)


def numbers_built(numbers: Sequence[Number], at: Workspace) -> str:
    """Finite numbers of the candidates side by side: ``[B, n]``.

    Picking single numbers takes ten times as long as a product with a matrix that has a 1 for each of them.
    """
    starts, sources, total = {}, [], 0
    for source in dict.fromkeys(number.source for number in numbers):
        lead, *sizes = at.fact(source).shape or ()
        count = product(sizes)
        assert isinstance(count, int)
        sources.append(at.reshape(source, (lead, count)))
        starts[source], total = total, total + count
    entries = [starts[n.source] + n.entry for n in numbers]
    if entries == list(range(total)):
        return joined(sources, 1, at)
    chosen = np.zeros((total, len(entries)), helper.tensor_dtype_to_np_dtype(at.fact(sources[0]).dtype))
    chosen[entries, np.arange(len(entries))] = 1
    return at.emit("MatMul", [joined(sources, 1, at), at.weight(chosen)])


def _of_one_kind(rows: Sequence[Row], at: Workspace) -> str:
    leaves = [row for row in rows if isinstance(row, Leaf)]
    if leaves:
        return _leaves(leaves, at)
    pairs = [row for row in rows if isinstance(row, Times)]
    if pairs:
        return at.emit("Mul", [rows_built([p.left for p in pairs], at), rows_built([p.right for p in pairs], at)])
    layers = [row for row in rows if isinstance(row, Layer)]
    return at.emit("MatMul", [rows_built([layer.row for layer in layers], at), matrix_of(layers[0].node, at)])


def _leaves(leaves: Sequence[Leaf], at: Workspace) -> str:
    starts, values, total = {}, [], 0
    for value in dict.fromkeys(leaf.value for leaf in leaves):
        *lead, width = at.fact(value).shape or ()
        count = product(lead[1:])
        assert isinstance(count, int)
        values.append(at.reshape(one_row(value, at), (1, count, width)))
        starts[value], total = total, total + count
    return _picked(joined(values, 1, at), [starts[leaf.value] + leaf.row for leaf in leaves], at)


def _picked(value: str, entries: Sequence[int], at: Workspace) -> str:
    """Entries of the second axis."""
    if list(entries) == list(range((at.fact(value).shape or (0, 0))[1])):
        return value
    return at.emit("Gather", [value, at.weight(np.array(entries, np.int64))], axis=1)
