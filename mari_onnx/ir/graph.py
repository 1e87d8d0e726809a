"""Nodes, weights and the graph that holds them, with a journal that can take any edit back.

A value is known by its name, as in ONNX. A node never changes: an edit replaces it. All edits go through the few
primitives of :class:`Graph`, each of which writes down how to undo it, so that a rewrite that does not pay can be
rolled back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import networkx as nx
import numpy as np
import onnx

from mari_onnx.errors import ModelError
from mari_onnx.ir.subgraphs import made_inside

Order = tuple[int, ...]
"""Where a node stands: nodes that replace another share its prefix. A hint for traversal, not a promise."""


EVERYTHING = "*"
"""What somebody has looked at who has gone through all nodes."""


def readers_of(value: str) -> str:
    """What somebody has looked at who has asked which nodes read a value; no name of a value."""
    return f"{value}\0"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator call.

    Attributes:
        op: Operator type, such as ``MatMul``.
        inputs: Names of the values read; an absent optional input is the empty string.
        outputs: Names of the values made; an output that is not asked for is the empty string.
        attrs: Python values, or the protos of tensors, graphs and types.
        domain: Operator domain, empty for ai.onnx.
        name: As in the model, or derived from the node it replaces.
        captures: Values of the enclosing graph that the node's subgraphs read.
        source: The node as it came, for attributes and documentation that we do not interpret.
        rule: The rule that made the node; empty for nodes of the model.
        kind: The operator as tables are keyed by it: with its domain in front where that is not ai.onnx.
        reads: Every value the node needs, captured ones included.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""
    name: str = ""
    captures: tuple[str, ...] = ()
    source: onnx.NodeProto | None = None
    rule: str = ""
    kind: str = field(init=False, repr=False)
    reads: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", f"{self.domain}.{self.op}" if self.domain else self.op)
        object.__setattr__(self, "reads", tuple(filter(None, self.inputs)) + self.captures)

    @property
    def output(self) -> str:
        return self.outputs[0]

    def has_input(self, index: int) -> bool:
        return index < len(self.inputs) and bool(self.inputs[index])

    def where(self) -> str:
        """How messages call the node."""
        kind = f"{self.domain}::{self.op}" if self.domain else self.op
        return f"{kind} '{self.name or self.output}'"

    def reading(self, inputs: Iterable[str]) -> Node:
        """The same call on other inputs."""
        return replace(self, inputs=tuple(inputs))


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A constant of the model; its numbers stay where they are until somebody asks.

    Attributes:
        dtype: Element type, as in ``onnx.TensorProto``.
        shape: Sizes of the axes.
        load: Reads the numbers.
        source: The tensor as it came, written back untouched; ``None`` for new constants.
    """

    dtype: int
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]
    source: onnx.TensorProto | None = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @staticmethod
    def of(array: np.ndarray) -> Weight:
        array = np.ascontiguousarray(array) if array.ndim else array
        dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        return Weight(dtype, array.shape, lambda: array)


@dataclass(frozen=True, slots=True)
class _Edit:
    """One step of the journal: how to take it back, the stamps before it, and which node came or went."""

    undo: Callable[[], object]
    stamps: Mapping[str, int | None]
    added: Node | None = None
    removed: Node | None = None


Edits = tuple[list[Node], list[Node]]
"""The nodes added, and the nodes removed."""


