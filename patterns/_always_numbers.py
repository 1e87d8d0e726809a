"""Values that are finite numbers, whatever a request brings."""

from __future__ import annotations

import numpy as np

from mari_onnx.patterns._finite import LARGEST
from mari_onnx.patterns._floats import FLOATS
from mari_onnx.patterns._positive import LAID_OUT
from mari_onnx.rewrite.workspace import Workspace

MAKE_NUMBERS = LAID_OUT | frozenset(
    """
    Abs Add BatchNormalization Cast Clip Concat Conv Cos Einsum Elu Erf GRU Gather Gelu Gemm HardSigmoid HardSwish LSTM
    LayerNormalization LeakyRelu MatMul Max Min Mish Mul Neg PRelu Pad RNN RMSNormalization ReduceSum Relu Selu Sigmoid
    Sin Slice Softmax Softplus Softsign Split Sub Sum Swish Tanh ThresholdedRelu Tile Where
    """.split()
)
"""Operators that make finite numbers of finite numbers, unless they are too large."""


def is_always_a_number(value: str, at: Workspace) -> bool:
    """Whether a value is made of finite constants alone, picked by what is no float.

    A float that a request brings may be no number where the model masks it: a feature that is missing.
    """
    seen, waiting = {value}, [value]
    while waiting:
        sources = _sources(waiting.pop(), at)
        if sources is None:
            return False
        waiting += dict.fromkeys(v for v in sources if v not in seen)
        seen.update(sources)
    return True


def _sources(value: str, at: Workspace) -> list[str] | None:
    """The values of which a value is a number if they are; ``None`` where it may be none all the same."""
    dtype = at.fact(value).dtype
    if dtype not in FLOATS:
        return [] if dtype else None
    if at.is_weight(value):
        if at.graph.weights[value].size > LARGEST:
            return []  # learned
        array = at.constant(value)
        return [] if array is not None and bool(np.isfinite(array).all()) else None
    node = at.graph.producer(value)
    if node is None or node.domain or node.captures or node.op not in MAKE_NUMBERS:
        return None
    return [v for v in node.inputs if v]
