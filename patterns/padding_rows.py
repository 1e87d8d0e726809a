"""Rows of padding, which nobody reads, are told apart from the items::

    Softmax( Where(causal and seen, s, lowest) )   ->   Softmax( Where(causal and seen, s, c) )
                                                        c = -inf where causal cuts items off, lowest elsewhere

    softmax([s, low]) = softmax([s, -inf]), and rows without any s are not read

A mask made with the lowest number instead of minus infinity leaves something to a row all of whose keys are masked: it
attends to all of them alike, items included. In a causal attention with padding those are the rows of padding in front
of the first token, so their values depend on the item and no row of the user's is free of it. But nobody reads them.

Proof. Let each row of the Softmax have a plain entry, at least if the gate of its token is alive (``_gates``). A plain
entry is finite and far above what is masked, so a row that has one gives masked entries exactly 0 before and after, and
all others the same numbers: the exponential of the lowest number is 0 next to it just as that of minus infinity, and
zeros change no sum. Rows without any are those of dead tokens. Before, they were means of values; after, they are
means of fewer, as an entry with a finite number is left in each (never a row of minus infinity alone, which would be
no number, and spread from there, as 0 times that is no number either). So all rows stay finite, the rows of dead tokens
alone differ, and no output does, as ``_unread`` proves for the graph at hand, whatever the truths of the gate: where
all of the user's tokens are dead as well. Where the token that is read may itself be dead, or outputs are made of all
tokens, the rule does not apply. In half precision the lowest number plus a score may be minus infinity; what is left
there is high enough that it is not, and low enough to be masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mari_onnx.errors import RuleError
from mari_onnx.ir import Node
from mari_onnx.patterns._entries import NUMBER
from mari_onnx.patterns._finite import infinite_by_masks_alone
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._gates import Gate, gates_above
from mari_onnx.patterns._knowledge import Knowledge
from mari_onnx.patterns._remasked import Plan, Plans, built
from mari_onnx.patterns._unread import Unread
from mari_onnx.rewrite.rule import Exactness, Phase, Refusal, Rule
from mari_onnx.rewrite.workspace import Workspace

MAX_GATES = 4


@dataclass(frozen=True)
class Masking:
    """The scores as they are to be masked, and what is cut off for good."""

    scores: Plan
    cut: np.ndarray


class PaddingRows(Rule[Masking]):
    """Masks with minus infinity what rows of padding would see of items."""

    name = "padding-rows"
    algebra = "softmax([s, low]) = softmax([s, -inf]), and rows without any s are not read"
    exactness = Exactness.EXACT
    phases = Phase.CLEARING | Phase.EARLY | Phase.MAIN
    ops = frozenset({"Softmax"})

    def match(self, node: Node, at: Workspace) -> Masking | Refusal | None:
        scores = node.inputs[0]
        fact = at.fact(scores)
        rank = fact.rank or 0
        if rank < 2 or fact.dtype not in FLOATS or at.is_once(scores):
            return None
        knowledge, refusal = Knowledge(at), None
        for value, axis, size in list(gates_above(scores, rank - 1, at))[:MAX_GATES]:
            for dead in (False, True):
                gate = Gate(value, axis, size, dead)
                found = self.chosen(gate, _masking(node, gate, knowledge, at), at)
                if isinstance(found, Masking):
                    return found if infinite_by_masks_alone(scores, at) else None
                refusal = refusal or found
        return refusal

    def chosen(self, gate: Gate, found: Masking | Refusal | None, at: Workspace) -> Masking | Refusal | None:
        """What is to be done about one of the gates, by what was found for it."""
        if found is None or at.is_once(gate.value):
            return found
        return Refusal("its mask differs from candidate to candidate, and may rule out all keys of a query")

    def rewrite(self, node: Node, found: Masking, at: Workspace) -> Sequence[str]:
        scores = built(found.scores, at)
        known = Knowledge(at).of(scores)
        absent = (known.state == NUMBER) & (known.number == -np.inf)
        if not np.broadcast_to(absent, (*absent.shape[:-2], *found.cut.shape))[..., found.cut].all():
            raise RuleError("what is masked for good cannot be told from the constants of the mask alone")
        return [at.emit("Softmax", [scores], **dict(node.attrs))]


def _masking(node: Node, gate: Gate, knowledge: Knowledge, at: Workspace) -> Masking | Refusal | None:
    """How to mask a Softmax so that rows of padding see nothing that they are masked for in any case."""
    proof = Unread(gate, knowledge, at)
    rows = proof.rows(node)
    if rows is None:
        return None
    blind = ~rows.seeing
    cut = blind[:, None] & rows.never
    if not (cut & ~rows.absent).any() or not rows.own.any():
        return None
    if not rows.own[blind].all():
        return Refusal("a query that its mask leaves no key sees all of them alike, those of items too")
    plans, alone = Plans(cut, proof, at), np.flatnonzero(blind)
    scores = plans.of(node.inputs[0])
    if scores is None or not plans.finite(scores)[alone, alone + rows.first].all():
        return None
    reached = proof.reached(node.output)
    if reached is not None:
        return Refusal(f"a row that its mask leaves no key sees those of items too, and is read by {reached.where()}")
    return Masking(scores, cut)
