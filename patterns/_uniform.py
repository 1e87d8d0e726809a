"""Values all of whose entries are one number that is known."""

from __future__ import annotations

import numpy as np
import onnx

from mari_onnx.ir import Node
from mari_onnx.patterns._repeats import before
from mari_onnx.patterns.views import REPETITIONS, VIEWS
from mari_onnx.rewrite.workspace import Workspace

MOVING = VIEWS | REPETITIONS | {"Transpose"}
"""Operators that make no other numbers."""
LARGEST = 1 << 12
"""Constants with more entries are not looked at."""


def uniform(value: str, at: Workspace) -> float | None:
    """The number that all entries of a value are."""
    value = before(value, MOVING, at)
    producer = at.graph.producer(value)
    if producer is not None:
        return _filling(producer)
    weight = at.graph.weights.get(value)
    if weight is None or not 0 < weight.size <= LARGEST:
        return None
    return _same_number(weight.load())


def _filling(node: Node) -> float | None:
    """The number that a ConstantOfShape repeats."""
    if node.op != "ConstantOfShape" or node.domain:
        return None
    tensor = node.attrs.get("value")
    return 0.0 if tensor is None else _same_number(onnx.numpy_helper.to_array(tensor))


def _same_number(array: np.ndarray) -> float | None:
    if array.dtype.kind not in "fiub" or not (array == array.flat[0]).all():
        return None
    return float(array.flat[0])
