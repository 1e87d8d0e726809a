"""Whole numbers that go through a float type and come back, where nobody can tell::

    Gather( table, Cast[int]( Reshape( Cast[float](n) ) ) )   ->   Gather( table, Reshape(n) )

int(float(n)) = n for |n| <= 2^24, and is beyond 2^24 for all others

Models that join all features in one matrix of floats take the ids out of it again. Larger numbers are rounded on the
way, to numbers that are too large for a table as well, and unequal to a small constant. The largest of a type leave
its range and may come back as its lowest number: whether they are less than something is asked of them as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns._repeats import before
from mari_onnx.patterns.views import VIEWS
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace

WHOLE: dict[int, int] = {onnx.TensorProto.INT64: 64, onnx.TensorProto.INT32: 32}
"""The types that ids have, and their bits."""
EXACT_BELOW: dict[int, int] = {
    onnx.TensorProto.FLOAT: 1 << 24,
    onnx.TensorProto.DOUBLE: 1 << 53,
    onnx.TensorProto.FLOAT16: 1 << 11,
    onnx.TensorProto.BFLOAT16: 1 << 8,
}
"""Up to where a float type holds every whole number."""
EQUALITY = frozenset({"Equal"})
COMPARISONS = EQUALITY | {"Less", "Greater", "LessOrEqual", "GreaterOrEqual"}


class ExactCasts(Rule[str]):
    """Reads whole numbers as they were before they were made floats."""

    name = "exact-casts"
    algebra = "int(float(n)) = n"
    exactness = Exactness.EXACT
    phases = Phase.EARLY | Phase.MAIN
    ops = frozenset({"Cast"})

    def match(self, node: Node, at: Workspace) -> str | None:
        if at.fact(node.output).dtype not in WHOLE or at.graph.is_output(node.output):
            return None
        value = before(node.inputs[0], VIEWS, at)
        cast = at.graph.producer(value)
        between = at.fact(value).dtype
        if cast is None or cast.op != "Cast" or cast.domain or between not in EXACT_BELOW:
            return None
        before_bits, after_bits = WHOLE.get(at.fact(cast.inputs[0]).dtype), WHOLE[at.fact(node.output).dtype]
        # What does not fit the narrower type is cut to some number that may well be small.
        if before_bits is None or before_bits > after_bits:
            return None
        keeps_order = before_bits < after_bits and between != onnx.TensorProto.FLOAT16
        comparisons = COMPARISONS if keeps_order else EQUALITY
        return cast.inputs[0] if _is_told_apart(node.output, EXACT_BELOW[between], comparisons, at) else None

    def rewrite(self, node: Node, found: str, at: Workspace) -> Sequence[str]:
        wanted, shape = at.fact(node.output).dtype, at.fact(node.output).shape
        assert shape is not None
        value = found if at.fact(found).dtype == wanted else at.emit("Cast", [found], to=wanted)
        return [at.reshape(value, shape)]


def _is_told_apart(value: str, limit: int, comparisons: frozenset[str], at: Workspace) -> bool:
    """Whether numbers up to a limit are all that matters to the readers of a value: larger ones are all alike."""
    readers = at.graph.consumers(value)
    return bool(readers) and all(_ignores_large(node, value, limit, comparisons, at) for node in readers)


def _ignores_large(node: Node, value: str, limit: int, comparisons: frozenset[str], at: Workspace) -> bool:
    if node.domain or node.captures:
        return False
    if node.op in VIEWS and node.inputs[0] == value and not at.graph.is_output(node.output):
        return _is_told_apart(node.output, limit, comparisons, at)
    if node.op == "Gather" and node.inputs[0] != value:
        shape = at.fact(node.inputs[0]).shape
        rows = shape[int(node.attrs.get("axis", 0))] if shape else None
        return isinstance(rows, int) and rows <= limit
    if node.op in comparisons:
        others = [at.constant(v) for v in node.inputs if v != value]
        return len(others) == 1 and others[0] is not None and bool(((others[0] < limit) & (others[0] > -limit)).all())
    return False
