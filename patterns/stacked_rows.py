"""Layers run on tensors that were laid behind each other and are taken apart again::

    f( Concat(x: [B, ..], y: [B, ..]; axis 0) )[B:]   ->   f( Stack(x, y): [2, B, ..] )[1]

    f works on each row alone: f([x; y]) = rows(f(stack(x, y)))

Heads of attention are written like this (``cat(chunk(q, h, -1), 0)``, and ``chunk(out, h, 0)`` behind it; in TensorFlow
``tf.concat(tf.split(q, h, axis=2), axis=0)``). In ``[h*B, ..]`` no axis is that of the candidates, so a user's keys are
repeated for each of them. With an axis of their own for the heads they are read once, as any others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, quotient, same
from mari_onnx.patterns._end_to_end import cut_rows
from mari_onnx.patterns._parts import cut
from mari_onnx.patterns._row_tree import Step, row_tree, with_lead
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Reader:
    """A node that takes rows apart, and which tensors each of its outputs has: from one to another, of all in a row."""

    node: Node
    taken: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Stacked:
    """A tree of row-wise nodes on several tensors.

    Attributes:
        lead: How many tensors there are, and how many rows each has.
        tree: The nodes, each behind what it reads.
        readers: All that reads what they make, the node that was matched in front.
    """

    lead: Shape
    tree: tuple[Step, ...]
    readers: tuple[Reader, ...]


class StackedRows(Rule[Stacked]):
    """Gives tensors that were laid behind each other an axis that numbers them."""

    name = "stacked-rows"
    algebra = "f([x; y]) = rows(f(stack(x, y)))"
    exactness = Exactness.EXACT
    enabling = True
    ops = frozenset({"Slice", "Split"})

    def match(self, node: Node, at: Workspace) -> Stacked | None:
        return stacked_in_front(node, at)

    def rewrite(self, node: Node, found: Stacked, at: Workspace) -> Sequence[str]:
        stacked = with_lead(found.tree, found.lead, at)
        own, *others = [_results(reader, stacked, at) for reader in found.readers]
        for reader, results in zip(found.readers[1:], others, strict=True):
            at.replace(reader.node, results)
        return own


def stacked_in_front(node: Node, at: Workspace) -> Stacked | None:
    """The tree in front of a Slice or Split that takes tensors apart which were laid behind each other."""
    value = node.inputs[0]
    shape, own = at.fact(value).shape, at.fact(node.outputs[0]).shape
    if not shape or not own or at.is_once(value) or at.graph.is_output(value):
        return None
    if same(own[0], 1):  # an axis that numbers them is there already
        return None
    count = quotient(shape[0], own[0])
    if not isinstance(count, int) or count < 2:
        return None
    tree = row_tree(value, (count, own[0]), at)
    readers = [_reader(n, shape[0], own[0], at) for n in (node, *at.graph.consumers(value))]
    found = tuple(dict.fromkeys(r for r in readers if r is not None))
    return Stacked((count, own[0]), tree, found) if tree and None not in readers else None


def _reader(node: Node, total: Dim, rows: Dim, at: Workspace) -> Reader | None:
    """Which tensors a node takes; ``None`` where it takes anything but whole ones, in whatever order."""
    ranges = cut_rows(node, 0, total, at) if node.kind in ("Slice", "Split") else []
    taken = [(_place(start, rows), _place(end, rows)) for start, end in ranges]
    whole = [(start, end) for start, end in taken if start is not None and end is not None and start < end]
    return Reader(node, tuple(whole)) if whole and len(whole) == len(taken) else None


def _place(border: Dim, rows: Dim) -> int | None:
    place = 0 if same(border, 0) else quotient(border, rows)
    return place if isinstance(place, int) else None


def _results(reader: Reader, stacked: str, at: Workspace) -> list[str]:
    made = []
    for value, (start, end) in zip(reader.node.outputs, reader.taken, strict=True):
        shape = at.fact(value).shape
        assert shape is not None
        made.append(at.reshape(cut(stacked, 0, start, end - start, at), shape))
    return made