class Graph:
    """The main graph of a model.

    Attributes:
        model: The model it came from (weights in external files not loaded). Never changed.
        opset: Version of the ai.onnx operator set.
        inputs: Declared inputs by name, initializers excluded.
        outputs: Declared outputs by name.
        weights: Constants by name.
        looked_at: Values, and readers of values, about which somebody has asked; see :meth:`watched`.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        opset: int,
        inputs: Mapping[str, onnx.ValueInfoProto],
        outputs: Mapping[str, onnx.ValueInfoProto],
        weights: Mapping[str, Weight],
        nodes: Iterable[Node],
    ) -> None:
        self.model = model
        self.opset = opset
        self.inputs: dict[str, onnx.ValueInfoProto] = dict(inputs)
        self.outputs: Mapping[str, onnx.ValueInfoProto] = dict(outputs)
        self.weights: dict[str, Weight] = dict(weights)
        self._order: dict[Node, Order] = {}
        self._producers: dict[str, Node] = {}
        self._consumers: dict[str, dict[Node, None]] = {}
        self._journal: list[_Edit] = []
        self._stamps: dict[str, int | None] = {}
        self._edits = itertools.count(1)
        self.looked_at: set[str] = set()
        self._taken: set[str] = {*self.inputs, *self.weights, *self.outputs}
        self._serial = itertools.count(1)
        for position, node in enumerate(nodes):
            self._put(node, (position,))
            # A new value of a name that a subgraph makes itself would be another one in there.
            self._taken.update(made_inside(node.source) if node.source is not None else ())

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Node]:
        """All nodes, by their place (see :meth:`sorted_nodes` for an order that is safe to run)."""
        self.looked_at.add(EVERYTHING)
        return sorted(self._order, key=self._order.__getitem__)

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, node: Node) -> bool:
        return node in self._order

    def order(self, node: Node) -> Order:
        return self._order[node]

    def producer(self, value: str) -> Node | None:
        self.looked_at.add(value)
        return self._producers.get(value)

    def consumers(self, value: str) -> tuple[Node, ...]:
        """The nodes that read a value, subgraphs included, each once."""
        self.looked_at.add(readers_of(value))
        return tuple(self._consumers.get(value, ()))

    def is_output(self, value: str) -> bool:
        return value in self.outputs

    def is_private(self, value: str) -> bool:
        """Whether a value has one reader and is no output."""
        return len(self.consumers(value)) == 1 and not self.is_output(value)

    def is_pinned(self, value: str) -> bool:
        """Whether something other than a plain input reads the value by its name."""
        return value in self.outputs or any(value in c.captures for c in self.consumers(value))

    def constant(self, value: str) -> np.ndarray | None:
        """The numbers of a constant; reads external data when it must."""
        weight = self.weights.get(value)
        return None if weight is None else weight.load()

    def sorted_nodes(self) -> list[Node]:
        """The nodes in an order that can be run; the model's own order is kept where it can be.

        Raises:
            ModelError: The nodes form a cycle.
        """
        self.looked_at.add(EVERYTHING)
        return self.sorted_among(self._order)

    def sorted_among(self, nodes: Iterable[Node]) -> list[Node]:
        """Some nodes in an order that can be run, as far as they read one another's results directly.

        Raises:
            ModelError: The nodes form a cycle.
        """
        ordered = sorted(nodes, key=self._order.__getitem__)
        if self._can_run(ordered):
            return ordered
        dag: nx.DiGraph[Node] = nx.DiGraph()
        known = set(ordered)
        dag.add_nodes_from(ordered)
        for node in ordered:
            dag.add_edges_from((self._producers[v], node) for v in node.reads if self._producers.get(v) in known)
        rank = {node: index for index, node in enumerate(ordered)}
        try:
            return list(nx.lexicographical_topological_sort(dag, key=rank.__getitem__))
        except nx.NetworkXUnfeasible as error:
            raise ModelError("the graph has a cycle: some nodes need their own results") from error

    def _can_run(self, nodes: Iterable[Node]) -> bool:
        """Whether none of some nodes reads what it or a later one makes."""
        waiting: set[str] = set()
        for node in nodes:
            waiting.update(node.reads)
            if not waiting.isdisjoint(node.outputs):
                return False
        return True

    @contextmanager
    def watched(self) -> Iterator[set[str]]:
        """Collects what somebody asks about meanwhile; whoever watches around it has asked about it, too."""
        outside, self.looked_at = self.looked_at, set()
        inside = self.looked_at
        try:
            yield inside
            outside |= inside
        finally:
            self.looked_at = outside

    def stamps(self, values: Iterable[str]) -> tuple[int | None, ...]:
        """A stamp for each value: the same one again as long as, or as soon as, all is the same about it.

        That is: which node makes it, and what its owner knows of it (see :meth:`note_undo`). Which nodes read it has a
        stamp of its own (:func:`readers_of`), as a value is what it is whoever reads it.
        """
        return tuple(map(self._stamps.get, values))

    def unique_name(self, hint: str) -> str:
        """A value name not used yet; the same calls give the same names."""
        name = hint
        while name in self._taken:
            name = f"{hint}_{next(self._serial)}"
        self._taken.add(name)
        return name

    # -- editing ---------------------------------------------------------------------------------------------------

    def insert(self, node: Node, order: Order) -> None:
        self._put(node, order)
        self._note(lambda: self._forget(node), _changed_by(node), added=node)

    def remove(self, node: Node) -> None:
        order = self._order[node]
        self._forget(node)
        self._note(lambda: self._put(node, order), _changed_by(node), removed=node)

    def add_weight(self, name: str, weight: Weight) -> None:
        self.weights[name] = weight
        self._taken.add(name)
        self._note(lambda: self.weights.pop(name, None), ())

    def note_undo(self, undo: Callable[[], object], about: Iterable[str] = ()) -> None:
        """Lets the owner of data that goes with the graph take part in a roll-back.

        Args:
            undo: Takes the change back.
            about: The values that the data is about.
        """
        self._note(undo, about)

    def _note(
        self, undo: Callable[[], object], about: Iterable[str], added: Node | None = None, removed: Node | None = None
    ) -> None:
        values = (EVERYTHING, *about)
        before = dict(zip(values, self.stamps(values), strict=True))
        self._stamps.update(dict.fromkeys(values, next(self._edits)))
        self._journal.append(_Edit(undo, before, added, removed))

    def _put(self, node: Node, order: Order) -> None:
        self._order[node] = order
        for value in node.outputs:
            if value:
                self._producers[value] = node
                self._taken.add(value)
        for value in node.reads:
            self._consumers.setdefault(value, {})[node] = None

    def _forget(self, node: Node) -> None:
        self._order.pop(node, None)
        for value in node.outputs:
            if value and self._producers.get(value) is node:
                del self._producers[value]
        for value in node.reads:
            self._consumers.get(value, {}).pop(node, None)

    # -- taking back -----------------------------------------------------------------------------------------------

    def mark(self) -> int:
        return len(self._journal)

    def roll_back(self, mark: int) -> None:
        while len(self._journal) > mark:
            edit = self._journal.pop()
            edit.undo()
            self._stamps.update(edit.stamps)

    def edits(self, mark: int) -> Edits:
        """The nodes added and the nodes removed since a mark, those that came and went left out."""
        balance: dict[Node, int] = {}
        for edit in self._journal[mark:]:
            if edit.added is not None:
                balance[edit.added] = balance.get(edit.added, 0) + 1
            if edit.removed is not None:
                balance[edit.removed] = balance.get(edit.removed, 0) - 1
        return [n for n, c in balance.items() if c > 0], [n for n, c in balance.items() if c < 0]

    def commit(self) -> None:
        """Forgets how to undo the edits so far."""
        self._journal.clear()

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)


def _changed_by(node: Node) -> tuple[str, ...]:
    """What is another as soon as a node is there, or no longer is."""
    return (*node.outputs, *map(readers_of, node.reads))
