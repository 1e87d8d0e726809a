"""One tower for rows of the user and of the candidates, which lie one behind the other on the axis of candidates::

    f( Concat(i: [B, ..], view(u): [B*H, ..]; axis 0) )   ->   Concat( f(i), f(view(u)); axis 0 )

    f([x; y]) = [f(x); f(y)]

An encoder that reads all titles in one batch, those of the candidates and those that the user has read, or both texts
of a pair. What is cut apart behind it is picked out of the Concat. There may be any number of parts.

Why it holds: ``f`` is looked at as if it ran on some number of rows, of which nothing is known. Transfer functions have
to show for each operator that a row of what it makes is what it makes of the same row of its inputs, whatever the other
rows are; values without rows are the same for all. By induction over the operators a row of ``f`` depends on the same
row of the Concat alone, so some of the rows make some of the results, none included. Nothing is said of numbers, so it
holds for all types, and for NaN. A size that is a multiple of the number of rows becomes the same multiple of those of
a part; other values that tell how many there are must not come in, and what has rows without coming out of such a
Concat must have the same in all of them. Operators that ONNX Runtime 1.31 cannot run without rows are left alone where
a part may have none.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from mari_onnx.analysis.facts import Fact, Shape
from mari_onnx.analysis.transfer import SIZING
from mari_onnx.errors import RuleError
from mari_onnx.ir import Node
from mari_onnx.ir.dims import CANDIDATES, Dim, mentions_candidates, product, same, simplified
from mari_onnx.patterns._parts import joined
from mari_onnx.patterns._row_alone import LAYERS
from mari_onnx.patterns._row_tower import MAX_NODES, RowTower, row_tower
from mari_onnx.patterns.stacked_rows import StackedRows, stacked_in_front
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

MOST_ENDS = 8


class JoinedRows(Rule[RowTower]):
    """Runs a tower on each part of the rows by itself."""

    name = "joined-rows"
    algebra = "f([x; y]) = [f(x); f(y)]"
    exactness = Exactness.EXACT
    ops = LAYERS

    def match(self, node: Node, at: Workspace) -> RowTower | None:
        found = _tower([node], at)
        if found is None or _is_of_one_kind(found, at):
            return None
        # Other ends of the same tower would keep what is in front of both running on all rows. Those that this one
        # reads have their own turn: in their place it would read something else, and be another node.
        upstream = frozenset(found.nodes)
        for other in _other_ends(found, at):
            if other not in upstream:
                found = _tower([*found.ends, other], at) or found
        return found

    def rewrite(self, node: Node, found: RowTower, at: Workspace) -> Sequence[str]:
        parts = [_copy(found, part, size, at) for part, size in enumerate(found.sizes) if not same(size, 0)]
        own, *others = [_results(end, found, parts, at) for end in found.ends]
        # An end that reads another is gone before that one is replaced.
        for other, results in sorted(zip(found.ends[1:], others, strict=True), key=lambda x: -found.nodes.index(x[0])):
            at.replace(other, results)
        return own


def _is_of_one_kind(tower: RowTower, at: Workspace) -> bool:
    """Whether the parts of each Concat are alike, as heads are: one tower does for them, with an axis of their own."""
    if any(len({at.is_user(part) for part in parts}) > 1 for parts in tower.joined.values()):
        return False
    readers = [r for end in tower.ends for v in end.outputs if v for r in at.graph.consumers(v)]
    return any(r.kind in StackedRows.ops and stacked_in_front(r, at) is not None for r in readers)


def _tower(ends: Sequence[Node], at: Workspace) -> RowTower | None:
    """The tower with these ends, where rows are taken apart behind each of them."""
    totals = [_rows_cut(end, at) for end in ends]
    if any(total is None or not same(total, totals[0]) for total in totals):
        return None
    tower = row_tower(ends, totals[0], at)
    lanes = [tower.facts[v].axis for end in ends for v in end.outputs if v] if tower is not None else []
    # Parts lie one behind the other where an axis has nothing but rows, or each has some entries behind it.
    return tower if all(lane is not None and same(lane.outer, 1) for lane in lanes) else None


def _other_ends(tower: RowTower, at: Workspace) -> list[Node]:
    """What else rows are taken apart behind, of what is made of the same rows."""
    found: dict[Node, None] = {}
    seen = dict.fromkeys(tower.nodes)
    waiting = list(tower.nodes)
    while waiting and len(seen) < 2 * MAX_NODES:
        node = waiting.pop(0)
        if node not in tower.ends and _rows_cut(node, at) is not None:
            found[node] = None
        readers = [r for v in node.outputs if v and at.fact(v).opaque for r in at.graph.consumers(v) if r not in seen]
        seen |= dict.fromkeys(readers)
        waiting += readers
    return list(found)[:MOST_ENDS]


def _rows_cut(node: Node, at: Workspace) -> Dim | None:
    """How many rows a node makes, where nothing is known of them and a reader takes them apart."""
    for value in (v for v in node.outputs if v):
        fact = at.fact(value)
        # On two axes, nothing would be proven in the end.
        axes = [i for i, size in enumerate(fact.shape or ()) if mentions_candidates(size)]
        if not fact.opaque or not fact.shape or len(axes) != 1:
            continue
        if any(_cuts(reader, value, axes[0], at) for reader in at.graph.consumers(value)):
            return fact.shape[axes[0]]
    return None


def _cuts(reader: Node, value: str, axis: int, at: Workspace) -> bool:
    rank = at.fact(value).rank
    if reader.kind not in ("Slice", "Split", "Gather") or reader.inputs[0] != value or not rank:
        return False
    if reader.op != "Slice":
        return int(reader.attrs.get("axis", 0)) % rank == axis
    axes = at.integers(reader.inputs[3]) if reader.has_input(3) else range(axis + 1)
    return axes is not None and any(a % rank == axis for a in axes)


def _results(end: Node, tower: RowTower, parts: Sequence[dict[str, str]], at: Workspace) -> list[str]:
    """What an end makes, joined from what it makes of each part."""
    lanes = [tower.facts[v].axis if v else None for v in end.outputs]
    return [
        "" if lane is None else joined([made[value] for made in parts], lane.index, at)
        for value, lane in zip(end.outputs, lanes, strict=True)
    ]


def _copy(tower: RowTower, part: int, rows: Dim, at: Workspace) -> dict[str, str]:
    """The tower on one part: for each of its values, what stands for it."""
    made = {value: parts[part] for value, parts in tower.joined.items()}
    for value, build in tower.alike.items():
        axis = tower.facts[value].axis
        assert axis is not None
        made[value] = build(product((axis.inner, rows)))
    for node in tower.nodes:
        inputs = [made.get(v, v) for v in node.inputs]
        if node.op == "Reshape":
            made[node.output] = at.reshape(inputs[0], _shape(tower.facts[node.output], rows))
            continue
        for index in SIZING.get(node.kind, ()):
            if index < len(inputs) and inputs[index] and tower.facts[node.inputs[index]].sized:
                inputs[index] = _sizes(tower.facts[node.inputs[index]], rows, at)
        results = at.emit_many(node.op, inputs, len(node.outputs), **dict(node.attrs))
        made |= {old: new for old, new in zip(node.outputs, results, strict=True) if old}
    return made


def _shape(fact: Fact, rows: Dim) -> Shape:
    assert fact.shape is not None
    return tuple(_of_part(size, rows) for size in fact.shape)


def _sizes(fact: Fact, rows: Dim, at: Workspace) -> str:
    """The sizes that an operator is given, for one part."""
    assert fact.content is not None
    found = at.sizes.vector([_of_part(size, rows) for size in fact.content.items], fact.dtype)
    if found is None or len(fact.content.shape) != 1:
        raise RuleError("a size cannot be computed from the inputs of the model")
    return found


def _of_part(size: Dim, rows: Dim) -> Dim:
    return size if isinstance(size, int) else simplified(sympy.expand(size.subs(CANDIDATES, rows)))
