"""A recurrence that begins with what is the user's goes on for each candidate from the state that it has then::

    GRU( Concat(u, i; time) )   ->   h = GRU(u);  GRU( i, initial state h )

    R([u, i]; h) = [R(u; h), R(i; last of R(u; h))]

RNN, GRU and LSTM; backwards, it is the end of the sequence that has to be the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.ir import Node
from mari_onnx.patterns._parts import joined, mixed_parts, runs_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

STATES = {"RNN": 1, "GRU": 1, "LSTM": 2}
"""How many states an operator carries from step to step; they are inputs from the one behind the lengths on."""
LENGTHS = 4


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps that come first, and those that follow."""

    first: tuple[str, ...]
    rest: tuple[str, ...]


class ContinuedRecurrence(Rule[Steps]):
    """Runs the first steps of a recurrence once, and the others from there."""

    name = "continued-recurrence"
    algebra = "R([u, i]; h) = [R(u; h), R(i; last of R(u; h))]"
    exactness = Exactness.EXACT
    ops = frozenset(STATES)

    def match(self, node: Node, at: Workspace) -> Steps | None:
        parts = mixed_parts(node.inputs[0], at)
        if parts is None or parts.axis != 0 or node.attrs.get("layout", 0) or node.has_input(LENGTHS):
            return None
        if _direction(node) not in ("forward", "reverse") or not all(map(at.is_once, _states(node))):
            return None
        runs = [run.values for run in runs_of(parts, at)]
        ordered = runs if _direction(node) == "forward" else runs[::-1]
        if not at.is_once(ordered[0][0]):
            return None
        rest = [run for run in runs if run is not ordered[0]]
        return Steps(ordered[0], tuple(v for run in rest for v in run))

    def rewrite(self, node: Node, found: Steps, at: Workspace) -> Sequence[str]:
        outputs = 1 + STATES[node.op]
        given = [*node.inputs, *[""] * (LENGTHS + outputs - len(node.inputs))]
        first = at.emit_many(node.op, [joined(found.first, 0, at), *given[1:]], outputs, **dict(node.attrs))
        given[LENGTHS + 1 : LENGTHS + outputs] = first[1:]
        then = at.emit_many(node.op, [joined(found.rest, 0, at), *given[1:]], outputs, **dict(node.attrs))
        steps = [first[0], then[0]] if _direction(node) == "forward" else [then[0], first[0]]
        return [joined(steps, 0, at), *then[1:]][: len(node.outputs)]


def _direction(node: Node) -> str:
    return str(node.attrs.get("direction", "forward"))


def _states(node: Node) -> list[str]:
    return [v for v in node.inputs[LENGTHS + 1 : LENGTHS + 1 + STATES[node.op]] if v]
