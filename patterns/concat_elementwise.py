"""An elementwise operator behind a Concat::

    f( Concat(u, i) )            ->   Concat( f(u), f(i) )
    f( Concat(u, i), [c, d] )    ->   Concat( f(u, c), f(i, d) )

    f([u, i]) = [f(u), f(i)]

Constants are cut along with the parts; BatchNormalization is an elementwise operator with four of them. On its own
this only adds nodes: it pays where something further down takes the parts apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.analysis.transfer.learned import BY_ENTRY
from mari_onnx.ir import Node
from mari_onnx.patterns._parts import Parts, Run, apply_to_runs, cut, joined, mixed_parts, parts_of, runs_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Operands:
    """How the inputs of the node go with the parts of the leading one.

    Attributes:
        parts: Parts of the leading Concat.
        axis: The axis of the result on which the parts lie.
        along: For each input, the axis along which it is cut with the parts; ``None`` where it is read whole.
        others: Inputs that are Concats with the same parts, by position.
    """

    parts: Parts
    axis: int
    along: tuple[int | None, ...]
    others: dict[int, Parts]


class ConcatElementwise(Rule[Operands]):
    """Applies an elementwise operator to the parts of a Concat."""

    name = "concat-elementwise"
    algebra = "f([u, i]) = [f(u), f(i)]"
    rival = True
    exactness = Exactness.EXACT
    ops = frozenset({*UNARY, *BROADCASTING, *BY_ENTRY, "BatchNormalization"} - {"Identity"})

    def match(self, node: Node, at: Workspace) -> Operands | None:
        if len(node.outputs) != 1:
            return None
        mixed = [parts for parts in (mixed_parts(v, at) for v in node.inputs if v) if parts is not None]
        if node.op == "BatchNormalization":
            return _normalised(node, mixed[0]) if mixed else None
        # Where operands are cut in different places, one with fewer borders may lead.
        for parts in mixed:
            found = _broadcast(node, parts, at)
            if found is not None and (parts is mixed[0] or not _takes_turns(found, at)):
                return found
        return None

    def rewrite(self, node: Node, found: Operands, at: Workspace) -> Sequence[str]:
        def make(value: str, run: Run) -> str:
            inputs = []
            for index, operand in enumerate(node.inputs):
                axis = found.along[index]
                if index in found.others:
                    inputs.append(_same_run(found.others[index], run, at))
                elif axis is None:
                    inputs.append(operand)
                else:
                    inputs.append(cut(operand, axis, run.start, run.size, at))
            return at.emit(node.op, inputs, domain=node.domain, **dict(node.attrs))

        return [apply_to_runs(found.parts, found.axis, make, at)]


def _same_run(parts: Parts, run: Run, at: Workspace) -> str:
    """The parts of another Concat that lie where the run lies."""
    inside = [v for v, start, size in parts if run.start <= start and start + size <= run.start + run.size]
    return joined(inside, parts.axis, at)


def _normalised(node: Node, parts: Parts) -> Operands | None:
    """BatchNormalization: its parameters belong to axis 1."""
    if parts.axis != 1:
        return Operands(parts, parts.axis, (None,) * 5, {0: parts})
    return Operands(parts, 1, (None, 0, 0, 0, 0), {0: parts})


def _broadcast(node: Node, parts: Parts, at: Workspace) -> Operands | None:
    rank = at.fact(node.output).rank
    if rank is None:
        return None
    axis = parts.axis + rank - parts.rank
    along: list[int | None] = []
    others: dict[int, Parts] = {}
    for index, value in enumerate(node.inputs):
        along.append(None)
        shape = at.fact(value).shape if value else ()
        if shape is None:
            return None
        own = axis - (rank - len(shape))
        if own < 0 or shape[own] == 1:
            continue
        if shape[own] != parts.total:
            return None
        other = parts_of(value, at)
        if other is not None and other.axis == own and _splits_alike(parts, other, at):
            others[index] = other
        elif at.is_once(value):
            along[index] = own
        else:
            return None
    return Operands(parts, axis, tuple(along), others)


def _splits_alike(parts: Parts, other: Parts, at: Workspace) -> bool:
    """Whether no part of the other Concat crosses the border between user and item parts of the first."""
    return set(_borders(parts, at)) <= {*other.offsets, other.total}


def _takes_turns(found: Operands, at: Workspace) -> bool:
    """Whether user and item take turns in another operand within a run of the leading one.

    Then ``concat-order`` would sort the parts there, which changes the order of the leading operand's: for ever.
    """
    bounds = [(run.start, run.start + run.size) for run in runs_of(found.parts, at)]
    borders = [_borders(other, at) for other in found.others.values()]
    return any(sum(first < border < last for border in inside) > 1 for inside in borders for first, last in bounds)


def _borders(parts: Parts, at: Workspace) -> list[int]:
    starts = [start for _, start, _ in parts]
    once = [at.is_once(v) for v in parts.values]
    return [start for index, start in enumerate(starts) if index and once[index] != once[index - 1]]
