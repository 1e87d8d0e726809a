"""A repeated row that meets something as wide as its repetition::

    op( Expand(u), i )   ->   op( u, i )

    op broadcasts by itself: op(repeat(u), i) = op(u, i)

For every operator with multidirectional broadcasting, and the bias of a Gemm. The shape of the result must stay, in
every size and in rank.
"""

from __future__ import annotations

from collections.abc import Sequence

from mari_onnx.analysis.sizes import broadcast
from mari_onnx.analysis.transfer.elementwise import BROADCASTING
from mari_onnx.ir import Node
from mari_onnx.ir.dims import alike
from mari_onnx.patterns._repeats import fits, source_of
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace


class Broadcast(Rule[tuple[str, ...]]):
    """Drops an Expand in front of an operator that broadcasts."""

    name = "broadcast"
    algebra = "op(repeat(u), i) = op(u, i)"
    exactness = Exactness.EXACT
    keeps_integers = True
    ops = frozenset(BROADCASTING) | {"Gemm"}

    def match(self, node: Node, at: Workspace) -> tuple[str, ...] | None:
        fixed = 2 if node.op == "Gemm" else 1 if node.op == "PRelu" else 0
        inputs = list(node.inputs)
        for index, value in enumerate(inputs):
            narrow = narrower(value, at) if value and index >= fixed else None
            if narrow is not None and _keeps_shape(node, [*inputs[:index], narrow, *inputs[index + 1 :]], at):
                inputs[index] = narrow
        return tuple(inputs) if tuple(inputs) != node.inputs else None

    def rewrite(self, node: Node, found: tuple[str, ...], at: Workspace) -> Sequence[str]:
        return [at.emit(node.op, found, **dict(node.attrs))]


def narrower(value: str, at: Workspace) -> str | None:
    """What a value repeats, if it is nothing but a repetition; rows of several candidates on one axis are none."""
    axis = at.fact(value).axis
    if at.is_user(value) and axis is not None and axis.is_whole:
        return at.single(value)
    return source_of(value, at)


def _keeps_shape(node: Node, inputs: list[str], at: Workspace) -> bool:
    after = at.fact(node.output).shape
    shapes = [at.fact(v).shape for v in inputs if v]
    if after is None or any(s is None for s in shapes):
        return False
    if node.op == "Gemm":
        return shapes[2] is not None and fits(shapes[2], after)
    found = broadcast([s for s in shapes if s is not None])
    return alike(found, after)
