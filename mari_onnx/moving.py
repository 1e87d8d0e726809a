"""Operators that put entries into another order, leave some out or repeat them, whatever they stand for."""

from __future__ import annotations

MOVING = frozenset(
    "Expand Flatten Gather Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split(),
)
"""By operator; their first input is what is moved. ONNX Runtime moves a DequantizeLinear past them."""
