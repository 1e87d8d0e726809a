"""Scores with minus infinity for some entries, by other constants in the masks that they are made with.

Where a mask depends on nothing but the truth of one token, it is one constant for dead tokens and one for others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from mari_onnx.ir.dims import CANDIDATES, Dim
from mari_onnx.patterns._entries import HALF_MASK, MAX_ENTRIES, NUMBER, PLAIN, Entries, for_all_heads
from mari_onnx.patterns._gates import Gate
from mari_onnx.patterns._unread import Unread
from mari_onnx.rewrite.workspace import Workspace

MAX_NESTED = 4
"""Masks inside of masks."""


@dataclass(frozen=True)
class Numbers:
    """Constants that the gate chooses from, token by token.

    Attributes:
        gate: The gate.
        shape: How the gate is laid out to be broadcast to them.
        dead: The numbers of dead tokens.
        alive: The numbers of others.
    """

    gate: Gate
    shape: tuple[Dim, ...]
    dead: np.ndarray
    alive: np.ndarray


@dataclass(frozen=True)
class Kept:
    """A value as it is."""

    value: str


@dataclass(frozen=True)
class Made:
    """``Add`` or ``Where`` of other inputs."""

    op: str
    inputs: tuple[Plan, ...]


Plan = Numbers | Kept | Made


def built(plan: Plan, at: Workspace) -> str:
    """The value that is planned."""
    if isinstance(plan, Kept):
        return plan.value
    if isinstance(plan, Made):
        return at.emit(plan.op, [built(part, at) for part in plan.inputs])
    if np.array_equal(plan.dead, plan.alive):
        return at.weight(plan.dead)
    dead, alive = (at.weight(array) for array in (plan.dead, plan.alive))
    chosen = [dead, alive] if plan.gate.dead else [alive, dead]
    return at.emit("Where", [at.reshape(plan.gate.value, plan.shape), *chosen])


class Plans:
    """Plans scores.

    Args:
        cut: The entries, by query and key, which shall be minus infinity.
        proof: What is known of dead tokens and of others.
        at: The graph.
    """

    def __init__(self, cut: np.ndarray, proof: Unread, at: Workspace) -> None:
        self._cut = cut
        self._proof = proof
        self._at = at

    def of(self, scores: str) -> Plan | None:
        """The scores with the entries cut off; ``None`` where that takes more than other constants."""
        return self._planned(scores, self._cut, 0)

    def _planned(self, value: str, cut: np.ndarray, depth: int) -> Plan | None:
        node = self._at.graph.producer(value)
        if node is None or node.domain or depth > MAX_NESTED:
            return None
        if node.op == "Add":
            # Either will do; the one that is computed once is not computed for each candidate.
            for index in (1, 0):
                numbers = self._numbers(node.inputs[index], cut)
                if numbers is not None:
                    kept = Kept(node.inputs[1 - index])
                    return Made("Add", (kept, numbers) if index else (numbers, kept))
        if node.op != "Where":
            return None
        branches: list[Plan] = []
        for branch, truth in zip(node.inputs[1:], (True, False), strict=True):
            taken = cut & ~self._is_never(node.inputs[0], truth)
            plan: Plan | None = Kept(branch)
            if taken.any():
                plan = self._numbers(branch, taken) or self._planned(branch, taken, depth + 1)
            if plan is None:
                return None
            branches.append(plan)
        return Made("Where", (Kept(node.inputs[0]), *branches))

    def _table(self, value: str, *, dead: bool) -> Entries:
        """What is known of a value by query and key."""
        found = (self._proof.dead if dead else self._proof.alive).of(value)
        found = found.to_rank(max(2, found.state.ndim))
        return found.map(lambda x: np.broadcast_to(x, (*x.shape[:-2], *self._cut.shape)))

    def _is_never(self, truths: str, truth: bool) -> np.ndarray:
        """Where a condition is known to be another one, whatever is dead."""
        tables = [self._table(truths, dead=dead) for dead in (True, False)]
        other = [(x.state == NUMBER) & ((x.number != 0) != truth) for x in tables]
        both = other[0] & other[1]
        return for_all_heads(both)

    def _numbers(self, value: str, cut: np.ndarray) -> Numbers | None:
        """A mask of known numbers with minus infinity where it is cut off."""
        fact = self._at.fact(value)
        tables = [self._table(value, dead=dead) for dead in (True, False)]
        shape = self._shape_for(value)
        if shape is None or any((x.state != NUMBER).any() or x.state.size > MAX_ENTRIES for x in tables):
            return None
        kind = onnx.helper.tensor_dtype_to_np_dtype(fact.dtype)
        # The lowest number of half precision is so low that another score may make it minus infinity.
        lowest = HALF_MASK if fact.dtype == onnx.TensorProto.FLOAT16 else -np.inf
        dead, alive = (np.where(cut, -np.inf, np.maximum(x.number, lowest)).astype(kind) for x in tables)
        return Numbers(self._proof.gate, shape, dead, alive)

    def _shape_for(self, value: str) -> tuple[Dim, ...] | None:
        """How the gate is laid out in order to be broadcast with a mask, its tokens last."""
        gate, mask = self._at.fact(self._proof.gate.value), self._at.fact(value)
        shape: list[Dim] = [1] * (mask.rank or 0)
        if gate.axis is not None and mask.axis is not None:
            if not gate.axis.is_whole or not mask.axis.is_whole or mask.axis.index == len(shape) - 1:
                return None
            shape[mask.axis.index] = CANDIDATES
        if not shape:
            return ()
        shape[-1] = self._proof.gate.size
        return tuple(shape)

    def finite(self, plan: Plan) -> np.ndarray:
        """Which entries of what is planned are finite numbers if their key is dead."""
        shape = self._cut.shape
        if isinstance(plan, Numbers):
            return for_all_heads(np.isfinite(plan.dead))
        if isinstance(plan, Kept):
            found = self._table(plan.value, dead=True)
            finite = (found.state == PLAIN) | (found.state == NUMBER) & np.isfinite(found.number)
            return for_all_heads(finite)
        if plan.op == "Add":
            return self._finite_sum(plan)
        condition, *branches = plan.inputs
        assert isinstance(condition, Kept)
        truths, found_in = self._table(condition.value, dead=True), np.ones(shape, np.bool_)
        for part, truth in zip(branches, (True, False), strict=True):
            other = (truths.state == NUMBER) & ((truths.number != 0) != truth)
            found_in &= self.finite(part) | for_all_heads(other)
        return found_in

    def _finite_sum(self, plan: Made) -> np.ndarray:
        """A moderate number more or less leaves a finite one finite, with digits enough; nothing added does anyway."""
        finite = np.ones(self._cut.shape, np.bool_)
        quiet, nothing = np.zeros_like(finite), np.zeros_like(finite)
        for part in plan.inputs:
            finite &= self.finite(part)
            if isinstance(part, Numbers):
                nothing |= for_all_heads(part.dead == 0)
            elif isinstance(part, Kept):
                quiet |= for_all_heads(self._table(part.value, dead=True).quiet)
        return finite & (quiet | nothing)
