"""Types of numbers that the rules compute in."""

from __future__ import annotations

import onnx

PRECISE = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
"""Where the order of a sum hardly matters."""
FLOATS = (*PRECISE, onnx.TensorProto.FLOAT16)
"""And half precision, where a product is summed with more digits."""

EXTREMES = frozenset({"ReduceMax", "ReduceMin"})
"""ONNX Runtime's drop a NaN that does not come first: another order of entries, or a result for each part, may show."""
