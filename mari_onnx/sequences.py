"""Sequences of which every part is known are done without: ``torch.hstack`` and lists of scripted models make them.

::

    ConcatFromSequence( SequenceConstruct(a, b) )   ->   Concat(a, b)
    SequenceAt( SequenceInsert(s, a), -1 )          ->   a
    SplitToSequence(x)                              ->   SequenceConstruct( Split(x) )
    SequenceMap( SequenceConstruct(a, b); f )       ->   SequenceConstruct( f(a), f(b) )
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from mari_onnx.analysis import Analysis
from mari_onnx.ir.graph import Graph, Node
from mari_onnx.replacement import Replacement, with_replacements

MOST_PARTS = 256
"""As many pieces may a value be cut into; a fixed number of candidates is no list of features."""

Lists = Mapping[str, tuple[str, ...]]
"""The parts of each sequence that is known."""


def plain_sequences(graph: Graph, analysis: Analysis) -> Graph:
    """Lets what reads a sequence read its parts.

    Returns:
        The graph itself where nothing reads a part of a known one.
    """
    lists: dict[str, tuple[str, ...]] = {}
    for node in graph.sorted_nodes():
        parts = _made(node, lists, analysis)
        if parts is not None:
            lists[node.output] = parts

    def plain(made: Replacement, node: Node) -> list[Node]:
        if node.kind == "SplitToSequence":
            return _split(made, node, analysis)
        if node.kind == "SequenceMap":
            return _mapped(made, node, lists, analysis)
        parts = lists.get(node.inputs[0]) if node.inputs else None
        return [] if parts is None else _read(made, node, parts, analysis)

    return with_replacements(graph, plain)


def _made(node: Node, lists: Lists, analysis: Analysis) -> tuple[str, ...] | None:
    """The parts of a sequence that a node makes of what is known."""
    if node.kind == "SequenceConstruct":
        return tuple(node.inputs)
    if node.kind == "SequenceEmpty":
        return ()
    parts = lists.get(node.inputs[0]) if node.inputs else None
    if parts is None or node.kind not in ("SequenceInsert", "SequenceErase"):
        return None
    inserts = node.kind == "SequenceInsert"
    slot, last = (2, len(parts)) if inserts else (1, len(parts) - 1)
    place = _place(node.inputs[slot], len(parts), analysis) if node.has_input(slot) else last
    if place is None or not 0 <= place <= last:
        return None
    return (*parts[:place], node.inputs[1], *parts[place:]) if inserts else (*parts[:place], *parts[place + 1 :])


def _place(value: str, count: int, analysis: Analysis) -> int | None:
    """A position among some parts, counted from the front."""
    known = analysis.facts[value].integers
    return None if known is None or len(known) != 1 else known[0] + count * (known[0] < 0)


def _read(made: Replacement, node: Node, parts: tuple[str, ...], analysis: Analysis) -> list[Node]:
    """What takes the place of a node that reads a sequence."""
    if node.kind == "SequenceLength":
        return made.ended("Identity", [made.integers(len(parts))], {})
    if node.kind == "SequenceAt":
        place = _place(node.inputs[1], len(parts), analysis)
        known = place is not None and 0 <= place < len(parts)
        return made.ended("Identity", [parts[place]], {}) if place is not None and known else []
    if node.kind != "ConcatFromSequence" or not parts:
        return []
    axis = int(node.attrs["axis"])
    if node.attrs.get("new_axis", 0):
        parts = tuple(made.unsqueezed(part, [axis]) for part in parts)
    return made.ended("Concat", parts, {"axis": axis})


def _split(made: Replacement, node: Node, analysis: Analysis) -> list[Node]:
    """A Split, and a sequence of what it makes."""
    shape, axis = analysis.facts[node.inputs[0]].shape, int(node.attrs.get("axis", 0))
    total = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if not isinstance(total, int):
        return []
    sizes = _sizes(node, total, analysis)
    if sizes is None or not 0 < len(sizes) <= MOST_PARTS or sum(sizes) != total or min(sizes) < 0:
        return []
    parts = made.split(node.inputs[0], axis, sizes)
    if not node.has_input(1) and not node.attrs.get("keepdims", 1):
        parts = [made.squeezed(part, [axis]) for part in parts]
    return made.ended("SequenceConstruct", parts, {})


def _mapped(made: Replacement, node: Node, lists: Lists, analysis: Analysis) -> list[Node]:
    """The body once for each part; a tensor beside them is the same for all."""
    body, parts = node.attrs["body"], lists.get(node.inputs[0], ())
    if not 0 < len(parts) <= MOST_PARTS or len(node.outputs) != 1:
        return []
    if not isinstance(body, onnx.AttributeProto) or body.g.sparse_initializer:
        return []
    given = []
    for value in node.inputs:
        if value not in lists and not analysis.facts[value].dtype:
            return []  # it may be a sequence, too
        given.append(lists.get(value, (value,) * len(parts)))
    if any(len(each) != len(parts) for each in given):
        return []
    names = [i.name for i in body.g.input]
    results = [made.inlined(body.g, dict(zip(names, row, strict=True)))[0] for row in zip(*given, strict=True)]
    return made.ended("SequenceConstruct", results, {})


def _sizes(node: Node, total: int, analysis: Analysis) -> list[int] | None:
    """Of each piece of an axis."""
    if not node.has_input(1):
        return [1] * min(total, MOST_PARTS + 1)
    fact = analysis.facts[node.inputs[1]]
    if fact.integers is None:
        return None
    if fact.rank:
        return list(fact.integers)
    (size,) = fact.integers
    return [min(size, total - start) for start in range(0, total, size)] if size > 0 else None
