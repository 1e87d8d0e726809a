"""Something repeated along any axis before it is worked on, as an item's query is for each step of a history::

    f( repeat(x) )      ->   repeat( f(x) )
    op( repeat(x), w )  ->   repeat( op(x, w) )

    f(repeat(x)) = repeat(f(x))

The repetition moves on until it meets something as wide as itself, where ``broadcast`` drops it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mari_onnx.analysis.facts import Shape
from mari_onnx.analysis.sizes import broadcast
from mari_onnx.analysis.transfer.elementwise import BROADCASTING, UNARY
from mari_onnx.ir import Node
from mari_onnx.ir.dims import same
from mari_onnx.ir.orders import SOFTMAX, axis_of
from mari_onnx.patterns._repeats import fits, source_of
from mari_onnx.patterns.concat_rowwise import NORMALISING
from mari_onnx.rewrite.rule import Exactness, Rule
from mari_onnx.rewrite.workspace import Workspace

ONE_WAY = frozenset({"PRelu", *NORMALISING})
"""Operators that repeat other inputs up to the shape of the first, and not the first one."""


@dataclass(frozen=True, slots=True)
class Narrow:
    """Inputs without their repetitions, and the shape of the result with them."""

    inputs: tuple[str, ...]
    shape: Shape


class LateRepeat(Rule[Narrow]):
    """Works on a value before it is repeated."""

    name = "late-repeat"
    algebra = "f(repeat(x)) = repeat(f(x))"
    exactness = Exactness.EXACT
    ops = frozenset({*UNARY, *BROADCASTING, *SOFTMAX, *NORMALISING}) - {"Identity"}

    def match(self, node: Node, at: Workspace) -> Narrow | None:
        shape = at.fact(node.output).shape
        if shape is None or at.is_user(node.output) or len([v for v in node.outputs if v]) > 1:
            return None
        along = _first_axis_looked_along(node, len(shape), at)
        inputs = tuple(_before(v, along, at) if v else v for v in node.inputs)
        shapes = [s for s in (at.fact(v).shape for v in inputs if v) if s is not None]
        if inputs == node.inputs or len(shapes) < len([v for v in inputs if v]):
            return None
        if node.op in ONE_WAY and not all(fits(s, shapes[0]) for s in shapes):
            return None
        narrow = broadcast(shapes)
        if len(narrow) != len(shape) or all(map(same, narrow, shape)) or not fits(narrow, shape):
            return None
        return Narrow(inputs, shape)

    def rewrite(self, node: Node, found: Narrow, at: Workspace) -> Sequence[str]:
        once = at.emit(node.op, found.inputs, **dict(node.attrs))
        return [at.emit("Expand", [once, at.sizes.known(found.shape)])]


def _first_axis_looked_along(node: Node, rank: int, at: Workspace) -> int:
    """The axis from which on the entries of a row count for one another; the rank where none do."""
    return axis_of(node, rank, at.opset) if node.op in (*SOFTMAX, *NORMALISING) else rank


def _before(value: str, along: int, at: Workspace) -> str:
    """What a value repeats, along axes before a given one; the value itself where it repeats nothing."""
    source = source_of(value, at)
    if source is None or at.is_user(value):
        return value
    before, after = at.fact(source).shape, at.fact(value).shape
    if before is None or after is None or len(before) != len(after):
        return value
    return source if all(map(same, before[along:], after[along:])) else value
