"""What holds of integers that stand for floats, in every format of them."""

from __future__ import annotations

import onnx

BYTES = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)
"""The types for which ONNX Runtime has kernels of integers."""
SINGLE = ((), (1,))
"""The shapes of a scale or zero point that is one number for all entries."""
MOVING = frozenset(
    "Expand Flatten Gather Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split(),
)
"""Operators that put entries of their first input into another order, leave some out or repeat them, whatever these
stand for. ONNX Runtime moves a DequantizeLinear past them."""
