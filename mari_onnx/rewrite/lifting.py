"""Sinking an Expand past an operator: the node for one candidate, and the repetition of what it makes.

Where the transfer function of an operator holds, running it on repeated rows and repeating what it makes of one row
are the same. The table of transfer functions says what changes in the node when it runs for one candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mari_onnx.analysis.facts import CandidateAxis, Fact
from mari_onnx.analysis.transfer import Change, SetAttribute, SetEntry, SetInput
from mari_onnx.errors import RuleError
from mari_onnx.ir.captures import reading_instead
from mari_onnx.ir.dims import Dim, alike, same
from mari_onnx.ir.graph import Node

if TYPE_CHECKING:
    from mari_onnx.rewrite.workspace import Workspace

BROADCAST_RULE = "hoist"
"""Nodes that were made by sinking an Expand bear this as the name of their rule."""

ONCE = "/once"
"""What is added to the name of a value for the one that holds it for a single candidate."""


class Lifting:
    """Builds nodes for one candidate.

    Args:
        workspace: Where they go.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def is_liftable(self, node: Node, facts: Sequence[Fact]) -> bool:
        """Whether a node can run for one candidate: all it makes is user-side or shared, from user-side values.

        Args:
            node: The node.
            facts: Facts of its outputs.
        """
        singles, known = self._workspace.singles, self._workspace.facts
        used = [f for name, f in zip(node.outputs, facts, strict=True) if name]
        if node.kind in ("Shape", "Size") or any(f.opaque or (f.axis and f.varies) for f in used):
            return False
        if any(known[v].axis is not None and v not in singles for v in node.reads):
            return False
        if not all(self.can_repeat(f) for f in used if f.is_user):
            return False
        return any(f.is_user for f in used) or any(v in singles for v in node.reads)

    def is_repetition(self, node: Node) -> bool:
        """Whether the node itself does nothing but repeat a value for every candidate."""
        if node.op not in ("Expand", "Tile") or node.domain:
            return False
        source, result = self._workspace.fact(node.inputs[0]), self._workspace.fact(node.output)
        if source.axis is not None or source.shape is None or result.single_shape is None:
            return False
        return alike(source.shape, result.single_shape)

    def can_repeat(self, fact: Fact) -> bool:
        """Whether a value can be repeated for every candidate: by its type, and by what its sizes follow from."""
        axis, workspace = fact.axis, self._workspace
        if axis is None or fact.shape is None or not workspace.judge.can_repeat(fact.dtype):
            return False
        if axis.is_whole or same(axis.outer, 1):
            return True
        return all(workspace.sizes.can_build(d) for d in (*fact.shape, axis.outer, axis.inner))

    def build(self, node: Node, facts: Sequence[Fact]) -> None:
        """Adds the node for one candidate, and repeats what has a candidate axis under the node's own names.

        Raises:
            RuleError: A size that the node needs cannot be computed.
        """
        workspace = self._workspace
        given = tuple(workspace.facts[v] if v else None for v in node.inputs)
        claim = workspace.judge.claim(node, given, tuple(f.shape for f in facts))
        single = replace(node, inputs=tuple(workspace.single(v) for v in node.inputs), rule=node.rule or BROADCAST_RULE)
        single = reading_instead(single, {v: workspace.single(v) for v in node.captures})
        for change in claim.changes:
            single = self._changed(single, change)
        names = []
        for value, fact in zip(node.outputs, facts, strict=True):
            name = workspace.graph.unique_name(f"{value}{ONCE}") if value and fact.is_user else value
            names.append(name)
            if name != value:
                once = replace(fact, shape=fact.single_shape, axis=None, varies=False)
                workspace.record(workspace.facts, name, once)
        workspace.insert(replace(single, outputs=tuple(names)))
        for value, fact, name in zip(node.outputs, facts, names, strict=True):
            if name != value:
                self.repeat(name, value, fact)

    def repeat(self, once: str, value: str, fact: Fact) -> None:
        """Makes ``value``, the repetition of ``once`` for every candidate; ``fact`` is that of ``value``."""
        workspace, axis = self._workspace, fact.axis
        assert axis is not None
        assert fact.shape is not None
        workspace.record(workspace.facts, value, fact)
        if axis.is_whole or same(axis.outer, 1):
            op = "Expand" if axis.is_whole else "Tile"
            self._add(op, (once, workspace.sizes.along(len(fact.shape), axis.index)), value)
        else:
            self._repeat_inside(once, value, fact.shape, axis)
        workspace.note_single(value, once)

    def _repeat_inside(self, once: str, value: str, shape: Sequence[Dim], axis: CandidateAxis) -> None:
        """Repeats each of the outer blocks of an axis: reshape, repeat, reshape back."""
        workspace, k = self._workspace, axis.index
        apart = (*shape[:k], axis.outer, 1, axis.inner, *shape[k + 1 :])
        inside = CandidateAxis(k + 1)
        blocks, wide = (workspace.graph.unique_name(f"{value}/{hint}") for hint in ("blocks", "wide"))
        target, whole = workspace.sizes.target(apart), workspace.sizes.target(shape)
        fact = replace(workspace.fact(once), content=None, shape=apart)
        workspace.record(workspace.facts, blocks, fact)
        repeated = (*apart[: k + 1], inside.size, *apart[k + 2 :])
        workspace.record(workspace.facts, wide, replace(fact, shape=repeated, axis=inside))
        self._add("Reshape", (once, target), blocks)
        self._add("Expand", (blocks, workspace.sizes.along(len(apart), k + 1)), wide)
        workspace.note_single(wide, blocks)
        self._add("Reshape", (wide, whole), value)

    def _add(self, op: str, inputs: tuple[str, ...], output: str) -> None:
        self._workspace.insert(Node(op, inputs, (output,), {}, "", f"{output}/{op}", rule=BROADCAST_RULE))

    def _changed(self, node: Node, change: Change) -> Node:
        if isinstance(change, SetAttribute):
            return replace(node, attrs={**node.attrs, change.name: change.value}, source=None)
        inputs = list(node.inputs)
        if isinstance(change, SetInput):
            inputs += [""] * (change.index + 1 - len(inputs))
            inputs[change.index] = self._workspace.weight(np.array(change.values, np.int64))
        else:
            inputs[change.index] = self._with_entry(inputs[change.index], change)
        return node.reading(inputs)

    def _with_entry(self, value: str, change: SetEntry) -> str:
        """A list of sizes with one entry replaced."""
        workspace = self._workspace
        fact, sizes = workspace.fact(value), workspace.sizes
        assert fact.content is not None
        items = [*fact.content.items]
        items[change.entry] = change.value
        built = sizes.vector(items, fact.dtype)
        if built is not None:
            return built
        entry = sizes.vector((change.value,), fact.dtype)
        if entry is None:
            raise RuleError(f"the size {change.value} cannot be computed from the inputs of the model")
        before = [sizes.cut(value, 0, change.entry)] if change.entry else []
        after = [sizes.cut(value, change.entry + 1, len(items))] if change.entry + 1 < len(items) else []
        parts = [*before, entry, *after]
        return workspace.emit("Concat", parts, axis=0) if len(parts) > 1 else entry
