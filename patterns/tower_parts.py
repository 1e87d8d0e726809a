"""One tower for the tokens of item and user, which were laid end to end in front of it and are apart again behind it::

    Reshape( f( Reshape(Concat(u, i; axis 1): [B, T, ..] -> [B*T, ..]) ) -> [B, T, ..] )
        ->   Concat( f of the rows of u, f of the rows of i; axis 1 )

    f(rows of [u, i]) = [f(rows of u), f(rows of i)]

``f`` is any graph of operators that leave rows apart: a text encoder of embeddings, convolutions or recurrences,
attention within a title, pooling. News rankers run it on the candidate and on all that was read before, in one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.dims import Dim, quotient
from mari_onnx.patterns._parts import cut, joined, mixed_parts, parts_of, runs_of, taken
from mari_onnx.patterns._row_alone import treats_rows_alone
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

MAX_NODES = 400
"""Larger towers are not looked through."""


@dataclass(frozen=True, slots=True)
class Tower:
    """What runs on tokens that were laid end to end.

    Attributes:
        tokens: How many tokens each candidate has.
        entries: The values that come in: tokens laid end to end, or what is the user's anyway.
        nodes: What runs on the rows, each behind what it reads.
        bounds: Where runs of the user's tokens and of the item's end, from 0 to ``tokens``.
    """

    tokens: int
    entries: tuple[str, ...]
    nodes: tuple[Node, ...]
    bounds: tuple[int, ...]


class TowerParts(Rule[Tower]):
    """Runs a tower on the tokens of the user and on those of the item, each by themselves."""

    name = "tower-parts"
    algebra = "f(rows of [u, i]) = [f(rows of u), f(rows of i)]"
    exactness = Exactness.EXACT
    ops = frozenset({"Reshape"})

    def match(self, node: Node, at: Workspace) -> Tower | None:
        before, after = at.fact(node.inputs[0]), at.fact(node.output).axis
        if before.axis is None or after is None or not after.is_whole or at.is_once(node.inputs[0]):
            return None
        tokens = before.axis.inner
        if not isinstance(tokens, int) or before.axis.outer != 1:
            return None
        for count in _divisors(tokens):
            found = _Climb(at, count).tower(node.inputs[0])
            if found is not None:
                return found
        return None

    def rewrite(self, node: Node, found: Tower, at: Workspace) -> Sequence[str]:
        rows, after = node.inputs[0], at.fact(node.output).shape
        assert after is not None
        pieces = []
        for start, end in zip(found.bounds, found.bounds[1:], strict=False):
            made = _copy(found, start, end - start, at)[rows]
            pieces.append(at.reshape(made, _apart(rows, found.tokens, end - start, at)))
        return [at.reshape(joined(pieces, _index(rows, at) + 1, at), after)]


def _divisors(number: int) -> list[int]:
    """How many tokens there may be, the most first: what is behind them on the same axis belongs to each."""
    return [n for n in range(number, 1, -1) if number % n == 0]


class _Climb:
    """Looks for the tower behind a value, given how many tokens it runs on."""

    def __init__(self, at: Workspace, tokens: int) -> None:
        self.at = at
        self.tokens = tokens
        self.entries: dict[str, None] = {}
        self.nodes: dict[Node, None] = {}
        self.bounds: set[int] = {0, tokens}

    def tower(self, value: str) -> Tower | None:
        """The tower, ``None`` where a node mixes rows, or no entry joins tokens of the user and of the item."""
        if not self._climb(value) or len(self.bounds) < 3:
            return None
        nodes = tuple(sorted(self.nodes, key=self.at.graph.order))
        return Tower(self.tokens, tuple(self.entries), nodes, tuple(sorted(self.bounds)))

    def _climb(self, value: str) -> bool:
        """Whether all that leads to a value leaves rows apart; collects it."""
        waiting = [value]
        while waiting:
            value = waiting.pop()
            node = self.at.graph.producer(value)
            if value in self.entries or node in self.nodes:
                continue
            if node is None or len(self.nodes) >= MAX_NODES or not self._is_row(value):
                return False
            if self._is_entry(value, node):
                self.entries[value] = None
                continue
            if not all(self._is_row(v) for v in node.outputs if v):
                return False
            if not treats_rows_alone(node, self.at, self.at.fact):
                return False
            self.nodes[node] = None
            waiting += [v for v in node.inputs if v and self.at.fact(v).axis is not None]
        return True

    def _is_row(self, value: str) -> bool:
        """Whether an axis of a value has the tokens of all candidates one after the other."""
        axis = self.at.fact(value).axis
        return axis is not None and isinstance(axis.inner, int) and axis.inner % self.tokens == 0

    def _is_entry(self, value: str, node: Node) -> bool:
        """Whether tokens are laid end to end here, or are the user's and can be told apart."""
        axis = self.at.fact(value).axis
        if axis is None or axis.outer != 1:
            return False
        if node.op != "Reshape" or node.domain:
            return self.at.is_user(value)
        unit, parts = _unit(node.inputs[0], self.tokens, self.at), mixed_parts(node.inputs[0], self.at)
        if unit is None:
            return self.at.is_user(value)
        if parts is not None and parts.axis == _index(node.inputs[0], self.at) + 1:
            starts = [run.start for run in runs_of(parts, self.at)]
            if any(start % unit for start in starts):
                return False
            self.bounds |= {start // unit for start in starts}
        return True


def _index(value: str, at: Workspace) -> int:
    axis = at.fact(value).axis
    assert axis is not None
    return axis.index


def _unit(value: str, tokens: int, at: Workspace) -> int | None:
    """How many entries each token has of the axis behind that of the candidates, where they have one of their own."""
    fact = at.fact(value)
    if fact.axis is None or fact.shape is None or not fact.axis.is_whole or fact.axis.index + 1 == len(fact.shape):
        return None
    size = fact.shape[fact.axis.index + 1]
    return size // tokens if isinstance(size, int) and size and size % tokens == 0 else None


def _copy(tower: Tower, start: int, size: int, at: Workspace) -> dict[str, str]:
    """The tower on some of the tokens: for each of its values, what stands for it."""
    made: dict[str, str] = {}
    for entry in tower.entries:
        piece = _piece(entry, tower.tokens, start, size, at)
        made[entry] = at.reshape(piece, _shape(entry, tower.tokens, size, at))
    for node in tower.nodes:
        inputs = [made.get(v, v) for v in node.inputs]
        if node.op == "Reshape":
            made[node.output] = at.reshape(inputs[0], _shape(node.output, tower.tokens, size, at))
            continue
        if node.op == "Expand":
            # As many rows as there are: an Expand repeats what is missing only.
            before, _, behind = _rows(node.output, tower.tokens, at)
            inputs[1] = at.sizes.target((*before, 1, *behind))
        results = at.emit_many(node.op, inputs, len(node.outputs), **dict(node.attrs))
        made |= {old: new for old, new in zip(node.outputs, results, strict=True) if old}
    return made


def _piece(entry: str, tokens: int, start: int, size: int, at: Workspace) -> str:
    """Some tokens of what comes in, on an axis of their own."""
    node = at.graph.producer(entry)
    assert node is not None
    source = node.inputs[0] if node.op == "Reshape" else ""
    unit = _unit(source, tokens, at) if source else None
    if unit is None:
        return cut(at.reshape(entry, _apart(entry, tokens, tokens, at)), _index(entry, at) + 1, start, size, at)
    parts, along = parts_of(source, at), _index(source, at) + 1
    if parts is not None and parts.axis == along:
        return taken(parts, start * unit, size * unit, at)
    return cut(source, along, start * unit, size * unit, at)


def _rows(value: str, tokens: int, at: Workspace) -> tuple[Shape, Dim, Shape]:
    """The sizes in front of the axis of rows, its size for each token, and the sizes behind it."""
    shape, index = at.fact(value).shape, _index(value, at)
    assert shape is not None
    rows = quotient(shape[index], tokens)
    assert rows is not None
    return shape[:index], rows, shape[index + 1 :]


def _shape(value: str, tokens: int, size: int, at: Workspace) -> Shape:
    """The shape of a value of the tower where it runs on some of the tokens."""
    before, rows, behind = _rows(value, tokens, at)
    return (*before, rows * size, *behind)


def _apart(value: str, tokens: int, size: int, at: Workspace) -> Shape:
    """The same with an axis of candidates, one of tokens, and one of what each token has on the axis of rows."""
    axis = at.fact(value).axis
    assert axis is not None
    before, rows, behind = _rows(value, tokens, at)
    width = axis.inner // tokens
    return (*before, quotient(rows, width), size, *((width,) if width > 1 else ()), *behind)
