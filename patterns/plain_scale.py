"""The same scale for all rows, stored once::

    RMSNormalization( x: [B, T, d], Expand(g): [B, T, d] )   ->   RMSNormalization( x, g: [d] )

norm(x; repeat(g)) = norm(x; g)

PyTorch's exporter gives a normalisation without a weight ones as many as there are numbers in its input. Rules that
take rows apart ask for a scale that is that of each row, and ONNX Runtime reads it from the cache then. A scale or
shift broadcasts to its input by the definition of the operator, so each entry meets the number that it met before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from mari_onnx.analysis.facts import Shape
from mari_onnx.ir import Node
from mari_onnx.ir.orders import axis_of
from mari_onnx.patterns._repeats import before
from mari_onnx.patterns._uniform import LARGEST, uniform
from mari_onnx.patterns.views import REPETITIONS
from mari_onnx.rewrite.rule import Exactness, Phase, Rule
from mari_onnx.rewrite.workspace import Workspace

Found = tuple[str | np.ndarray, ...]
"""The parameters: values, or the numbers themselves."""


class PlainScale(Rule[Found]):
    """Gives a normalisation its parameters without their repetitions."""

    name = "plain-scale"
    algebra = "norm(x; repeat(g)) = norm(x; g)"
    exactness = Exactness.EXACT
    phases = Phase.CLEARING | Phase.EARLY | Phase.MAIN
    ops = frozenset({"LayerNormalization", "RMSNormalization"})

    def match(self, node: Node, at: Workspace) -> Found | None:
        shape = at.fact(node.inputs[0]).shape
        if node.domain or not shape or len(node.outputs) > 1:
            return None
        row = shape[axis_of(node, len(shape), at.opset) :]
        found = [_of_a_row(v, row, at) if v else None for v in node.inputs[1:]]
        if all(parameter is None for parameter in found):
            return None
        return tuple(old if new is None else new for old, new in zip(node.inputs[1:], found, strict=True))

    def rewrite(self, node: Node, found: Found, at: Workspace) -> Sequence[str]:
        parameters = [v if isinstance(v, str) else at.weight(v) for v in found]
        return [at.emit(node.op, [node.inputs[0], *parameters], **dict(node.attrs))]


def _of_a_row(value: str, row: Shape, at: Workspace) -> str | np.ndarray | None:
    """What a parameter is for each row, where it has more axes than a row."""
    fact = at.fact(value)
    if fact.shape is None or len(fact.shape) <= len(row):
        return None
    sizes = tuple(d for d in row if isinstance(d, int))
    if len(sizes) < len(row):
        return None
    number = uniform(value, at)
    if number is not None:
        return np.full(sizes, number, onnx.helper.tensor_dtype_to_np_dtype(fact.dtype))
    source = before(value, REPETITIONS, at)
    if (at.fact(source).shape or ())[-len(row) :] != sizes:
        return None
    return source if at.fact(source).shape == sizes else _row_of(at.constant(source), len(sizes))


def _row_of(array: np.ndarray | None, axes: int) -> np.ndarray | None:
    """What all rows of a constant are."""
    if array is None or not 0 < array.size <= LARGEST:
        return None
    rows = array.reshape(-1, *array.shape[-axes:])
    return rows[0] if (rows == rows[:1]).all() else None
