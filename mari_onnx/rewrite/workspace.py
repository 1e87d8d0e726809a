"""The graph at work: every edit keeps it a valid model with the same outputs, with the facts of all values at hand.

Rules write plain algebra on whole values, as if every value had all B rows. What such algebra makes of user-side
values alone is recognised here, by the same transfer functions as in the analysis, and built for one candidate, with
an Expand behind it that stays only while something needs it. Sinking an Expand past an operator is nothing else.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mari_onnx.analysis.analyze import Analysis, Judge
from mari_onnx.analysis.facts import Fact
from mari_onnx.analysis.recall import frozen
from mari_onnx.errors import RuleError
from mari_onnx.ir.dims import Dim, alike
from mari_onnx.ir.graph import Graph, Node, Order, Weight, readers_of
from mari_onnx.rewrite.blocked import is_beside_blocked_product
from mari_onnx.rewrite.lifting import BROADCAST_RULE, Lifting
from mari_onnx.rewrite.overflow import within_range
from mari_onnx.rewrite.reading import Reading
from mari_onnx.rewrite.sizes import SizeBuilder, forgets_batch, without_zeros

SHARED_WEIGHT_BYTES = 1 << 12
"""Constants up to this size are compared by value, so that equal ones are stored once."""


class Workspace(Reading):
    """A graph being rewritten.

    Args:
        graph: The graph; edited in place, so hand in one of your own.
        analysis: Facts of its values.

    Attributes:
        kept: What rules have found, by kind; whoever keeps it sees to it that it still holds.
    """

    def __init__(self, graph: Graph, analysis: Analysis) -> None:
        super().__init__(graph, analysis)
        self.judge = Judge(graph, analysis.inputs)
        self.kept: dict[Any, dict[str, Any]] = {}
        self._repeated: dict[str, tuple[str, ...]] = {}
        self.sizes = SizeBuilder(self)
        self.lifting = Lifting(self)
        self._fresh: dict[Node, None] = {}
        self._made: dict[Any, tuple[str, ...]] = {}
        self._constants: dict[Any, str] = {}
        self._serial = itertools.count(1)
        self._place: Order = (-1,)
        self._rule = ""
        self._stem = "mari"
        self._origins: dict[str, str] = {}
        self._replaced: frozenset[Node] = frozenset()
        self._stale: list[tuple[Order, int, Node]] = []
        self._suspects: dict[Node, None] = {}

    # -- building --------------------------------------------------------------------------------------------------

    def working_for(self, node: Node, rule: str, others: Iterable[Node] = ()) -> None:
        """New nodes from now on stand where ``node`` stands, are named as it is, and bear the rule's name.

        What it and others make, which are to be replaced, is not taken for what a new node would make.
        """
        self._place, self._rule, self._stem = self.graph.order(self._present(node)), rule, self._origin(node)
        self._replaced = frozenset((node, *others))

    def _origin(self, node: Node) -> str:
        """The name of the original's node that a node stands for, however often it was rewritten."""
        name = node.name or node.output
        return self._origins.get(name, name)

    def weight(self, array: np.ndarray, hint: str = "") -> str:
        """A constant; equal small ones are stored once."""
        key: Any = (array.dtype.str, array.shape, array.tobytes()) if array.nbytes <= SHARED_WEIGHT_BYTES else None
        if key is not None and key in self._constants:
            return self._constants[key]
        name = self.graph.unique_name(hint or f"{self._stem}/constant")
        self.graph.add_weight(name, Weight.of(array))
        self.record(self.facts, name, self.judge.weight_fact(name))
        if key is not None:
            self.record(self._constants, key, name)
        return name

    def cached_weight(self, key: tuple[Any, ...], make: Any, hint: str) -> str:
        """A constant made of others; asked for again under the same key, it is the same one.

        Raises:
            RuleError: It leaves the range of its type, where what it is made of does not.
        """
        if key not in self._constants:
            with within_range():
                array = make()
            self.record(self._constants, key, self.weight(array, hint))
        return self._constants[key]

    def emit(self, op: str, inputs: Sequence[str], *, domain: str = "", **attrs: Any) -> str:
        """A new node with one output; user-side ones are built for one candidate.

        Args:
            op: Operator type.
            inputs: Names of the values it reads, ``""`` for absent optional ones.
            domain: Operator domain.
            attrs: Attributes.

        Returns:
            The name of the output, as a whole value.

        Raises:
            RuleError: The node is not valid on these inputs.
        """
        return self.emit_many(op, inputs, 1, domain=domain, **attrs)[0]

    def emit_many(
        self, op: str, inputs: Sequence[str], outputs: int, *, domain: str = "", **attrs: Any
    ) -> tuple[str, ...]:
        """Like :meth:`emit`, for a node with several outputs."""
        key = (op, domain, tuple(inputs), outputs, frozen(attrs))
        # Whether there is such a node already is seen by who reads its inputs.
        self.graph.looked_at.update(inputs, map(readers_of, inputs))
        known = self._made.get(key)
        producers = [self.graph.producer(v) for v in known or ()]
        if known is not None and None not in producers and self._replaced.isdisjoint(producers):
            return known
        names = tuple(self.graph.unique_name(f"{self._stem}/{op}") for _ in range(outputs))
        node = Node(op, tuple(inputs), names, attrs, domain, names[0], rule=self._rule)
        facts = self._judged(node)
        if node.kind == "MatMul" and forgets_batch(*(self.facts[v].shape or () for v in inputs)):
            raise RuleError(
                "ONNX Runtime forgets the batch axes of a right operand without rows, and there may be none"
            )
        if is_beside_blocked_product(node, self):
            raise RuleError("the runtime has a product of its own for weights quantized in blocks")
        if any(not f.dtype for f in facts):
            raise RuleError(f"rule {self._rule}: {node.where()} cannot be typed on inputs {list(inputs)}")
        self._origins[names[0]] = self._stem
        for name, fact in zip(names, facts, strict=True):
            self.record(self.facts, name, fact)
        if self.lifting.is_liftable(node, facts):
            self.lifting.build(node, facts)
        else:
            self.insert(node)
        self.record(self._made, key, names)
        return names

    def reshape(self, value: str, shape: Sequence[Dim]) -> str:
        """The value laid out anew; the target is a constant where at most one size is symbolic."""
        own = self.facts[value].shape
        if alike(own, shape):
            return value
        if self.opset < 14:
            return self.emit("Reshape", [value, self.sizes.target(without_zeros(shape, own or ()))])
        target = self.sizes.target(shape)
        # A size that is computed may come out as 0, which would ask for the size that was there before.
        literal = 0 in shape or not self.is_weight(target)
        attrs: dict[str, Any] = {"allowzero": 1} if literal else {}
        return self.emit("Reshape", [value, target], **attrs)

    def squeeze(self, value: str, axes: Sequence[int]) -> str:
        """The value without some axes of size 1."""
        if self.opset < 13:
            return self.emit("Squeeze", [value], axes=list(axes))
        return self.emit("Squeeze", [value, self.weight(np.array(axes, np.int64), "mari/axes")])

    def insert(self, node: Node) -> None:
        """Adds a node whose facts are known."""
        self.graph.insert(node, (*self._place, next(self._serial)))
        self._suspects[node] = None
        self._fresh[node] = None

    def _judged(self, node: Node) -> tuple[Fact, ...]:
        given = tuple(self.facts[v] if v else None for v in node.inputs)
        self.graph.looked_at.update(node.reads)
        return self.judge.facts(node, given, tuple(self.facts[v] for v in node.captures))

    # -- sinking the Expand ----------------------------------------------------------------------------------------

    def lift(self, node: Node) -> bool:
        """Replaces a node of the graph by its form for one candidate, with an Expand behind it.

        Returns:
            Whether the node was user-side, was not lifted yet, and could be.
        """
        facts = [self.facts[v] if v else Fact() for v in node.outputs]
        if any(v in self.singles for v in node.outputs) or not self.lifting.is_liftable(node, facts):
            return False
        if self.lifting.is_repetition(node):
            self.note_single(node.output, node.inputs[0])
            return True
        mark, before = self.graph.mark(), (self._place, self._rule, self._stem)
        order = self.graph.order(node)
        try:
            self._drop(node)
            self._place, self._rule, self._stem = order, BROADCAST_RULE, self._origin(node)
            self.lifting.build(node, facts)
        except RuleError:
            # A size it needs cannot be computed: the node stays as it is.
            self.graph.roll_back(mark)
            return False
        finally:
            self._place, self._rule, self._stem = before
        return True

    def note_single(self, value: str, once: str) -> None:
        """Remembers that ``value`` is ``once`` repeated for every candidate."""
        self.record(self.singles, value, once)
        self.record(self._repeated, once, (*self._repeated.get(once, ()), value))

    # -- replacing -------------------------------------------------------------------------------------------------

    def replace(self, node: Node, values: Sequence[str]) -> None:
        """Lets everything that read the outputs of a node read other values instead, and removes the node.

        Raises:
            RuleError: A value has another type or shape than the output it stands for.
        """
        for old, new in zip(node.outputs, values, strict=True):
            if old:
                self._check_replacement(node, old, new)
        present = self._present(node)
        order = self.graph.order(present)
        self._drop(present)
        for old, new in zip(node.outputs, values, strict=True):
            if old and old != new:
                self._redirect(old, new, order)

    def _present(self, node: Node) -> Node:
        """The node as it is now: a rule may have replaced what it reads since it found it."""
        now = self.graph.producer(node.output)
        return node if now is None or now.outputs != node.outputs else now

    def _check_replacement(self, node: Node, old: str, new: str) -> None:
        was, now = self.facts[old], self.facts[new]
        if was.dtype and was.dtype != now.dtype:
            raise RuleError(f"rule {self._rule} changes the type of {node.where()}")
        if was.shape is not None and not alike(was.shape, now.shape):
            raise RuleError(f"rule {self._rule} changes the shape of {node.where()}: {was.shape} to {now.shape}")

    def _redirect(self, old: str, new: str, order: Order) -> None:
        for value in self._repeated.get(old, ()):
            if self.singles.get(value) == old:
                self.note_single(value, new)
        pinned = self.graph.is_pinned(old)
        for consumer in self.graph.consumers(old):
            if old in consumer.inputs:
                self._substitute(consumer, consumer.reading(new if v == old else v for v in consumer.inputs))
        if pinned:
            keeper = Node("Identity", (new,), (old,), {}, "", f"{old}/Identity", rule=self._rule)
            self.graph.insert(keeper, (*order, next(self._serial)))
            self.record(self.facts, old, replace(self.facts[new]))
            if new in self.singles:
                self.note_single(old, self.singles[new])
            for consumer in self.graph.consumers(old):
                self._mark_stale(consumer)

    def _substitute(self, node: Node, by: Node) -> None:
        """Puts a node in another's place; both have the same outputs."""
        order = self.graph.order(node)
        self.graph.remove(node)
        self.graph.insert(by, order)
        if node in self._suspects:
            self._suspects[by] = None
        self._suspect_producers(node)
        self._mark_stale(by)

    def reread(self, node: Node, inputs: Iterable[str]) -> Node:
        """Lets a node read other values; its outputs stay what they are."""
        by = node.reading(inputs)
        self._substitute(node, by)
        return by

    def _drop(self, node: Node) -> None:
        self.graph.remove(node)
        self._suspect_producers(node)

    def _suspect_producers(self, node: Node) -> None:
        for value in (*node.reads, *(self.singles[v] for v in node.outputs if v in self.singles)):
            producer = self.graph.producer(value)
            if producer is not None:
                self._suspects[producer] = None

    # -- keeping facts and graph in step ---------------------------------------------------------------------------

    def _mark_stale(self, node: Node) -> None:
        heapq.heappush(self._stale, (self.graph.order(node), next(self._serial), node))

    def settle(self) -> list[Node]:
        """Finds the facts anew behind every edit, lifts what has become user-side, and removes dead nodes.

        Returns:
            The nodes that are new or whose inputs or facts have changed, by their place.
        """
        touched: dict[Node, None] = {}
        while self._stale:
            _, _, node = heapq.heappop(self._stale)
            if node in self.graph:
                touched[node] = None
                self._refresh(node)
        self.sweep()
        touched |= self._fresh
        self._fresh.clear()
        return sorted((n for n in touched if n in self.graph), key=self.graph.order)

    def _refresh(self, node: Node) -> None:
        if any(v in self.singles for v in node.outputs):
            return
        facts = self._judged(node)
        changed = []
        for value, fact in zip(node.outputs, facts, strict=True):
            merged = _merged(self.facts.get(value), fact)
            if value and merged != self.facts.get(value):
                self.record(self.facts, value, merged)
                changed.append(value)
        lifted = self.lift(node)
        for value in node.outputs if lifted else changed:
            for consumer in self.graph.consumers(value):
                self._mark_stale(consumer)

    def sweep(self) -> None:
        """Removes nodes that nothing needs any more."""
        while self._suspects:
            node, _ = self._suspects.popitem()
            if node not in self.graph:
                continue
            if any(map(self._is_needed, node.outputs)):
                continue
            self._drop(node)

    def _is_needed(self, value: str) -> bool:
        """Whether a value is read, is an output, or is the row of what is there, for which rules may ask."""
        if self.graph.consumers(value) or self.graph.is_output(value):
            return True
        wholes = [whole for whole in self._repeated.get(value, ()) if self.singles.get(whole) == value]
        return any(w in self.graph.inputs or self.graph.producer(w) is not None for w in wholes)

    # -- taking back -----------------------------------------------------------------------------------------------

    def record(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Sets an entry of a table so that a roll-back restores it."""
        missing = key not in table
        before = table.get(key)
        table[key] = value
        about = (key,) if isinstance(key, str) else ()
        self.graph.note_undo(lambda: table.pop(key, None) if missing else table.__setitem__(key, before), about)

    def mark(self) -> int:
        return self.graph.mark()

    def roll_back(self, mark: int) -> None:
        self.graph.roll_back(mark)
        self._stale.clear()
        self._suspects.clear()
        self._fresh.clear()


def _merged(old: Fact | None, new: Fact) -> Fact:
    """What was known of the shape stays known, whatever the new inputs let one infer."""
    if old is None or old.shape is None or old.opaque != new.opaque or old.axis != new.axis:
        return new
    return new if old.shape == new.shape else replace(new, shape=old.shape)
