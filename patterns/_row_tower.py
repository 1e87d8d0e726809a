"""What runs on rows that were laid one behind the other, looked at as if there were some number of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mari_onnx.analysis.analyze import Judge
from mari_onnx.analysis.facts import CandidateAxis, Content, Fact, Shape
from mari_onnx.analysis.transfer import SIZING
from mari_onnx.ir import Node
from mari_onnx.ir.dims import CANDIDATES, Dim, is_underived, may_be_zero, mentions_candidates, product, quotient, same
from mari_onnx.patterns._alike import Rows, rows_alike
from mari_onnx.patterns._end_to_end import EndToEnd, joined_rows
from mari_onnx.patterns._row_alone import LAYERS, treats_rows_alone
from mari_onnx.rewrite.workspace import Workspace

MAX_NODES = 400
"""Larger towers are not looked through."""
NEED_ROWS = frozenset({"GRU", "LSTM", "Einsum"})
"""ONNX Runtime 1.31 ends the process where these have no rows."""


@dataclass(slots=True)
class RowTower:
    """A tower on joined rows.

    Attributes:
        ends: Nodes behind which rows are taken apart.
        total: How many rows there are.
        sizes: How many of them are in each part.
        nodes: What runs on them, each behind what it reads.
        joined: The values that come in, by parts.
        alike: The values that come in and are the same in all rows.
        facts: What is known of all values that are read and made, if there were ``CANDIDATES`` rows.
    """

    ends: tuple[Node, ...]
    total: Dim
    sizes: tuple[Dim, ...] = ()
    nodes: tuple[Node, ...] = ()
    joined: dict[str, tuple[str, ...]] = field(default_factory=dict)
    alike: dict[str, Rows] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)


def row_tower(ends: Sequence[Node], total: Dim, at: Workspace) -> RowTower | None:
    """The tower that ends at some nodes.

    Args:
        ends: The nodes.
        total: How many rows there are in front of them, and behind them.
        at: The graph around it.

    Returns:
        ``None`` where rows are not proven to be left apart, or nothing was joined.
    """
    tower = RowTower(tuple(ends), total)
    nodes = _climb(tower, at)
    if nodes is None or not tower.joined:
        return None
    tower.nodes = tuple(at.graph.sorted_among(nodes))
    if any(n.op in NEED_ROWS for n in tower.nodes) and any(map(may_be_zero, tower.sizes)):
        return None
    # With an open number of rows nothing is told from a size that happens to be that of a fixed batch.
    judge = at.judge if at.inputs.batch is None else Judge(at.graph, replace(at.inputs, batch=None))
    return tower if all(_leaves_apart(n, tower, judge, at) for n in tower.nodes) else None


def _climb(tower: RowTower, at: Workspace) -> list[Node] | None:
    """The nodes up to the values that come in, which it notes; ``None`` where one of these is of another kind."""
    nodes: dict[Node, None] = dict.fromkeys(tower.ends)
    waiting = [v for end in tower.ends for v in end.inputs if v]
    if not all(map(_is_layer, nodes)):
        return None
    while waiting:
        value = waiting.pop()
        fact = at.fact(value)
        if value in tower.facts:
            continue
        if not fact.opaque and fact.axis is None:
            bare = _without_rows(fact, tower.total)
            if bare is None:
                return None
            tower.facts[value] = bare
        elif not fact.opaque:
            if not _enters_alike(value, fact, tower, at):
                return None
        elif not _enters_joined(value, fact, tower, at):
            node = at.graph.producer(value)
            if node is None or len(nodes) >= MAX_NODES or not _is_layer(node):
                return None
            if node not in nodes:
                nodes[node] = None
                waiting += [v for v in node.inputs if v]
    return list(nodes)


def _is_layer(node: Node) -> bool:
    return not node.domain and not node.captures and (node.op in LAYERS or node.op == "ConstantOfShape")


def _without_rows(fact: Fact, total: Dim) -> Fact | None:
    """A value without rows; sizes in it become those of ``CANDIDATES`` rows."""
    if fact.content is None:
        return None if fact.sized else fact
    items = [_of_candidates(item, total) for item in fact.content.items]
    if any(item is None for item in items):
        return None
    content = Content(fact.content.shape, tuple(items))
    return replace(fact, content=content, sized=content.depends_on_candidates)


def _of_candidates(size: Dim, total: Dim) -> Dim | None:
    """A size as it is for ``CANDIDATES`` rows, where it follows from how many there are, or not from candidates."""
    if is_underived(size):
        return None
    if not mentions_candidates(size):
        return size
    times = quotient(size, total)
    return None if times is None or mentions_candidates(times) else product((times, CANDIDATES))


def _enters_alike(value: str, fact: Fact, tower: RowTower, at: Workspace) -> bool:
    """Whether a value of the user's has so many rows, and the same in all of them; notes it."""
    axis, shape = fact.axis, fact.shape
    if axis is None or shape is None or fact.varies:
        return False
    times, rows = quotient(shape[axis.index], tower.total), rows_alike(value, axis.index, at)
    if times is None or mentions_candidates(times) or rows is None:
        return False
    tower.alike[value] = rows
    tower.facts[value] = _with_rows(fact, CandidateAxis(axis.index, 1, times), varies=False)
    return True


def _enters_joined(value: str, fact: Fact, tower: RowTower, at: Workspace) -> bool:
    """Whether rows are joined here, as many in each part as wherever else they are; notes it."""
    rows = joined_rows(value, at)
    if rows is None or fact.shape is None or not all(_is_part(v, rows, at) for v in rows.values):
        return False
    times = quotient(rows.total, tower.total)
    if times is None or mentions_candidates(times):
        return False
    sizes = [quotient(size, times) for size in rows.sizes]
    if any(size is None for size in sizes):
        return False
    if tower.sizes and not (len(sizes) == len(tower.sizes) and all(map(same, sizes, tower.sizes))):
        return False
    tower.sizes = tuple(sizes)
    tower.joined[value] = rows.values
    tower.facts[value] = _with_rows(fact, CandidateAxis(rows.axis, 1, times), varies=True)
    return True


def _is_part(value: str, rows: EndToEnd, at: Workspace) -> bool:
    """Whether something is known of a part, and it has candidates along no other axis."""
    fact = at.fact(value)
    return not fact.opaque and fact.shape is not None and (fact.axis is None or fact.axis.index == rows.axis)


def _with_rows(fact: Fact, axis: CandidateAxis, *, varies: bool) -> Fact:
    assert fact.shape is not None
    shape: Shape = (*fact.shape[: axis.index], axis.size, *fact.shape[axis.index + 1 :])
    return Fact(fact.dtype, shape, axis, varies, request=True, item=varies)


def _leaves_apart(node: Node, tower: RowTower, judge: Judge, at: Workspace) -> bool:
    """Whether a node leaves rows apart; notes what is known of what it makes."""
    for index, value in enumerate(node.inputs):
        # The number of rows may say how large a result is, and nothing else.
        if value and tower.facts[value].sized and index not in SIZING.get(node.kind, ()):
            return False
    found = judge.facts(node, tuple(tower.facts[v] if v else None for v in node.inputs), ())
    tower.facts |= {v: f for v, f in zip(node.outputs, found, strict=True) if v}
    if any(f.opaque or f.axis is None for v, f in zip(node.outputs, found, strict=True) if v):
        return False
    return node.op == "ConstantOfShape" or treats_rows_alone(node, at, tower.facts.__getitem__)
